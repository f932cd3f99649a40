"""Parting from everyone politely, in order and in time."""

from unittest import mock

import anyio
import pytest
from tests.gateways import (
    GATEWAY_ID,
    Client,
    House,
    eventually,
    message,
    new_gateway,
    quiet,
    request,
    running_gateway,
    running_hub,
    running_world,
    settings,
)
from tests.sockets import SimulatedSocket

from imgateway.codes import TABLE, Code
from imgateway.core import draining
from imgateway.core import gateway as gateway_module
from imgateway.core.draining import SPREAD_MS, close_paced
from imgateway.model import Refusal

pytestmark = pytest.mark.anyio

DRAINING = TABLE[Code.DRAINING].close_code


async def test_clients_are_told_when_to_come_back_and_closed_and_everything_is_given_up() -> None:
    async with running_gateway() as house:
        clients = [await house.connect(f"u{number}") for number in range(20)]
        house.world.write_downstream(message("u0"))
        await clients[0].next("new-message")
        await house.gateway.drain()
        delays = set()
        for client in clients:
            farewell = await client.next("reconnect")
            assert farewell["reason"] == "draining"
            assert 0 <= farewell["afterMs"] < SPREAD_MS
            delays.add(farewell["afterMs"])
            assert await client.ended() == DRAINING
            assert await house.world.online(client.connection.user_id) == []
        assert len(delays) > 10  # not all at once
        assert not house.gateway.ready
        assert await house.world.registered() == []
        assert house.world.committed() == 1
        with anyio.fail_after(5):
            await house.world.services.ownership().acquire(GATEWAY_ID)


async def test_nobody_is_let_in_any_more_from_the_first_moment() -> None:
    async with running_gateway() as house:
        ann = await house.connect("ann")
        ann.socket.answers_close = False
        house.world.tasks.start_soon(house.gateway.drain)
        await eventually(lambda: ann.socket.close_reason)
        refusal = await house.gateway.admit(request("ben"))
        assert isinstance(refusal, Refusal)
        assert (refusal.code, refusal.details, refusal.retry_after) == (Code.DRAINING, "draining", 1)
        assert house.gateway.readiness()["gateway"] is False
        assert await house.world.registered() == []
        ann.socket.leave()


async def test_a_client_stays_until_its_messages_are_answered() -> None:
    async with running_gateway() as house:
        ann, ben = await house.connect("ann"), await house.connect("ben")
        house.world.publisher.hold()
        ann.send_message("m1")
        await eventually(lambda: house.world.publisher.held)
        house.world.tasks.start_soon(house.gateway.drain)
        await ann.next("reconnect")
        assert await ben.ended() == DRAINING
        # No new messages, but whatever else goes on.
        ann.send_message("m2")
        error = await ann.next("error")
        assert (error["code"], error["client_msg_id"], error["retryAfter"]) == ("DRAINING", "m2", 1)
        ann.say("ping")
        await ann.next("pong")
        house.world.write_downstream(message("ann"))
        await ann.next("new-message")
        assert not ann.connection.closed
        house.world.publisher.release()
        assert (await ann.next("message-ack"))["client_msg_id"] == "m1"
        assert await ann.ended() == DRAINING
        await eventually(lambda: house.world.committed() == 1)


async def test_what_comes_after_the_last_client_has_gone_is_left_for_the_next_owner() -> None:
    async with running_world() as world:
        async with new_gateway(world) as gateway:
            await gateway.wait_ready()
            await House(world, gateway).connect("ann")
            world.write_downstream(message("nobody"))
            await eventually(lambda: world.committed() == 1)
            await gateway.drain()
            world.write_downstream(message("ann", message_id="late"))
            await quiet()
        assert [message_id for _, _, message_id in world.undelivered()] == ["1"]
        assert world.committed() == 1
        async with new_gateway(world) as gateway:
            await gateway.wait_ready()
            await eventually(lambda: world.committed() == 2)
        assert [message_id for _, _, message_id in world.undelivered()] == ["1", "late"]


async def test_nothing_is_read_any_more_while_what_was_taken_is_being_written() -> None:
    async with running_gateway() as house:
        house.world.publisher.hold()
        house.world.write_downstream(message("nobody"))
        await eventually(lambda: house.world.publisher.held)
        house.world.tasks.start_soon(house.gateway.drain)
        await quiet()
        house.world.write_downstream(message("ann", message_id="late"))
        await quiet()
        assert house.world.publisher.held == 1
        house.world.publisher.release()
        await house.gateway.drain()
        assert house.world.committed() == 1
        assert [message_id for _, _, message_id in house.world.undelivered()] == ["1"]


async def test_what_was_taken_is_written_before_the_end() -> None:
    async with running_gateway() as house:
        ann = await house.connect("ann")
        house.world.publisher.hold()
        ann.send_message("m1")
        house.world.write_downstream(message("nobody"))
        await eventually(lambda: house.world.publisher.held == 2)
        ann.socket.leave()
        await ann.ended()
        drained: list[bool] = []

        async def drain() -> None:
            await house.gateway.drain()
            drained.append(True)

        house.world.tasks.start_soon(drain)
        await quiet()
        assert not drained
        house.world.publisher.release()
        await eventually(lambda: drained)
        assert [record["client_msg_id"] for record in house.world.published()] == ["m1"]
        assert house.world.committed() == 1


async def test_a_stuck_socket_does_not_make_it_longer_than_allowed() -> None:
    async with running_gateway(settings(drain_seconds=0.05)) as house:
        stuck: Client = await house.connect("ann", socket=SimulatedSocket(answers_close=False))
        with anyio.fail_after(5):
            await house.gateway.drain()
        assert stuck.socket.over == DRAINING
        assert stuck.connection.closed
        assert not house.gateway.ready


async def test_a_publisher_that_hangs_does_not_make_it_longer_than_allowed() -> None:
    async with running_gateway(settings(drain_seconds=0.1)) as house:
        ann = await house.connect("ann")
        house.world.publisher.hold()
        ann.send_message("m1")
        await eventually(lambda: house.world.publisher.held)
        with anyio.fail_after(5):
            await house.gateway.drain()
        assert not house.gateway.ready
        assert await ann.ended() == DRAINING


async def test_a_store_that_hangs_keeps_nothing_else_from_being_done_in_time() -> None:
    async with running_gateway(settings(drain_seconds=1.0)) as house:
        await house.connect("ann")
        house.world.write_downstream(message("nobody"))
        house.world.sessions.hang()
        with anyio.fail_after(5):
            await house.gateway.drain()
            # Given up by the drain itself, not only when the gateway is left.
            await house.world.services.ownership().acquire(GATEWAY_ID)
        assert house.world.committed() == 1
        house.world.sessions.release()


async def test_leaving_after_a_drain_does_not_wait_for_the_same_once_more() -> None:
    async with running_world() as world:
        with mock.patch.object(gateway_module, "CUT_OFF_SECONDS", 60.0), anyio.fail_after(25):
            async with new_gateway(world, settings(drain_seconds=0.1)) as gateway:
                await gateway.wait_ready()
                await House(world, gateway).connect("ann")
                world.sessions.hang()
                await gateway.drain()
            await anyio.lowlevel.checkpoint()


async def test_a_second_call_waits_for_the_first() -> None:
    async with running_gateway() as house:
        stuck = await house.connect("ann", socket=SimulatedSocket(answers_close=False))
        done: list[int] = []

        async def drain(number: int) -> None:
            await house.gateway.drain()
            done.append(number)

        for number in range(2):
            house.world.tasks.start_soon(drain, number)
        await eventually(lambda: stuck.socket.close_reason)
        await quiet()
        assert done == []
        stuck.socket.leave()
        await eventually(lambda: len(done) == 2)
        assert len([frame for frame in stuck.socket.received if frame["type"] == "reconnect"]) == 1
        await house.gateway.drain()


async def test_a_drain_that_is_cancelled_leaves_it_not_ready_and_others_do_not_wait_for_ever() -> None:
    async with running_gateway() as house:
        await house.connect("ann", socket=SimulatedSocket(answers_close=False))
        with anyio.move_on_after(0.01) as scope:
            await house.gateway.drain()
        assert scope.cancelled_caught
        assert not house.gateway.ready
        with anyio.fail_after(5):
            await house.gateway.drain()


async def test_leaving_while_a_drain_waits_ends_the_drain() -> None:
    async with running_world() as world:
        gateway = new_gateway(world)
        with anyio.fail_after(10):
            async with anyio.create_task_group() as tasks, gateway:
                await gateway.wait_ready()
                stuck = await House(world, gateway).connect("ann", socket=SimulatedSocket(answers_close=False))
                tasks.start_soon(gateway.drain)
                await eventually(lambda: stuck.socket.close_reason)


async def test_a_gateway_that_was_never_ready_drains_at_once_and_does_not_get_ready_later() -> None:
    async with running_world() as world:
        rival = world.services.ownership()
        await rival.acquire(GATEWAY_ID)
        async with new_gateway(world) as gateway:
            await quiet()
            with anyio.fail_after(5):
                await gateway.drain()
            await rival.release()
            await quiet()
            assert await world.registered() == []
            with anyio.fail_after(5):
                await world.services.ownership().acquire(GATEWAY_ID)


async def test_parting_is_paced() -> None:
    async with running_hub(settings(max_per_user=100)) as bench:
        clients = [await bench.connect("ann") for _ in range(30)]
        closed = []
        with mock.patch.multiple(draining, STEP_SECONDS=0.01, PER_SECOND=1000):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(close_paced, bench.hub.connections, 1.0)
                while any(not client.connection.closed for client in clients):
                    await anyio.lowlevel.checkpoint()
                    closed.append(sum(client.connection.closed for client in clients))
        assert sorted({0, *closed}) == [0, 10, 20, 30]


async def test_a_crowd_that_would_take_too_long_goes_faster() -> None:
    async with running_hub(settings(max_per_user=100)) as bench:
        clients = [await bench.connect("ann") for _ in range(30)]
        with mock.patch.multiple(draining, STEP_SECONDS=1.0, PER_SECOND=1):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(close_paced, bench.hub.connections, 2.0)
                await eventually(lambda: any(client.connection.closed for client in clients))
                assert sum(client.connection.closed for client in clients) == 15
        assert all(client.connection.closed for client in clients)


async def test_who_left_or_is_leaving_already_is_passed_over() -> None:
    async with running_hub() as bench:
        ann, ben = await bench.connect("ann"), await bench.connect("ben")
        connections = bench.hub.connections
        ann.socket.leave()
        await ann.ended()
        ben.socket.answers_close = False
        ben.socket.send(b"binary")
        await eventually(lambda: ben.socket.close_reason)
        await close_paced(connections, 1.0)
        assert (ann.unheard, ben.unheard) == ([], [])
