"""The gRPC services that the settings name: where they are, what they offer, and the routes to them.

gRPC's library is loaded by the functions here, not with the module.
"""

import os
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Final

import anyio
import attrs

from imgateway.core.settings import Settings, authority
from imgateway.core.settings_grpc import GrpcSettings, Place
from imgateway.errors import ServiceUnavailableError, SettingsError
from imgateway_cli.wiring import etcd_access

if TYPE_CHECKING:
    from imgateway.adapters.grpc.routing import RouteTable
    from imgateway.adapters.grpc.schema import Loaded

RESOLVE_SECONDS: Final = 10.0


async def addresses(settings: Settings, place: Place, /) -> Sequence[str]:
    """`host:port` of every instance there is now.

    Raises:
        SettingsError: a TLS file of etcd can't be used.
        ServiceUnavailableError: etcd can't be asked, or knows none.
    """
    if not place.discovered:
        return [place.name]
    if settings.etcd is None:
        raise SettingsError([f"grpc.services: {place.name} can't be discovered without [etcd]"])
    from imgateway.adapters.etcd import EtcdResolver

    async with AsyncExitStack() as stack:
        opened = EtcdResolver.open(etcd_access(settings.etcd), prefix=settings.etcd.prefix)
        resolver = await stack.enter_async_context(opened)
        try:
            with anyio.fail_after(RESOLVE_SECONDS):
                instances = await resolver.resolve(place.name)
        except TimeoutError:
            raise ServiceUnavailableError(f"etcd does not answer within {RESOLVE_SECONDS:g} s") from None
    if not instances:
        raise ServiceUnavailableError(f"no instance under {settings.etcd.prefix}{place.name}/")
    return [authority(instance.address, instance.port) for instance in instances]


async def try_place(settings: Settings, grpc: GrpcSettings, place: Place, /) -> str:
    """Connect to every instance and ask for its health; what was seen, in words.

    Raises:
        SettingsError: a TLS file can't be used.
        ServiceUnavailableError: no instance is healthy.
    """
    _hush()
    from imgateway.adapters.grpc.probing import probe

    targets = await addresses(settings, place)
    answers: list[str] = []
    failures: list[str] = []

    async def attempt(target: str) -> None:
        try:
            answers.append(await probe(target, grpc, service=place.health_service))
        except ServiceUnavailableError as error:
            failures.append(f"{target}: {error}" if place.discovered else str(error))

    async with anyio.create_task_group() as tasks:
        for target in targets:
            tasks.start_soon(attempt, target)
    if not answers:
        raise ServiceUnavailableError("; ".join(sorted(failures)))
    if not place.discovered:
        return answers[0]
    counted = f"{len(targets)} instances" if len(targets) > 1 else "1 instance"
    return "; ".join([f"{counted}, healthy: {len(answers)}", *sorted(failures)])


async def described(settings: Settings, grpc: GrpcSettings, /) -> "Loaded":
    """What all places together say that they offer, by one instance of each.

    Raises:
        SettingsError: a TLS file can't be used.
        ServiceUnavailableError: of some place no instance describes itself.
    """
    _hush()
    from imgateway.adapters.grpc.probing import describe
    from imgateway.adapters.grpc.schema import merge

    sets = []
    for place in grpc.places:
        why = ""
        for target in await addresses(settings, place):
            try:
                sets.append(await describe(target, grpc))
                break
            except ServiceUnavailableError as error:
                why = why or f"{target}: {error}"
        else:
            raise ServiceUnavailableError(why)
    return merge(sets)


@attrs.frozen
class Offer:
    """The routes there are, and what is not as the settings or the services want it.

    Attributes:
        problems: what can't be served and why, one line each, which begins with the section or the key.
    """

    table: "RouteTable"
    problems: Sequence[str]

    @property
    def counted(self) -> str:
        """How many routes, in words."""
        routes = self.table.routes
        public = sum(route.rest.public for route in routes)
        return f"{len(routes)} route{'' if len(routes) == 1 else 's'}, {public} of them public"


def offer_of_file(grpc: GrpcSettings, path: str, /) -> Offer:
    """The routes that a descriptor set makes. Blocks.

    Raises:
        SettingsError: the file can't be used, or `grpc.messages` names what it does not have.
    """
    _hush()
    from imgateway.adapters.grpc.routing import RouteTable
    from imgateway.adapters.grpc.schema import read_descriptor_set

    return _offer(RouteTable.build(read_descriptor_set(path), grpc))


async def offer_by_reflection(settings: Settings, grpc: GrpcSettings, /) -> Offer:
    """The routes that the services themselves describe.

    Raises:
        SettingsError: `grpc.messages` names what they do not have, or a TLS file can't be used.
        ServiceUnavailableError: some do not answer.
    """
    from imgateway.adapters.grpc.routing import RouteTable

    return _offer(RouteTable.build(await described(settings, grpc), grpc))


def _offer(table: "RouteTable") -> Offer:
    if wrong := list(table.unanswered()):
        raise SettingsError(wrong)
    return Offer(table, tuple(map(_named, (*table.problems, *table.unmatched))))


def _named(problem: str) -> str:
    return problem if problem.startswith("grpc.") else f"grpc: {problem}"


def require_tls_files(grpc: GrpcSettings, /) -> None:
    """Make sure that the TLS files for back ends hold what they should.

    Raises:
        SettingsError: some do not.
    """
    _hush()
    from imgateway.adapters.grpc.balancing import TlsFiles, channel_maker

    channel_maker(TlsFiles.of(grpc), ())


def _hush() -> None:
    """GRPC's core writes to stderr by itself, beside what it answers; it looks at this once, when it is loaded."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
