"""What the keys of `[grpc]` demand of each other, and of other sections."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from imgateway.core.settings_grpc import ANY_SERVICE, GrpcSettings
from imgateway.core.settings_grpc_rules import METHOD, is_service
from imgateway.core.settings_problems import Problem, certificate_and_key, file, shown, within
from imgateway.wire.messages import may_be_call

if TYPE_CHECKING:
    from imgateway.core.settings import Settings


def grpc(settings: "Settings") -> Iterator[Problem]:
    """Everything that is wrong with `[grpc]` beyond the rules of its single keys."""
    if settings.grpc is None:
        return
    yield from _source(settings.grpc)
    yield from _services(settings.grpc, registry=settings.etcd is not None)
    yield from _messages(settings.grpc)
    yield from _tls(settings.grpc)
    if settings.grpc.max_deadline_seconds < settings.grpc.default_deadline_seconds:
        yield Problem(
            ("grpc.max_deadline_seconds", "grpc.default_deadline_seconds"),
            f"expected at least grpc.default_deadline_seconds ({settings.grpc.default_deadline_seconds:g}), "
            f"got {settings.grpc.max_deadline_seconds:g}",
        )


def _source(grpc: GrpcSettings) -> Iterator[Problem]:
    if (grpc.descriptor_set is None) != grpc.reflection:
        yield Problem(
            ("grpc.descriptor_set", "grpc.reflection"), "expected exactly one of descriptor_set and reflection = true"
        )
    yield from file("grpc.descriptor_set", grpc.descriptor_set)


def _services(grpc: GrpcSettings, *, registry: bool) -> Iterator[Problem]:
    key = "grpc.services"
    if not grpc.services:
        yield Problem((key,), f'expected at least one, like [{key}."pkg.Service"], or [{key}."{ANY_SERVICE}"] for all')
    for name, service in grpc.services.items():
        own = within(key, name)
        if name != ANY_SERVICE and not is_service(name):
            yield Problem((own,), f'expected the name of a service, like "pkg.Service", or "{ANY_SERVICE}" for all')
        if (service.target is None) == (service.discover is None):
            yield Problem((own,), "expected exactly one of target and discover")
        elif service.discover is not None and not registry:
            yield Problem((f"{own}.discover", "etcd.endpoints"), "expected target, since there is no [etcd]")


def _messages(grpc: GrpcSettings) -> Iterator[Problem]:
    for name, rpc in grpc.messages.items():
        key = within("grpc.messages", name)
        if not may_be_call(name):
            yield Problem(
                (key,),
                "expected a type that clients send: 1 to 64 characters out of a-z 0-9 . _ -, and none that the gateway "
                "answers itself or sends",
            )
        if not METHOD.holds(rpc):
            yield Problem((key,), f"expected {METHOD.expectation}, got {shown(rpc)}")


def _tls(grpc: GrpcSettings) -> Iterator[Problem]:
    for name in ("tls_ca", "tls_cert", "tls_key"):
        yield from file(f"grpc.{name}", getattr(grpc, name))
    yield from certificate_and_key("grpc.tls_cert", grpc.tls_cert, "grpc.tls_key", grpc.tls_key)
