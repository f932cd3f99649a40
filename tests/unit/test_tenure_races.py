"""Ownership that ends in the very moment in which everything is in place."""

from collections.abc import Callable

import anyio
import attrs
import pytest
from tests.gateways import GATEWAY_ID, eventually, quiet

from imgateway.adapters.memory import CountingObserver, Embedded, MemoryConsumer, MemoryPublisher
from imgateway.core.parts import GatewayParts
from imgateway.core.tenure import Tenure
from imgateway.model import ConsumedRecord, Credentials, Refusal, ServiceInstance

pytestmark = pytest.mark.anyio


@attrs.define(eq=False)
class SlowRegistrar:
    """Implements `ports.ServiceRegistrar`: answers when told."""

    asked: anyio.Event = attrs.field(factory=anyio.Event)
    answer: anyio.Event = attrs.field(factory=anyio.Event)

    async def register(self, _: ServiceInstance, /) -> None:
        self.asked.set()
        await self.answer.wait()

    async def deregister(self, _: ServiceInstance, /) -> None:
        """Nothing is known of it."""

    async def aclose(self) -> None:
        """Nothing is held."""


class Nowhere:
    """Implements `ports.DownstreamRouter`."""

    def route(self, _: ConsumedRecord, on_settled: Callable[[], None], /) -> None:
        on_settled()


class Nobody:
    """Implements `ports.Authenticator`; never asked."""

    async def authenticate(self, _: Credentials, /) -> Refusal:
        raise AssertionError

    async def aclose(self) -> None:
        """Nothing is held."""


async def test_a_registration_answered_when_ownership_is_lost_begins_nothing() -> None:
    embedded, registrar, told = Embedded(), SlowRegistrar(), list[str]()
    ownership = embedded.services.ownership()
    async with MemoryPublisher(embedded.broker) as publisher:
        parts = GatewayParts(
            authenticator=Nobody(),
            publisher=publisher,
            consumer=lambda: MemoryConsumer(embedded.broker, "topic", "group"),
            sessions=embedded.sessions,
            registrar=registrar,
            ownership=ownership,
            observer=CountingObserver(),
            clock=embedded.clock,
        )
        tenure = Tenure(
            parts,
            GATEWAY_ID,
            ServiceInstance("im-gateway", GATEWAY_ID, "host", 1),
            Nowhere(),
            on_begun=lambda: told.append("begun"),
            on_lost=lambda: told.append("lost"),
            on_stall=lambda _: None,
        )
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(tenure.run)
            await registrar.asked.wait()
            # Somebody else waits for the id, so that it does not come back to us.
            tasks.start_soon(embedded.services.ownership().acquire, GATEWAY_ID)
            await quiet()
            embedded.services.revoke(GATEWAY_ID)
            registrar.answer.set()

            await eventually(lambda: "lost" in told)
            assert told == ["lost"]
            assert not tenure.registered
            tasks.cancel_scope.cancel()
