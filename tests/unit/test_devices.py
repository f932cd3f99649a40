"""How many connections a user has, and which one a device has, over all gateways."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from unittest import mock

import anyio
import attrs
import pytest
from tests.gateways import (
    GATEWAY_ID,
    PATIENCE_SECONDS,
    Client,
    House,
    World,
    eventually,
    quiet,
    request,
    running_hub,
    running_world,
    settings,
)
from tests.sockets import SimulatedSocket

from imgateway.codes import TABLE, Code
from imgateway.core import presence
from imgateway.core.admission import Admitted
from imgateway.core.gateway import Gateway
from imgateway.core.parts import GatewayParts
from imgateway.core.settings import GatewaySettings
from imgateway.model import ConnectionId, ConsumedRecord, DeviceId, Displaced, GatewayId, Refusal, SessionRecord, UserId
from imgateway.testing import FaultySessionStore
from imgateway.wire.json_codec import JsonCodec
from imgateway.wire.records import EVICTION_HEADER

pytestmark = pytest.mark.anyio

OTHER = GatewayId("gw-2")
REPLACED = TABLE[Code.REPLACED].close_code


@asynccontextmanager
async def two_gateways(
    *, session_ttl_seconds: float = 60.0, **connections: Any
) -> AsyncIterator[tuple[World, House, House]]:
    """Two gateways that share everything; further arguments are those of `[connections]`."""

    @asynccontextmanager
    async def house(world: World, gateway_id: GatewayId) -> AsyncIterator[House]:
        @asynccontextmanager
        async def open_parts() -> AsyncIterator[GatewayParts]:
            parts = world.parts(session_ttl_seconds=session_ttl_seconds, gateway_id=gateway_id)
            yield parts
            await parts.registrar.aclose()

        chosen = attrs.evolve(settings(**connections), gateway=GatewaySettings(id=gateway_id))
        async with Gateway(chosen, open_parts) as gateway:
            with anyio.fail_after(PATIENCE_SECONDS):
                await gateway.wait_ready()
            yield House(world, gateway)

    async with running_world() as world, house(world, GATEWAY_ID) as one, house(world, OTHER) as other:
        yield world, one, other


async def admitted(house: House, token: str, device: str | None = None) -> Admitted | Refusal:
    outcome = await house.gateway.admit(request(token, device=device))
    if isinstance(outcome, Admitted):
        house.gateway.leave(outcome)
    return outcome


async def in_turn(world: World, *houses: House, user: str = "ann", count: int) -> list[Client]:
    """Connections of one user, each a second after the other, on one gateway after the other."""
    clients = []
    for number in range(count):
        world.clock.advance(1.0)
        clients.append(await houses[number % len(houses)].connect(user))
    return clients


async def present(world: World, *clients: Client) -> None:
    """Return when the user's presence is exactly these, newest first."""
    ids = [client.connection.connection_id for client in clients]
    with anyio.fail_after(PATIENCE_SECONDS):
        while [record.connection_id for record in await world.online("ann")] != ids:
            await anyio.lowlevel.checkpoint()


async def test_a_device_replaces_its_connection_on_another_gateway() -> None:
    async with two_gateways() as (world, one, other):
        tv, old, ben = (
            await one.connect("ann", device="tv"),
            await one.connect("ann", device="a"),
            await one.connect("ben"),
        )
        world.clock.advance(1.0)
        new = await other.connect("ann", device="a")
        # Presence is exact at once, the socket follows.
        await present(world, new, tv)
        assert await old.ended() == REPLACED
        # The word was a record like any other, to the gateway's position.
        await eventually(lambda: world.committed() == 1)
        assert world.undelivered() == []
        assert not any(what == "unparsable" for _, what in world.observer.counts)
        await quiet()
        await present(world, new, tv)
        assert not any(client.connection.closed for client in (tv, new, ben))


async def test_the_oldest_go_beyond_max_per_user_over_two_gateways() -> None:
    async with two_gateways(max_per_user=3) as (world, one, other):
        clients = await in_turn(world, one, other, count=5)
        assert [await client.ended() for client in clients[:2]] == [REPLACED, REPLACED]
        await present(world, *clients[:1:-1])
        assert not any(client.connection.closed for client in clients[2:])
        clients[4].socket.leave()
        await present(world, clients[3], clients[2])
        world.clock.advance(1.0)
        newest = await other.connect("ann")
        await present(world, newest, clients[3], clients[2])


async def test_a_gateway_that_was_not_told_learns_it_when_it_refreshes() -> None:
    async with two_gateways(session_ttl_seconds=0.003) as (world, one, other):
        world.publisher.full = True
        old = await one.connect("ann", device="phone")
        world.clock.advance(1.0)
        new = await other.connect("ann", device="phone")
        assert await old.ended() == REPLACED
        await present(world, new)
        assert not new.connection.closed


async def test_two_at_the_same_moment_leave_one() -> None:
    async with two_gateways() as (world, one, other):
        clients: list[Client] = []

        async def connect(house: House) -> None:
            outcome = await house.gateway.admit(request("ann", device="phone"))
            assert isinstance(outcome, Admitted)
            socket = SimulatedSocket()
            world.tasks.start_soon(socket.carry)
            clients.append(Client(socket, await house.gateway.open(outcome, JsonCodec(), socket.attach)))

        world.sessions.hang()
        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                for house in (one, other):
                    tasks.start_soon(connect, house)
            await quiet()
            world.sessions.release()
        await eventually(lambda: sum(not client.connection.closed for client in clients) == 1)
        (left,) = [client for client in clients if not client.connection.closed]
        await present(world, left)
        await quiet()
        assert not left.connection.closed


async def test_with_the_store_down_it_holds_for_each_gateway_and_over_all_when_it_is_back() -> None:
    async with two_gateways(max_per_user=2) as (world, one, other):
        world.sessions.down = True
        with mock.patch.object(presence, "ANNOUNCE_SECONDS", 0.01):
            clients = await in_turn(world, one, other, count=6)
        assert [await client.ended() for client in clients[:2]] == [REPLACED, REPLACED]
        assert not any(client.connection.closed for client in clients[2:])
        world.sessions.down = False
        assert [await client.ended() for client in clients[2:4]] == [REPLACED, REPLACED]
        await present(world, clients[5], clients[4])
        assert not any(client.connection.closed for client in clients[4:])


async def test_what_the_store_lost_and_gets_again_costs_nobody_anything() -> None:
    async with two_gateways(max_per_user=4, session_ttl_seconds=0.003) as (world, one, other):
        clients = await in_turn(world, one, other, count=4)
        for _ in range(5):
            await world.sessions.inner.remove(await world.online("ann"))
            await present(world, *clients[::-1])
        assert not any(client.connection.closed for client in clients)


async def test_the_policy_refuse_counts_over_all_gateways_before_the_upgrade() -> None:
    async with two_gateways(max_per_user=2, on_excess="refuse") as (world, one, other):
        phone = await one.connect("ann", device="phone")
        world.clock.advance(1.0)
        second = await one.connect("ann")
        for house in (one, other):
            refusal = await admitted(house, "ann", "tv")
            assert isinstance(refusal, Refusal)
            assert (refusal.code, refusal.details) == (Code.RATE_LIMITED, "max_per_user")
        assert isinstance(await admitted(other, "ben"), Admitted)
        phone_again = await other.connect("ann", device="phone")
        assert await phone.ended() == REPLACED
        second.socket.leave()
        await second.ended()
        await present(world, phone_again)
        await other.connect("ann", device="tv")


async def test_with_the_policy_refuse_those_who_come_together_are_counted_as_they_are_written() -> None:
    async with two_gateways(max_per_user=1, on_excess="refuse") as (world, one, other):
        outcomes = [await house.gateway.admit(request("ann")) for house in (one, other)]
        sockets = [SimulatedSocket(), SimulatedSocket()]
        for house, outcome, socket in zip((one, other), outcomes, sockets, strict=True):
            assert isinstance(outcome, Admitted)
            world.tasks.start_soon(socket.carry)
            await house.gateway.open(outcome, JsonCodec(), socket.attach)
        await eventually(lambda: sockets[1].over)
        assert sockets[1].over == TABLE[Code.RATE_LIMITED].close_code
        assert sockets[1].received == []
        assert sockets[0].over is None


@pytest.mark.parametrize("down", [False, True])
async def test_with_the_store_away_the_policy_refuse_counts_for_each_gateway(down: bool) -> None:
    async with two_gateways(max_per_user=1, on_excess="refuse") as (world, one, other):
        await one.connect("ann")
        if down:
            world.sessions.down = True
        else:
            world.sessions.hang()
        with mock.patch.object(presence, "ANNOUNCE_SECONDS", 0.01):
            await other.connect("ann")
            assert isinstance(await admitted(one, "ann"), Refusal)
            assert isinstance(await admitted(other, "ann"), Refusal)
        world.sessions.release()
        world.sessions.down = False


async def test_what_an_earlier_process_left_behind_keeps_nobody_out_of_the_gateway_with_its_id() -> None:
    async with two_gateways(max_per_user=1, on_excess="refuse") as (world, one, other):
        left = SessionRecord(UserId("ann"), ConnectionId("left"), GATEWAY_ID, None, None, connected_at=1)
        await world.sessions.inner.add([left])
        assert isinstance(await admitted(other, "ann"), Refusal)
        ann = await one.connect("ann")
        await present(world, ann)


async def test_the_default_policy_asks_the_store_nothing_before_the_upgrade() -> None:
    async with two_gateways() as (_, one, _):
        with mock.patch.object(FaultySessionStore, "lookup", side_effect=AssertionError):
            await one.connect("ann")


async def test_a_refresh_does_not_write_a_new_connection_before_it_displaced_whom_it_should() -> None:
    @attrs.define(eq=False)
    class SlowToAdd(FaultySessionStore):
        refreshed: int = 0

        async def refresh(self, records: Sequence[SessionRecord], /) -> Sequence[Displaced]:
            self.refreshed += 1
            return await self.inner.refresh(records)

    async with running_hub(session_ttl_seconds=0.003) as bench:
        await bench.connect("ben")
        left = SessionRecord(UserId("ann"), ConnectionId("left"), OTHER, DeviceId("phone"), None, connected_at=1)
        await bench.world.sessions.inner.add([left])
        store = bench.hub.presence.store = SlowToAdd(bench.world.sessions.inner)
        store.hang()
        with mock.patch.object(presence, "ANNOUNCE_SECONDS", 0.01):
            ann = await bench.connect("ann", device="phone")
        before = store.refreshed
        await eventually(lambda: store.refreshed > before + 3)
        store.release()
        await present(bench.world, ann)


async def test_whoever_ended_before_another_came_costs_nobody_a_place() -> None:
    async with running_hub(settings(max_per_user=2)) as bench:
        ben, oldest = await bench.connect("ben"), await bench.connect("ann")
        bench.world.clock.advance(1.0)
        leaving = await bench.connect("ann")
        bench.world.sessions.hang()
        ben.socket.leave()
        await ben.ended()
        await quiet()
        # Now a removal is on its way.
        leaving.socket.leave()
        await leaving.ended()
        with mock.patch.object(presence, "ANNOUNCE_SECONDS", 0.01):
            new = await bench.connect("ann")
        bench.world.sessions.release()
        await bench.hub.presence.flush()
        assert not oldest.connection.closed
        assert {record.connection_id for record in await bench.world.online("ann")} == {
            oldest.connection.connection_id,
            new.connection.connection_id,
        }


async def test_where_the_store_is_asked_twice_a_client_waits_as_long_for_both_as_for_one() -> None:
    for on_excess, times in (("kick-oldest", 1), ("refuse", 2)):
        async with running_hub(settings(on_excess=on_excess)) as bench:
            assert bench.hub.presence._patience() * times == presence.ANNOUNCE_SECONDS


async def test_the_router_closes_whom_another_gateway_names() -> None:
    async with running_hub() as bench:
        first, second = await bench.connect("ann"), await bench.connect("ann")
        settled: list[int] = []

        def route(value: bytes, *headers: tuple[str, bytes]) -> None:
            bench.router.route(ConsumedRecord(0, 0, b"ann", value, headers), lambda: settled.append(1))

        for value in (b"{}", b"", b"more than we know of"):
            route(value, ("other", b""), (EVICTION_HEADER, first.connection.connection_id.encode()))
        assert await first.ended() == REPLACED
        route(b"{}", (EVICTION_HEADER, b"\xff"))
        assert len(settled) == 4
        assert bench.world.undelivered() == []
        assert not any(what == "unparsable" for _, what in bench.world.observer.counts)
        assert not second.connection.closed
        # Other headers mean nothing.
        route(b"{}", ("imgateway-evict-not", second.connection.connection_id.encode()))
        assert bench.world.observer.counts["delivery", "unparsable"] == 1
        assert not second.connection.closed
