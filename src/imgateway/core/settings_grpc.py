"""The `[grpc]` section: REST and clients' calls that gRPC services answer."""

from collections.abc import Mapping
from typing import Final, Literal

import attrs

from imgateway.core.settings_grpc_rules import FIELD, FORWARDED, METHODS, PREFIX, RETURNED
from imgateway.core.settings_keys import key
from imgateway.core.settings_rules import HOST_AND_PORT, NAME, NOT_EMPTY, POSITIVE, at_least, each

ANY_SERVICE: Final = "*"
"""In `[grpc.services]`: every service that has no entry of its own."""


@attrs.frozen
class GrpcServiceSettings:
    """`[grpc.services."pkg.Service"]`: where a service is; exactly one of the two."""

    target: str | None = attrs.field(default=None, metadata=key("The one instance there is.", rule=HOST_AND_PORT))
    discover: str | None = attrs.field(
        default=None, metadata=key("The name under which its instances are in etcd; needs `[etcd]`.", rule=NAME)
    )


@attrs.frozen
class Place:
    """Where the instances of some services are.

    Attributes:
        where: one address, or a name in etcd.
        services: who is there.
    """

    where: GrpcServiceSettings
    services: tuple[str, ...]

    @property
    def name(self) -> str:
        """The address, or the name in etcd."""
        return self.where.target or self.where.discover or ""

    @property
    def discovered(self) -> bool:
        """Whether `name` is looked up in etcd."""
        return self.where.target is None

    @property
    def health_service(self) -> str:
        """Whose health to ask for: that of the only service there, else that of the whole server."""
        return "" if len(self.services) > 1 or self.services == (ANY_SERVICE,) else self.services[0]

    def __str__(self) -> str:
        """As messages call it."""
        return f"{self.name} in etcd" if self.discovered else self.name


@attrs.frozen
class GrpcSettings:
    """`[grpc]`: REST outside, gRPC inside."""

    prefix: str = attrs.field(
        default="/api",
        metadata=key("What the paths of REST begin with; not doubled where a rule's path already has it.", rule=PREFIX),
    )
    descriptor_set: str | None = attrs.field(
        default=None, metadata=key("File made by `protoc --include_imports --descriptor_set_out`.", rule=NOT_EMPTY)
    )
    reflection: bool = attrs.field(default=False, metadata=key("Ask the services themselves what they offer."))
    default_deadline_seconds: float = attrs.field(
        default=10.0, metadata=key("Time of a call whose client names none.", unit="seconds", rule=POSITIVE)
    )
    max_deadline_seconds: float = attrs.field(
        default=300.0, metadata=key("The longest time that a client may name.", unit="seconds", rule=POSITIVE)
    )
    public: tuple[str, ...] = attrs.field(default=(), metadata=key("Methods that need no token.", rule=each(METHODS)))
    identity_fields: tuple[str, ...] = attrs.field(
        default=("user_id", "creator_id", "operator_id"),
        metadata=key(
            "Fields of requests that are always the verified user's id, except in REST requests to public methods.",
            rule=each(FIELD),
        ),
    )
    unknown_fields: Literal["ignore", "reject"] = attrs.field(
        default="ignore", metadata=key("What happens to members of a request that its message does not have.")
    )
    field_names: Literal["json", "proto"] = attrs.field(
        default="json", metadata=key("How fields are called in answers; requests may use both.")
    )
    forward_headers: tuple[str, ...] = attrs.field(
        default=(),
        metadata=key("Request headers that go along as metadata, by the same name.", rule=each(FORWARDED)),
    )
    return_metadata: tuple[str, ...] = attrs.field(
        default=(),
        metadata=key(
            "Metadata of back ends that clients see, as `Grpc-Metadata-…` and `Grpc-Trailer-…` headers.",
            rule=each(RETURNED),
        ),
    )
    max_request_bytes: int = attrs.field(
        default=1_048_576, metadata=key("The longest body of a request.", unit="bytes", rule=at_least(1024))
    )
    max_response_bytes: int = attrs.field(
        default=4_194_304,
        metadata=key("The longest message that a back end may answer with.", unit="bytes", rule=at_least(1024)),
    )
    tls: bool = attrs.field(default=False, metadata=key("Speak TLS to back ends; the other `tls_` keys imply it."))
    tls_ca: str | None = attrs.field(
        default=None, metadata=key("PEM file of the authorities trusted; unset: the system's.", rule=NOT_EMPTY)
    )
    tls_cert: str | None = attrs.field(
        default=None, metadata=key("PEM file with our own certificate, where back ends ask for one.", rule=NOT_EMPTY)
    )
    tls_key: str | None = attrs.field(
        default=None, metadata=key("PEM file with our certificate's private key.", rule=NOT_EMPTY)
    )
    tls_server_name: str | None = attrs.field(
        default=None, metadata=key("The name in back ends' certificates; unset: that of the address.", rule=NOT_EMPTY)
    )
    messages: Mapping[str, str] = attrs.field(
        factory=dict,
        metadata=key('Types of client messages that are answered by a unary method: "pkg.Service/Method".'),
    )
    services: Mapping[str, GrpcServiceSettings] = attrs.field(
        factory=dict, metadata=key('Where each service is: by "pkg.Service", or "*" for every other one.')
    )

    @property
    def places(self) -> tuple[Place, ...]:
        """Every place once, in the order of `services`."""
        found: dict[GrpcServiceSettings, list[str]] = {}
        for service, where in self.services.items():
            found.setdefault(where, []).append(service)
        return tuple(Place(where, tuple(services)) for where, services in found.items())
