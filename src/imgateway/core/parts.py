"""What a gateway is made of."""

from collections.abc import Callable, Mapping

import attrs

from imgateway.core.topics import Topics
from imgateway.ports import (
    Authenticator,
    Clock,
    Codec,
    DownstreamConsumer,
    GatewayObserver,
    GatewayOwnership,
    ServiceRegistrar,
    SessionStore,
    Transcoder,
    UpstreamPublisher,
)
from imgateway.wire.json_codec import JsonCodec


@attrs.frozen
class GatewayParts:
    """The ports' implementations, open and ready to use. Whoever opened them closes them.

    Attributes:
        consumer: makes a consumer of the gateway's downstream topic; called again for each tenure, and each consumer
            is closed by the gateway.
        session_ttl_seconds: the session store's time to live.
        transcoder: answers REST requests and clients' calls; None where there are none.
        codecs: those that clients may choose by subprotocol; the first one is the default. Unset: JSON, in which the
            transcoder's types of messages are calls.
        health: what else readiness depends on, by the name that `/readyz` shows.
    """

    authenticator: Authenticator
    publisher: UpstreamPublisher
    consumer: Callable[[], DownstreamConsumer]
    sessions: SessionStore
    registrar: ServiceRegistrar
    ownership: GatewayOwnership
    observer: GatewayObserver
    clock: Clock
    topics: Topics = attrs.field(factory=Topics)
    session_ttl_seconds: float = 60.0
    transcoder: Transcoder | None = None
    codecs: tuple[Codec, ...] = attrs.field()
    health: Mapping[str, Callable[[], bool]] = attrs.field(factory=dict)

    @codecs.default
    def _json(self) -> tuple[Codec, ...]:
        return (JsonCodec(frozenset() if self.transcoder is None else self.transcoder.message_types),)
