"""The transport over a plain ASGI channel."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from unittest import mock

import anyio
import attrs
import pytest
from tests.asgi import Channel
from tests.gateways import eventually, quiet

from imgateway.adapters.starlette import asgi_transport
from imgateway.adapters.starlette.asgi_transport import AsgiTransport
from imgateway.codes import RFC_ABNORMAL
from imgateway.model import CloseReason
from imgateway.wire.frames import binary_frame, text_frame

pytestmark = pytest.mark.anyio

REASON = CloseReason(4509, "REPLACED")


@attrs.define(eq=False)
class Listener:
    """Implements `ports.TransportListener`: keeps what it is told."""

    told: list[object] = attrs.field(factory=list)

    def receive_text(self, text: str, /) -> None:
        self.told.append(text)

    def receive_binary(self, data: bytes, /) -> None:
        self.told.append(data)

    def heard(self) -> None:
        self.told.append("(heard)")

    def pinged(self) -> None:
        self.told.append("(pinged)")

    def drained(self) -> None:
        self.told.append("(drained)")

    def lost(self, close_code: int, /) -> None:
        self.told.append(("lost", close_code))


@attrs.define(eq=False)
class Setup:
    channel: Channel
    transport: AsgiTransport
    listener: Listener
    over: bool = False


@asynccontextmanager
async def running(listener: Listener | None = None) -> AsyncIterator[Setup]:
    channel, listener = Channel(), listener or Listener()
    await channel.receive()
    transport = AsgiTransport(channel.receive, channel.send)
    transport.attach(listener)
    setup = Setup(channel, transport, listener)

    async def run() -> None:
        await transport.run()
        setup.over = True

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run)
        yield setup
        tasks.cancel_scope.cancel()


async def test_messages_are_told_in_order_each_as_a_sign_of_life() -> None:
    async with running() as setup:
        setup.channel.text("a")
        setup.channel.arrive(type="websocket.receive", bytes=b"b", text=None)
        setup.channel.text("")
        await eventually(lambda: len(setup.listener.told) == 6)
        assert setup.listener.told == ["(heard)", "a", "(heard)", b"b", "(heard)", ""]


async def test_frames_are_sent_in_order_and_counted_until_the_server_has_them() -> None:
    async with running() as setup:
        setup.channel.gate = gate = anyio.Event()
        frames = [text_frame("你好".encode()), binary_frame(b"\x00"), text_frame(b"")]
        setup.transport.write(frames)
        await quiet()
        assert setup.transport.buffered_bytes == sum(frame.size for frame in frames)
        assert setup.listener.told == []
        gate.set()
        await eventually(lambda: setup.listener.told)
        assert setup.transport.buffered_bytes == 0
        assert setup.channel.sent == [
            {"type": "websocket.send", "text": "你好"},
            {"type": "websocket.send", "bytes": b"\x00"},
            {"type": "websocket.send", "text": ""},
        ]
        assert setup.listener.told == ["(drained)"]


async def test_while_paused_nothing_is_told_and_little_is_asked_for() -> None:
    async with running() as setup:
        await quiet()
        setup.transport.pause_reading()
        setup.transport.pause_reading()
        for number in range(5):
            setup.channel.text(str(number))
        await quiet()
        assert setup.listener.told == []
        asked = setup.channel.asked
        await quiet()
        assert setup.channel.asked == asked
        setup.transport.resume_reading()
        await eventually(lambda: len(setup.listener.told) == 10)
        assert setup.listener.told[1::2] == ["0", "1", "2", "3", "4"]


async def test_a_listener_that_pauses_gets_nothing_more() -> None:
    @attrs.define(eq=False)
    class Pausing(Listener):
        transport: AsgiTransport | None = None

        def receive_text(self, text: str, /) -> None:
            super().receive_text(text)
            assert self.transport is not None
            self.transport.pause_reading()

    listener = Pausing()
    async with running(listener) as setup:
        listener.transport = setup.transport
        for number in range(3):
            setup.channel.text(str(number))
        await quiet()
        assert setup.listener.told == ["(heard)", "0"]


@pytest.mark.parametrize(("code", "told"), [(1001, 1001), (4000, 4000), (None, RFC_ABNORMAL)])
async def test_a_client_that_leaves_is_told_once_and_last(code: int | None, told: int) -> None:
    async with running() as setup:
        setup.channel.text("a")
        setup.channel.arrive(type="websocket.disconnect", code=code)
        await eventually(lambda: setup.over)
        assert setup.listener.told == ["(heard)", "a", ("lost", told)]
        for call in (setup.transport.pause_reading, setup.transport.resume_reading, setup.transport.abort):
            call()
        setup.transport.write([text_frame(b"late")])
        setup.transport.close(REASON)
        setup.transport.ping()
        await quiet()
        assert setup.channel.sent == []
        assert setup.transport.buffered_bytes == 0


async def test_our_close_frame_comes_behind_what_was_written_and_our_code_counts() -> None:
    async with running() as setup:
        setup.channel.gate = gate = anyio.Event()
        setup.transport.write([text_frame(b"last")])
        setup.transport.close(REASON)
        setup.transport.close(CloseReason(1012))
        setup.transport.write([text_frame(b"late")])
        gate.set()
        await eventually(lambda: setup.channel.closed)
        assert setup.channel.sent == [
            {"type": "websocket.send", "text": "last"},
            {"type": "websocket.close", "code": 4509, "reason": "REPLACED"},
        ]
        # What stood before the close frame has been handed over, which is told as ever.
        assert setup.listener.told == ["(drained)"]
        setup.channel.text("too late")
        setup.channel.leave(1000)
        await eventually(lambda: setup.over)
        assert setup.listener.told == ["(drained)", ("lost", 4509)]


async def test_a_close_while_paused_still_sees_the_peers_answer() -> None:
    async with running() as setup:
        setup.transport.pause_reading()
        await quiet()
        setup.transport.close(REASON)
        setup.channel.leave(4509)
        await eventually(lambda: setup.over)
        assert setup.listener.told[-1] == ("lost", 4509)


@pytest.mark.parametrize("reads", [True, False])
async def test_a_peer_that_does_not_answer_our_close_is_cut_off(reads: bool) -> None:
    with mock.patch.object(asgi_transport, "CLOSE_SECONDS", 0.01):
        async with running() as setup:
            if not reads:
                setup.channel.gate = anyio.Event()
            setup.transport.write([text_frame(b"last")])
            setup.transport.close(REASON)
            await eventually(lambda: setup.over)
            assert setup.listener.told[-1] == ("lost", 4509)


async def test_a_peer_that_is_gone_ends_the_writing_and_reading_tells_how() -> None:
    async with running() as setup:
        setup.channel.gone = RuntimeError("after websocket.close")
        setup.transport.write([text_frame(b"x")])
        await quiet()
        assert setup.listener.told == []
        setup.channel.leave(1001)
        await eventually(lambda: setup.over)
        assert setup.listener.told == [("lost", 1001)]


async def test_aborting_drops_what_waits() -> None:
    async with running() as setup:
        setup.channel.gate = anyio.Event()
        setup.transport.write([text_frame(b"x")])
        await quiet()
        setup.transport.abort()
        await eventually(lambda: setup.over)
        assert setup.listener.told == [("lost", RFC_ABNORMAL)]
        assert setup.channel.sent == []


async def test_aborting_before_it_runs_ends_it_at_once() -> None:
    channel, listener = Channel(), Listener()
    transport = AsgiTransport(channel.receive, channel.send)
    transport.attach(listener)
    transport.close(REASON)
    transport.abort()
    with anyio.fail_after(5):
        await transport.run()
    assert listener.told == [("lost", 4509)]


async def test_a_server_that_cancels_the_application_ends_the_connection() -> None:
    async with running() as setup:
        await quiet()
    assert setup.listener.told == [("lost", RFC_ABNORMAL)]
