"""The contract of `ports.Transport` and of what it tells its listener, clause by clause, against a real socket."""

import anyio
import anyio.lowlevel

from imgateway.testing.raw_peer import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, client_frame
from imgateway.testing.transport_endings import TransportEndings
from imgateway.testing.transport_wiring import CHUNK, MORE_THAN_KERNELS_BUFFER, RecordingListener, filler
from imgateway.wire.frames import binary_frame, text_frame

__all__ = ["RecordingListener", "TransportSuite"]

_BLOCKED_TURNS = 30
"""Who could not send anything for so many turns can't send."""


class TransportSuite(TransportEndings):
    """All clauses. Override `make`; see `TransportHooks`."""

    # What arrives.

    async def test_messages_are_told_in_the_order_of_arrival(self) -> None:
        """Whole messages, text as text and binary as binary, in the order sent, whether alone or many at once."""
        async with self.wired() as w:
            await w.peer.send_text("one")
            await w.listener.until_told("receive_text")
            frames = [(TEXT, "zwei 二".encode()), (BINARY, b"\x00\xff"), (TEXT, b""), (TEXT, b"x" * 40_000)]
            await w.peer.send(b"".join(client_frame(opcode, payload) for opcode, payload in frames))
            await w.listener.until(lambda: len(w.listener.messages) == 5)
            assert w.listener.messages == ["one", "zwei 二", b"\x00\xff", "", "x" * 40_000]

    async def test_frames_in_pieces_are_put_together(self) -> None:
        """However TCP cuts the bytes, a message is told once it is whole."""
        async with self.wired() as w:
            for byte in client_frame(TEXT, "grüß".encode()):
                await w.peer.send(bytes((byte,)))
                await anyio.lowlevel.checkpoint()
            await w.listener.until_told("receive_text")
            assert w.listener.messages == ["grüß"]

    async def test_fragments_are_put_together(self) -> None:
        """A fragmented message is told once and whole; control frames between the fragments don't disturb it."""
        async with self.wired() as w:
            text = "übermäßig".encode()
            await w.peer.send_frame(TEXT, text[:1], fin=False)
            await w.peer.send_frame(PING, b"between")
            await w.peer.send_frame(CONTINUATION, text[1:5], fin=False)
            await w.peer.send_frame(CONTINUATION, b"", fin=False)
            await w.peer.send_frame(CONTINUATION, text[5:])
            await w.peer.send_frame(BINARY, b"\xff", fin=False)
            await w.peer.send_frame(CONTINUATION, b"\xfe")
            await w.listener.until_told("receive_binary")
            assert w.listener.messages == ["übermäßig", b"\xff\xfe"]

    async def test_heard_comes_before_the_message(self) -> None:
        """`heard` is told for a message, and before it."""
        async with self.wired() as w:
            await w.peer.send_text("here")
            await w.listener.until_told("receive_text")
            assert w.listener.told[0] == ("heard", None)

    async def test_any_frame_is_heard(self) -> None:
        """A fragment and an unasked pong show that the peer lives."""
        if not self.hears_every_frame:
            return
        async with self.wired() as w:
            await w.peer.send_frame(TEXT, b"part", fin=False)
            await w.listener.until_told("heard", 1)
            await w.peer.send_frame(PONG)
            await w.listener.until_told("heard", 2)
            assert w.listener.messages == []

    async def test_pings_are_answered(self) -> None:
        """A ping is answered with its own payload (RFC 6455 section 5.5.3) and told."""
        async with self.wired() as w:
            await w.peer.send_frame(PING, b"payload")
            frame = await w.peer.receive_frame()
            assert (frame.opcode, frame.payload) == (PONG, b"payload")
            if self.tells_pings:
                await w.listener.until_told("pinged")

    # What leaves.

    async def test_frames_leave_in_order(self) -> None:
        """Frames of one call and of many leave in the order taken, unchanged."""
        async with self.wired() as w:
            frames = [text_frame(b"%d" % n) for n in range(50)] + [
                binary_frame(b"\x01" * n) for n in (125, 126, 70_000)
            ]
            w.transport.write(frames[:1])
            w.transport.write(frames[1:20])
            for frame in frames[20:]:
                w.transport.write([frame])
            for frame in frames:
                got = await w.peer.receive_frame()
                assert (got.opcode, got.payload, got.fin) == (frame.opcode, frame.payload, True)

    async def test_frames_written_while_being_told_leave(self) -> None:
        """The listener may write from within what it is told."""
        async with self.wired() as w:
            w.listener.on("receive_text", lambda: w.transport.write([text_frame(b"echo")]))
            await w.peer.send_text("hello")
            assert (await w.peer.receive_frame()).payload == b"echo"

    async def test_pings_are_sent(self) -> None:
        """`ping` sends a ping frame, where `sends_pings` says so."""
        async with self.wired() as w:
            if w.transport.sends_pings:
                w.transport.ping()
                assert (await w.peer.receive_frame()).opcode == PING

    async def test_what_the_peer_does_not_read_is_counted(self) -> None:
        """`buffered_bytes` covers what the kernel has not taken; `drained` is told when it has taken everything."""
        async with self.wired() as w:
            sent = await self.stuffed(w)
            drained = w.listener.count("drained")
            buffered = w.transport.buffered_bytes
            w.transport.write([text_frame(b"last" * 10_000)])
            assert w.transport.buffered_bytes >= buffered + 40_000
            for n in range(sent):
                assert (await w.peer.receive_frame()).payload == filler(n).payload
            assert (await w.peer.receive_frame()).payload == b"last" * 10_000
            await w.listener.until_told("drained", drained + 1)
            assert w.transport.buffered_bytes == 0

    # Back-pressure from our side.

    async def test_nothing_is_told_while_paused(self) -> None:
        """After `pause_reading`, even from within a message that came with others, nothing more is told."""
        async with self.wired() as w:

            def pause() -> None:
                w.transport.pause_reading()
                w.transport.pause_reading()

            w.listener.on(("receive_text", "pause"), pause)
            batch = [(TEXT, b"pause"), (PING, b"p"), (TEXT, b"held"), (BINARY, b"too")]
            await w.peer.send(b"".join(client_frame(opcode, payload) for opcode, payload in batch))
            await w.listener.until_told("receive_text")
            await w.peer.send_text("after")
            told = list(w.listener.told)
            await self.quiet()
            assert w.listener.told == told
            w.transport.resume_reading()
            w.transport.resume_reading()
            await w.listener.until(lambda: len(w.listener.messages) == 4)
            assert w.listener.messages == ["pause", "held", b"too", "after"]

    async def test_resuming_and_pausing_again_loses_nothing(self) -> None:
        """A listener that takes one message at a time gets each once, in order."""
        async with self.wired() as w:
            w.listener.on("receive_text", w.transport.pause_reading)
            await w.peer.send(b"".join(client_frame(TEXT, b"%d" % n) for n in range(20)))
            for n in range(20):
                await w.listener.until(lambda n=n: len(w.listener.messages) > n)  # type: ignore[misc]  # bound per turn
                assert len(w.listener.messages) == n + 1
                w.transport.resume_reading()
            assert w.listener.messages == [str(n) for n in range(20)]

    async def test_a_pause_taken_back_at_once_changes_nothing(self) -> None:
        """`pause_reading` and `resume_reading` within one message: the rest is told, in order and once."""
        async with self.wired() as w:

            def flicker() -> None:
                w.transport.pause_reading()
                w.transport.resume_reading()

            w.listener.on("receive_text", flicker)
            await w.peer.send(b"".join(client_frame(TEXT, b"%d" % n) for n in range(20)))
            await w.listener.until(lambda: len(w.listener.messages) >= 20)
            assert w.listener.messages == [str(n) for n in range(20)]

    async def test_the_peer_feels_a_pause(self) -> None:
        """While reading is paused the peer can't send without end."""
        async with self.wired() as w:
            w.transport.pause_reading()
            frame = client_frame(BINARY, bytes(CHUNK))
            sent = 0

            async def send() -> None:
                nonlocal sent
                for _ in range(MORE_THAN_KERNELS_BUFFER // CHUNK):
                    await w.peer.send(frame)
                    sent += 1

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(send)
                # Counted in turns, not in seconds: a machine that stands still is no pause.
                turns, before = 0, -1
                while turns < _BLOCKED_TURNS and sent < MORE_THAN_KERNELS_BUFFER // CHUNK:
                    turns, before = (turns + 1 if sent == before else 0), sent
                    await anyio.sleep(0.01)
                tasks.cancel_scope.cancel()
            assert sent < MORE_THAN_KERNELS_BUFFER // CHUNK
            w.transport.abort()

    async def test_a_peers_close_waits_behind_what_is_held_back(self) -> None:
        """Messages that came before the peer's close frame are told before `lost`, also after a pause."""
        async with self.wired() as w:
            w.listener.on(("receive_text", "1"), w.transport.pause_reading)
            batch = client_frame(TEXT, b"1") + client_frame(TEXT, b"2") + client_frame(CLOSE, b"\x03\xe8")
            await w.peer.send(batch)
            await w.listener.until_told("receive_text")
            await self.quiet()
            assert w.listener.count("lost") == 0
            w.transport.resume_reading()
            assert await w.listener.until_lost() == 1000
            assert w.listener.messages == ["1", "2"]
