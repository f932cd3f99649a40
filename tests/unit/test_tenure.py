"""Owning a gateway id: what happens when it is lost, and when what it is for fails."""

from collections.abc import Mapping, Sequence

import anyio
import attrs
import pytest
from tests.gateways import (
    GATEWAY_ID,
    House,
    World,
    eventually,
    message,
    new_gateway,
    quiet,
    request,
    running_gateway,
    running_world,
)
from tests.sockets import SimulatedSocket

from imgateway.codes import TABLE, Code
from imgateway.core.admission import Admitted
from imgateway.errors import ServiceUnavailableError
from imgateway.model import ConsumedRecord, GatewayId, Refusal
from imgateway.ports import DownstreamConsumer, GatewayOwnership
from imgateway.wire.json_codec import JsonCodec

pytestmark = pytest.mark.anyio

DRAINING = TABLE[Code.DRAINING].close_code


@attrs.define(eq=False)
class Unsteady:
    """Implements `ports.DownstreamConsumer`; its calls fail as often as told.

    Attributes:
        failures: how often `start` and `take` raise `ServiceUnavailableError` from now on; shared by all of a test's.
    """

    inner: DownstreamConsumer
    failures: dict[str, int]
    closed: bool = False

    def _maybe_fail(self, call: str) -> None:
        if self.failures.get(call):
            self.failures[call] -= 1
            raise ServiceUnavailableError("the broker is down")

    async def start(self) -> None:
        self._maybe_fail("start")
        await self.inner.start()

    async def take(self) -> Sequence[ConsumedRecord]:
        self._maybe_fail("take")
        records = await self.inner.take()
        self._maybe_fail("after take")
        return records

    async def commit(self, positions: Mapping[int, int], /) -> None:
        await self.inner.commit(positions)

    def lag(self) -> int:
        return self.inner.lag()

    async def aclose(self) -> None:
        self.closed = True
        await self.inner.aclose()


@attrs.define(eq=False)
class Unreachable:
    """Implements `ports.GatewayOwnership`, whose first attempts fail."""

    inner: GatewayOwnership
    failures: int = 3

    async def acquire(self, gateway_id: GatewayId, /) -> None:
        if self.failures:
            self.failures -= 1
            raise ServiceUnavailableError("the registry is down")
        await self.inner.acquire(gateway_id)

    @property
    def held(self) -> bool:
        return self.inner.held

    async def wait_lost(self) -> None:
        await self.inner.wait_lost()

    async def release(self) -> None:
        await self.inner.release()


def unsteady(world: World) -> tuple[list[Unsteady], dict[str, int]]:
    """From now on the world's consumers are unsteady."""
    consumers: list[Unsteady] = []
    failures: dict[str, int] = {}

    def around(consumer: DownstreamConsumer) -> Unsteady:
        consumers.append(Unsteady(consumer, failures))
        return consumers[-1]

    world.around_consumer = around
    return consumers, failures


async def test_when_the_id_is_lost_everyone_is_sent_away_and_it_is_claimed_anew() -> None:
    async with running_world() as world:
        consumers, _ = unsteady(world)
        async with new_gateway(world) as gateway:
            await gateway.wait_ready()
            house = House(world, gateway)
            clients = [await house.connect(f"u{number}") for number in range(3)]
            rival = world.services.ownership()
            world.tasks.start_soon(rival.acquire, GATEWAY_ID)
            await quiet()
            world.services.revoke(GATEWAY_ID)
            assert [await client.ended() for client in clients] == [DRAINING] * 3
            await eventually(lambda: rival.held)
            assert {part for part, fine in gateway.readiness().items() if not fine} == {
                "ownership",
                "broker",
                "registry",
            }
            refusal = await gateway.admit(request("ann"))
            assert isinstance(refusal, Refusal)
            assert (refusal.code, refusal.details) == (Code.DRAINING, "not_ready")
            await eventually(lambda: consumers[0].closed)
            # While it is another's, nothing is read, nothing is committed, and we are not found under it.
            world.write_downstream(message("u0"))
            await quiet()
            assert await world.registered() == []
            assert world.committed() == 0
            assert world.undelivered() == []
            await rival.release()
            await eventually(lambda: gateway.ready)
            ann = await house.connect("u0")
            assert len(consumers) == 2
            await eventually(lambda: world.committed() == 1)
            world.write_downstream(message("u0", message_id="2"))
            assert (await ann.next("new-message"))["id"] == "2"


async def test_a_client_that_is_being_welcomed_when_the_id_is_lost_is_sent_away_too() -> None:
    async with running_gateway() as house:
        house.world.sessions.hang()
        admitted = await house.gateway.admit(request("ann"))
        assert isinstance(admitted, Admitted)
        socket = SimulatedSocket()
        house.world.tasks.start_soon(socket.carry)
        house.world.tasks.start_soon(house.gateway.open, admitted, JsonCodec(), socket.attach)
        await eventually(lambda: house.gateway.connections)
        house.world.services.revoke(GATEWAY_ID)
        await eventually(lambda: socket.over)
        assert socket.over == DRAINING
        house.world.sessions.release()
        await eventually(lambda: house.gateway.ready)
        assert await house.world.online("ann") == []


async def test_an_id_that_is_lost_while_draining_is_not_claimed_anew() -> None:
    async with running_gateway() as house:
        ann = await house.connect("ann")
        ann.socket.answers_close = False
        house.world.tasks.start_soon(house.gateway.drain)
        await eventually(lambda: ann.socket.close_reason)
        house.world.services.revoke(GATEWAY_ID)
        await quiet()
        with anyio.fail_after(5):
            await house.world.services.ownership().acquire(GATEWAY_ID)
        ann.socket.leave()
        with anyio.fail_after(5):
            await house.gateway.drain()
        assert await house.world.registered() == []


async def test_a_consumer_that_fails_while_draining_is_replaced_but_nobody_is_told() -> None:
    async with running_world() as world:
        consumers, failures = unsteady(world)
        async with new_gateway(world) as gateway:
            await gateway.wait_ready()
            ann = await House(world, gateway).connect("ann", socket=SimulatedSocket(answers_close=False))
            world.tasks.start_soon(gateway.drain)
            await eventually(lambda: ann.socket.close_reason)
            failures["after take"] = 1
            world.write_downstream(message("ben"))
            await eventually(lambda: world.committed() == 1)
            assert len(consumers) == 2
            assert await world.registered() == []
            refusal = await gateway.admit(request("ben"))
            assert isinstance(refusal, Refusal)
            ann.socket.leave()


async def test_a_consumer_that_fails_is_replaced_and_goes_on_where_commits_ended() -> None:
    async with running_world() as world:
        consumers, failures = unsteady(world)
        async with new_gateway(world) as gateway:
            await gateway.wait_ready()
            ann = await House(world, gateway).connect("ann")
            world.write_downstream(message("ann", message_id="1"))
            await ann.next("new-message")
            await eventually(lambda: world.committed() == 1)
            failures["after take"] = failures["start"] = 1
            world.write_downstream(message("ann", message_id="2"))
            again = await ann.next("new-message")
            assert (again["id"], again["redelivered"]) == ("2", True)
            assert len(consumers) == 3
            assert [consumer.closed for consumer in consumers] == [True, True, False]
            await eventually(lambda: gateway.ready)
            assert not ann.connection.closed
            world.write_downstream(message("ann", message_id="3"))
            assert "redelivered" not in await ann.next("new-message")
            await eventually(lambda: world.committed() == 3)


async def test_what_was_routed_before_the_failure_and_not_settled_is_not_committed_by_its_late_settlement() -> None:
    async with running_world() as world:
        consumers, failures = unsteady(world)
        async with new_gateway(world) as gateway:
            await gateway.wait_ready()
            ann = await House(world, gateway).connect("ann")
            ann.socket.reads = False
            world.write_downstream(message("ann", message_id="1"))
            await quiet()
            failures["after take"] = 1
            world.write_downstream(message("ben", message_id="2"))
            await eventually(lambda: len(consumers) == 2)
            await quiet()
            assert world.committed() == 0
            ann.socket.read_on()
            assert [(await ann.next("new-message"))["id"] for _ in range(2)] == ["1", "1"]
            await eventually(lambda: world.committed() == 2)


async def test_while_the_broker_is_down_it_is_not_ready_and_its_clients_live_on() -> None:
    async with running_world() as world:
        consumers, failures = unsteady(world)
        async with new_gateway(world) as gateway:
            await gateway.wait_ready()
            house = House(world, gateway)
            ann = await house.connect("ann")
            failures["start"] = 10**9
            failures["after take"] = 1
            world.write_downstream(message("ann"))
            await eventually(lambda: len(consumers) > 3)
            assert {part for part, fine in gateway.readiness().items() if not fine} == {"broker"}
            ann.say("ping")
            await ann.next("pong")
            failures["start"] = 0
            await ann.next("new-message")
            assert gateway.ready


async def test_a_registry_that_is_down_at_the_start_is_tried_until_it_answers() -> None:
    async with running_world() as world:
        world.around_ownership = Unreachable
        async with new_gateway(world) as gateway:
            with anyio.fail_after(10):
                await gateway.wait_ready()
            assert gateway.ready


async def test_two_gateways_of_one_id_take_turns() -> None:
    async with running_world() as world, new_gateway(world) as first:
        await first.wait_ready()
        async with new_gateway(world) as second:
            await quiet()
            assert (first.ready, second.ready) == (True, False)
            await first.drain()
            with anyio.fail_after(10):
                await second.wait_ready()
            assert (first.ready, second.ready) == (False, True)
            assert await world.registered() == [GATEWAY_ID]
