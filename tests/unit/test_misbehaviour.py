"""Clients that break the protocol: answered, counted, and closed with the right code."""

import json

import pytest
from tests.gateways import quiet, running_hub, settings

from imgateway.codes import RFC_UNSUPPORTED_DATA, TABLE, Code
from imgateway.core.pulse import ControlBudget

pytestmark = pytest.mark.anyio


async def test_a_malformed_frame_is_answered_and_the_connection_lives() -> None:
    async with running_hub() as bench:
        ann = await bench.connect("ann")
        ann.socket.send('{"type":"send-message","data":{"client_msg_id":"m1","content":5}}')
        error = await ann.next("error")
        assert (error["code"], error["details"], error["client_msg_id"]) == ("INVALID_MESSAGE", "invalid_field", "m1")
        ann.send_message("m1")
        assert (await ann.next("message-ack"))["status"] == "accepted"
        assert bench.world.observer.counts["message_up", "INVALID_MESSAGE"] == 1


async def test_one_malformed_frame_too_many_in_a_connections_life_ends_it() -> None:
    async with running_hub(settings(max_malformed_frames=3)) as bench:
        ann = await bench.connect("ann")
        for number in range(3):
            ann.send_message(f"m{number}")
            await ann.next("message-ack")
            assert not ann.connection.closed
            ann.socket.send("nonsense")
            await ann.next("error")
        assert await ann.ended() == TABLE[Code.INVALID_MESSAGE].close_code
        # A new connection begins anew.
        again = await bench.connect("ann")
        again.socket.send("nonsense")
        await again.next("error")
        assert not again.connection.closed


async def test_what_arrives_behind_the_last_malformed_frame_is_not_acted_on() -> None:
    async with running_hub(settings(max_malformed_frames=1)) as bench:
        ann = await bench.connect("ann")
        ann.socket.send("nonsense")
        ann.send_message("m1")
        await ann.ended()
        ann.connection.receive_text(json.dumps({"type": "ping"}))
        await quiet()
        assert bench.world.published() == []


async def test_content_that_is_too_long_is_refused_and_counts_as_no_malformed_frame() -> None:
    async with running_hub(settings(max_malformed_frames=1, max_content_bytes=10)) as bench:
        ann = await bench.connect("ann")
        for content in ("x" * 11, "é" * 6, "你" * 4, "😀" * 3):
            ann.send_message("long", content)
            error = await ann.next("error")
            assert (error["code"], error["client_msg_id"]) == ("MESSAGE_TOO_LARGE", "long")
        for number, content in enumerate(("x" * 10, "é" * 5, "你" * 3, "😀" * 2)):
            ann.send_message(str(number), content)
            await ann.next("message-ack")


async def test_a_binary_frame_ends_the_connection() -> None:
    async with running_hub() as bench:
        ann = await bench.connect("ann")
        ann.socket.send(b"{}")
        assert await ann.ended() == RFC_UNSUPPORTED_DATA


@pytest.mark.parametrize("kind", ["frame", "message"])
async def test_a_flood_of_pings_ends_the_connection(kind: str) -> None:
    async with running_hub() as bench:
        ann, ben = await bench.connect("ann"), await bench.connect("ben")

        def ping() -> None:
            if kind == "frame":
                ann.socket.send_ping()
            else:
                ann.say("ping")

        for _ in range(ControlBudget.BURST):
            ping()
        await quiet()
        assert not ann.connection.closed
        ping()
        assert await ann.ended() == TABLE[Code.RATE_LIMITED].close_code
        ben.say("ping")
        await ben.next("pong")


async def test_pings_at_a_sensible_rate_are_always_answered() -> None:
    async with running_hub() as bench:
        ann = await bench.connect("ann")
        for _ in range(3 * ControlBudget.BURST):
            bench.world.clock.advance(1 / ControlBudget.PER_SECOND)
            ann.say("ping")
            assert await ann.next("pong") == {}


async def test_the_first_close_reason_counts() -> None:
    async with running_hub() as bench:
        ann = await bench.connect("ann")
        ann.socket.answers_close = False
        ann.socket.send(b"binary")
        await quiet()
        for _ in range(2):
            ann.connection.receive_binary(b"again")
            ann.connection.pinged()
        ann.socket.leave(1000)
        assert await ann.ended() == RFC_UNSUPPORTED_DATA
        assert bench.world.observer.connections == 0
        assert bench.world.observer.counts["connection_closed", str(RFC_UNSUPPORTED_DATA)] == 1
