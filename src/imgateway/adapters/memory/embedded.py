"""A gateway that needs nothing but its own process."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from imgateway.adapters.memory.broker import MemoryBroker
from imgateway.adapters.memory.consumer import MemoryConsumer
from imgateway.adapters.memory.observer import CountingObserver
from imgateway.adapters.memory.publisher import MemoryPublisher
from imgateway.adapters.memory.services import MemoryServiceRegistry
from imgateway.adapters.memory.sessions import MemorySessionStore
from imgateway.core.clock import SystemClock
from imgateway.core.gateway import Gateway
from imgateway.core.parts import GatewayParts
from imgateway.core.settings import Settings
from imgateway.core.topics import Topics
from imgateway.ports import Authenticator, GatewayObserver, Transcoder

SESSION_TTL_SECONDS = 60.0


class Embedded:
    """The memory parts, for the gateway and for a back end in the same process.

    The back end reads `topics.upstream` of `broker` by a `MemoryConsumer` of its own group, finds users in `sessions`,
    and writes to `topics.downstream(gateway_id)` by a `MemoryPublisher`. Several gateways may share one `Embedded`.
    """

    def __init__(self) -> None:
        self.clock = SystemClock()
        self.topics = Topics()
        self.broker = MemoryBroker()
        self.sessions = MemorySessionStore(SESSION_TTL_SECONDS, self.clock)
        self.services = MemoryServiceRegistry()

    def gateway(
        self,
        authenticator: Authenticator,
        settings: Settings | None = None,
        observer: GatewayObserver | None = None,
        transcoder: Transcoder | None = None,
    ) -> Gateway:
        """A gateway over these parts. It closes the authenticator when it is left.

        REST needs a transcoder besides `[grpc]` in the settings.
        """
        effective = settings or Settings()
        gateway_id = effective.gateway_id

        @asynccontextmanager
        async def open_parts() -> AsyncIterator[GatewayParts]:
            topics, registrar = self.topics, self.services.registrar()
            try:
                async with MemoryPublisher(self.broker) as publisher:
                    yield GatewayParts(
                        authenticator=authenticator,
                        publisher=publisher,
                        consumer=lambda: MemoryConsumer(
                            self.broker, topics.downstream(gateway_id), topics.downstream_group(gateway_id)
                        ),
                        sessions=self.sessions,
                        registrar=registrar,
                        ownership=self.services.ownership(),
                        observer=observer or CountingObserver(),
                        clock=self.clock,
                        topics=topics,
                        session_ttl_seconds=SESSION_TTL_SECONDS,
                        transcoder=transcoder,
                    )
            finally:
                await registrar.aclose()
                await authenticator.aclose()

        return Gateway(effective, open_parts)


def embedded_gateway(authenticator: Authenticator, settings: Settings | None = None) -> Gateway:
    """A gateway with memory parts of its own; use `Embedded` where a back end in the process shares them."""
    return Embedded().gateway(authenticator, settings)
