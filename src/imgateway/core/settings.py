"""Every setting there is: name, type, default, rule and documentation in one place.

The names are those of the configuration file. The command line's `config` and the reference page are made from these
classes. Making an instance checks nothing: `settings_checks.problems` does, and `settings_loading.load` calls it.
"""

import re
import socket
from collections.abc import Mapping
from typing import Any, Final, Literal

import attrs

from imgateway.core.settings_grpc import GrpcSettings
from imgateway.core.settings_keys import key
from imgateway.core.settings_rules import (
    CLAIMS,
    GATEWAY_ID,
    HOST,
    HOST_AND_PORT,
    JWKS_URL,
    NAME,
    NETWORK,
    NOT_EMPTY,
    ORIGIN,
    POSITIVE,
    SECRET,
    at_least,
    between,
    each,
)
from imgateway.core.settings_services import EtcdSettings, KafkaSettings, RedisSettings
from imgateway.model import GatewayId

_WILDCARDS: Final = frozenset({"0.0.0.0", "::", ""})  # noqa: S104  # compared with, not bound to
MAX_WORKERS: Final = 256
_PORT: Final = between(0, 65535)

Algorithm = Literal[
    "HS256", "HS384", "HS512",
    "RS256", "RS384", "RS512",
    "PS256", "PS384", "PS512",
    "ES256", "ES384", "ES512",
    "EdDSA",
]  # fmt: skip
"""Signature algorithms of RFC 7518 section 3.1 and RFC 8037 that a token may use; `none` is not among them."""


@attrs.frozen
class ServerSettings:
    """`[server]`: where clients connect."""

    host: str = attrs.field(
        default="127.0.0.1", metadata=key("Address to listen on; 0.0.0.0 or :: for every one.", rule=HOST)
    )
    port: int = attrs.field(default=8080, metadata=key("Port for clients; 0 takes any free one.", rule=_PORT))
    workers: int = attrs.field(
        default=1,
        metadata=key(
            "Processes that share the port; more than one needs `[kafka]` and `[redis]`.", rule=between(1, MAX_WORKERS)
        ),
    )
    admin_host: str = attrs.field(
        default="127.0.0.1",
        metadata=key("Address of the admin port; off loopback it needs `admin_token`.", rule=HOST),
    )
    admin_port: int = attrs.field(
        default=8081, metadata=key("Port of metrics and administration; 0 takes any free one.", rule=_PORT)
    )
    admin_token: str | None = attrs.field(
        default=None,
        repr=False,
        metadata=key("Bearer token that the admin port asks for.", rule=SECRET, secret=True),
    )
    trusted_proxies: tuple[str, ...] = attrs.field(
        default=(),
        metadata=key("Addresses and networks whose `X-Forwarded-For` is believed.", rule=each(NETWORK)),
    )
    allowed_origins: tuple[str, ...] = attrs.field(
        default=(),
        metadata=key(
            'Origins that web pages may connect from; empty: the same host only; "*": any. '
            "A request without an Origin header is allowed.",
            rule=each(ORIGIN),
        ),
    )
    tls_cert: str | None = attrs.field(
        default=None, metadata=key("PEM file with the certificate chain; turns TLS on.", rule=NOT_EMPTY)
    )
    tls_key: str | None = attrs.field(
        default=None, metadata=key("PEM file with the certificate's private key.", rule=NOT_EMPTY)
    )
    max_frame_bytes: int = attrs.field(
        default=65536,
        metadata=key("A longer message from a client closes its connection (1009).", unit="bytes", rule=at_least(2048)),
    )
    transport: Literal["auto", "picows", "asgi"] = attrs.field(
        default="auto",
        metadata=key(
            "What parses WebSocket frames: `picows` does it in C, `asgi` by the library that ASGI servers use; "
            "`auto` is picows where it is installed."
        ),
    )


@attrs.frozen
class GatewaySettings:
    """`[gateway]`: what this gateway is to its back end."""

    id: str | None = attrs.field(
        default=None,
        metadata=key(
            "Name of this gateway; names its downstream topic. Default: stable per host and port.", rule=GATEWAY_ID
        ),
    )
    advertise: str | None = attrs.field(
        default=None,
        metadata=key(
            "Where others reach this gateway. Default: host and port of `[server]`, which must not be 0 with `[etcd]`.",
            rule=HOST_AND_PORT,
        ),
    )
    drain_seconds: float = attrs.field(
        default=30.0,
        metadata=key("How long a drain may take before the rest is cut off.", unit="seconds", rule=at_least(0)),
    )


@attrs.frozen
class AuthSettings:
    """`[auth]`: who may connect."""

    algorithms: tuple[Algorithm, ...] = attrs.field(
        default=("HS256",), metadata=key("Signature algorithms that a token may use, all of one family.")
    )
    secret: str | None = attrs.field(
        default=None, repr=False, metadata=key("Shared key of the HS algorithms.", rule=SECRET, secret=True)
    )
    public_key_file: str | None = attrs.field(
        default=None,
        metadata=key("PEM file with the public key of the RS, PS, ES or EdDSA algorithms.", rule=NOT_EMPTY),
    )
    jwks_url: str | None = attrs.field(
        default=None, metadata=key("Where the public keys are published (RFC 7517).", rule=JWKS_URL)
    )
    issuer: str | None = attrs.field(
        default=None, metadata=key("The `iss` that a token must carry; unset: not looked at.", rule=NOT_EMPTY)
    )
    audience: str | None = attrs.field(
        default=None, metadata=key("The `aud` that a token must name; unset: a token must name none.", rule=NOT_EMPTY)
    )
    user_claim: str = attrs.field(default="sub", metadata=key("The claim that holds the user id.", rule=NOT_EMPTY))
    required_claims: Mapping[str, Any] = attrs.field(
        factory=dict,
        metadata=key("Claims that a token must carry with exactly these values.", rule=CLAIMS),
    )
    leeway_seconds: float = attrs.field(
        default=10.0,
        metadata=key(
            "How far clocks may differ when a token's times are checked.", unit="seconds", rule=between(0, 300)
        ),
    )
    plugin: str = attrs.field(
        default="jwt", metadata=key("Name of the authenticator among the installed plugins.", rule=NAME)
    )
    expiry_grace_seconds: float = attrs.field(
        default=25.0,
        metadata=key(
            "How long a connection outlives its token, for a refresh to arrive.", unit="seconds", rule=at_least(0)
        ),
    )


@attrs.frozen
class ConnectionSettings:
    """`[connections]`: heartbeat and limits of each connection."""

    ping_interval_seconds: float = attrs.field(
        default=25.0, metadata=key("Time between the pings to a client.", unit="seconds", rule=POSITIVE)
    )
    pong_timeout_seconds: float = attrs.field(
        default=8.0,
        metadata=key(
            "A client that sends nothing for so long after a ping is gone (4000).", unit="seconds", rule=POSITIVE
        ),
    )
    max_per_user: int = attrs.field(
        default=5, metadata=key("Connections of one user, over all gateways.", rule=at_least(1))
    )
    on_excess: Literal["kick-oldest", "refuse"] = attrs.field(
        default="kick-oldest", metadata=key("What a connection beyond `max_per_user` does.")
    )
    max_per_ip: int | None = attrs.field(
        default=None,
        metadata=key("Connections from one client address to one worker; unset: unlimited.", rule=at_least(1)),
    )
    max_total: int | None = attrs.field(
        default=None,
        metadata=key("Connections of one worker; unset: unlimited.", rule=at_least(1)),
    )
    send_queue_bytes: int = attrs.field(
        default=262144,
        metadata=key("What may wait for a slow client before it is closed (4008).", unit="bytes", rule=at_least(1024)),
    )
    max_content_bytes: int = attrs.field(
        default=5000, metadata=key("The longest `content` of a message, in UTF-8.", unit="bytes", rule=at_least(1))
    )
    max_malformed_frames: int = attrs.field(
        default=10, metadata=key("Invalid frames in a connection's life before it is closed (4504).", rule=at_least(1))
    )
    max_inflight_messages: int = attrs.field(
        default=64,
        metadata=key(
            "Messages and calls of one connection that wait for an answer; then reading pauses.", rule=at_least(1)
        ),
    )


@attrs.frozen
class ObservabilitySettings:
    """`[observability]`: what operators see."""

    log_format: Literal["json", "console"] | None = attrs.field(
        default=None, metadata=key("How log lines look. Default: `console` on a terminal, else `json`.")
    )
    log_level: Literal["debug", "info", "warning", "error"] = attrs.field(
        default="info", metadata=key("The least severe level that is logged.")
    )


@attrs.frozen
class Settings:
    """All settings, by section. The defaults are the embedded gateway on this machine.

    A section that names a server turns the real part on; where it is None the embedded part serves.
    """

    server: ServerSettings = attrs.field(factory=ServerSettings)
    gateway: GatewaySettings = attrs.field(factory=GatewaySettings)
    auth: AuthSettings = attrs.field(factory=AuthSettings)
    connections: ConnectionSettings = attrs.field(factory=ConnectionSettings)
    observability: ObservabilitySettings = attrs.field(factory=ObservabilitySettings)
    kafka: KafkaSettings | None = None
    redis: RedisSettings | None = None
    etcd: EtcdSettings | None = None
    grpc: GrpcSettings | None = None

    @property
    def gateway_id(self) -> GatewayId:
        """`gateway.id`, or where it is unset a name that stays the same for this host and port."""
        return GatewayId(self.gateway.id or default_gateway_id(socket.gethostname(), self.server.port))

    @property
    def gateway_ids(self) -> tuple[GatewayId, ...]:
        """The id of every process: `gateway_id`, or with several workers `{gateway_id}-{n}`, n from 1."""
        if self.server.workers <= 1:
            return (self.gateway_id,)
        return tuple(GatewayId(f"{self.gateway_id}-{n}") for n in range(1, min(self.server.workers, MAX_WORKERS) + 1))

    @property
    def advertise(self) -> str:
        """`gateway.advertise`, or where it is unset the host and port clients connect to."""
        if self.gateway.advertise:
            return self.gateway.advertise
        host = socket.gethostname() if self.server.host in _WILDCARDS else self.server.host
        return authority(host, self.server.port)


def authority(host: str, port: int, /) -> str:
    """`host:port`, with an IPv6 address in brackets (RFC 3986 section 3.2.2)."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def default_gateway_id(hostname: str, port: int, /) -> str:
    """`gw-{hostname}-{port}`, fit for `gateway.id`: foreign characters become `-`, at most 200 in all."""
    return f"gw-{re.sub('[^A-Za-z0-9._-]', '-', hostname)[:190]}-{port}"
