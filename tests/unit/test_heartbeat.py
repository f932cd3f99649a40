"""Pings, their deadlines, and everything that must not count against a client."""

import anyio
import pytest
from tests.gateways import Bench, Client, eventually, quiet, running_hub, settings
from tests.sockets import SimulatedSocket

from imgateway.codes import TABLE, Code

pytestmark = pytest.mark.anyio

INTERVAL, TIMEOUT = 10.0, 4.0
PING_TIMEOUT = TABLE[Code.PING_TIMEOUT].close_code
BEATS = settings(ping_interval_seconds=INTERVAL, pong_timeout_seconds=TIMEOUT)


def pass_until_pinged(bench: Bench, client: Client) -> float:
    """How long it takes until the next ping is sent."""
    before, waited = client.socket.pings, 0.0
    while client.socket.pings == before:
        bench.pass_time(0.25)
        waited += 0.25
        assert waited < 100
    return waited


async def test_a_client_is_pinged_at_every_interval_and_never_later() -> None:
    async with running_hub(BEATS) as bench:
        ann = await bench.connect("ann")
        for number in range(20):
            waited = pass_until_pinged(bench, ann)
            # The first comes anywhere in the second half of the interval, the others up to a tenth early.
            assert (0.5 if number == 0 else 0.9) * INTERVAL - 0.25 <= waited <= INTERVAL + 0.5
            ann.socket.send_ping()
            await quiet()
        assert not ann.connection.closed


async def test_a_crowd_is_not_pinged_at_one_moment() -> None:
    async with running_hub(BEATS) as bench:
        clients = [await bench.connect(f"u{number}") for number in range(40)]
        waves = []
        for _ in range(round(INTERVAL / 0.25) + 1):
            before = sum(client.socket.pings for client in clients)
            bench.pass_time(0.25)
            waves.append(sum(client.socket.pings for client in clients) - before)
        assert sum(waves) == 40
        assert max(waves) < 20


async def test_a_silent_client_is_closed_when_the_time_for_its_pong_is_over() -> None:
    async with running_hub(BEATS) as bench:
        ann = await bench.connect("ann")
        pass_until_pinged(bench, ann)
        bench.pass_time(TIMEOUT - 0.5)
        assert not ann.connection.closed
        bench.pass_time(1.0)
        assert await ann.ended() == PING_TIMEOUT
        await bench.hub.presence.flush()
        assert await bench.world.online("ann") == []


@pytest.mark.parametrize("sign", ["a pong or a fragment", "a message", "nonsense", "a ping"])
async def test_any_frame_is_a_sign_of_life(sign: str) -> None:
    async with running_hub(BEATS) as bench:
        ann = await bench.connect("ann")
        for _ in range(3):
            pass_until_pinged(bench, ann)
            bench.pass_time(TIMEOUT / 2)
            if sign == "a message":
                ann.send_message("m")
            elif sign == "nonsense":
                ann.socket.send("nonsense")
            elif sign == "a ping":
                ann.socket.send_ping()
            else:
                ann.connection.heard()
            await quiet()
            bench.pass_time(TIMEOUT)
            assert not ann.connection.closed


async def test_the_deadline_stands_still_while_the_gateway_does_not_read() -> None:
    async with running_hub(
        settings(ping_interval_seconds=INTERVAL, pong_timeout_seconds=TIMEOUT, max_inflight_messages=1)
    ) as bench:
        ann = await bench.connect("ann")
        pass_until_pinged(bench, ann)
        bench.pass_time(TIMEOUT / 2)
        # A frame arrives, but only to fill the window: from here on nothing is read, though a pong waits to be.
        bench.world.publisher.hold()
        ann.send_message("m1")
        await eventually(lambda: ann.socket.paused)
        ann.socket.send_ping()
        for _ in range(3):
            bench.pass_time(3.0)
        assert not ann.connection.closed
        bench.world.publisher.release()
        await ann.next("message-ack")
        await quiet()
        bench.pass_time(TIMEOUT)
        assert not ann.connection.closed


async def test_a_deadline_goes_on_after_the_hold_where_it_stopped() -> None:
    async with running_hub(BEATS) as bench:
        ann = await bench.connect("ann")
        pass_until_pinged(bench, ann)
        bench.pass_time(TIMEOUT / 2)
        bench.world.tokens.busy = busy = anyio.Event()
        bench.hub.token_arrived(ann.connection, "ann")  # held without having been heard
        bench.pass_time(3 * TIMEOUT)
        busy.set()
        await ann.next("token-refreshed")
        bench.pass_time(TIMEOUT / 2 - 0.75)
        assert not ann.connection.closed
        bench.pass_time(1.5)
        assert await ann.ended() == PING_TIMEOUT


async def test_a_pause_of_the_process_kills_nobody() -> None:
    async with running_hub(BEATS) as bench:
        ann = await bench.connect("ann")
        pass_until_pinged(bench, ann)
        for _ in range(3):
            bench.world.clock.advance(3600)
            bench.hub.tick()
        assert not ann.connection.closed
        # Silence is still silence when the process goes on.
        bench.pass_time(TIMEOUT)
        assert await ann.ended() == PING_TIMEOUT


async def test_a_server_with_a_heartbeat_of_its_own_is_left_to_it() -> None:
    async with running_hub(BEATS) as bench:
        ann = await bench.connect("ann", socket=SimulatedSocket(sends_pings=False))
        bench.pass_time(10 * INTERVAL)
        assert ann.socket.pings == 0
        assert not ann.connection.closed


async def test_nobody_is_asked_any_more_who_has_left() -> None:
    async with running_hub(BEATS) as bench:
        ann = await bench.connect("ann")
        ann.socket.leave()
        await ann.ended()
        assert len(bench.hub._wheel) == 0
        bench.pass_time(2 * INTERVAL)
        assert ann.socket.pings == 0
