"""A gateway in whose name somebody else begins to read."""

from collections.abc import Mapping, Sequence

import anyio
import attrs
import pytest
from tests.gateways import GATEWAY_ID, World, eventually, new_gateway, quiet, running_world

from imgateway.core import tenure
from imgateway.errors import FencedError
from imgateway.model import ConsumedRecord
from imgateway.ports import DownstreamConsumer

pytestmark = pytest.mark.anyio


@attrs.define(eq=False)
class Fenceable:
    """Implements `ports.DownstreamConsumer`: can be fenced by the test."""

    inner: DownstreamConsumer
    fenced: anyio.Event = attrs.field(factory=anyio.Event)
    closed: bool = False

    async def start(self) -> None:
        await self.inner.start()

    async def take(self) -> Sequence[ConsumedRecord]:
        await self.fenced.wait()
        raise FencedError("somebody else")

    async def commit(self, positions: Mapping[int, int], /) -> None:
        await self.inner.commit(positions)

    def lag(self) -> int:
        return self.inner.lag()

    async def aclose(self) -> None:
        self.closed = True
        await self.inner.aclose()


def fenceable(world: World) -> list[Fenceable]:
    """The world's consumers from now on."""
    consumers: list[Fenceable] = []

    def around(consumer: DownstreamConsumer) -> Fenceable:
        consumers.append(Fenceable(consumer))
        return consumers[-1]

    world.around_consumer = around
    return consumers


async def test_it_stops_reading_and_does_not_fight() -> None:
    async with running_world() as world:
        consumers = fenceable(world)
        async with new_gateway(world) as gateway:
            await gateway.wait_ready()
            consumers[0].fenced.set()
            await eventually(lambda: consumers[0].closed)
            await quiet()
            assert len(consumers) == 1, "whoever came later is left alone for a while"
            assert not gateway.readiness()["broker"]
            assert gateway.readiness()["ownership"]


async def test_it_claims_its_topic_again_while_the_id_is_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tenure, "FENCED_PAUSE_SECONDS", 0.001)
    async with running_world() as world:
        consumers = fenceable(world)
        async with new_gateway(world) as gateway:
            await gateway.wait_ready()
            consumers[0].fenced.set()
            await eventually(lambda: len(consumers) == 2)
            await eventually(lambda: gateway.readiness()["broker"])


async def test_it_claims_nothing_when_the_id_is_lost() -> None:
    async with running_world() as world:
        consumers = fenceable(world)
        async with new_gateway(world) as gateway:
            await gateway.wait_ready()
            consumers[0].fenced.set()
            await eventually(lambda: consumers[0].closed)
            rival = world.services.ownership()
            world.tasks.start_soon(rival.acquire, GATEWAY_ID)
            await quiet()
            world.services.revoke(GATEWAY_ID)
            await eventually(lambda: rival.held)
            await quiet()
            assert len(consumers) == 1
