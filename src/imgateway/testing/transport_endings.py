"""The contract of `ports.Transport`, second part: how connections end, and what ends them."""

from imgateway.model import CloseReason
from imgateway.testing.raw_peer import CLOSE, CONTINUATION, PING, TEXT, client_frame
from imgateway.testing.transport_wiring import TransportHooks
from imgateway.wire.frames import text_frame


class TransportEndings(TransportHooks):
    """Part of `TransportSuite`."""

    # The end.

    async def test_close_says_its_reason_behind_everything_written(self) -> None:
        """The close frame follows the last frame; the first reason counts; what is written later is dropped."""
        async with self.wired() as w:
            w.transport.write([text_frame(b"last words")])
            w.transport.close(CloseReason(4000, "why"))
            w.transport.close(CloseReason(4001))
            w.transport.write([text_frame(b"too late")])
            w.transport.ping()
            assert (await w.peer.receive_frame()).payload == b"last words"
            frame = await w.peer.receive_frame()
            assert (frame.opcode, frame.close_code, frame.payload[2:]) == (CLOSE, 4000, b"why")
            await w.peer.send_close(4000)
            assert await w.listener.until_lost() == 4000
            assert await w.peer.receive_rest() == b""

    async def test_close_drops_what_still_arrives(self) -> None:
        """Messages that arrive after `close` are not told."""
        async with self.wired() as w:
            w.transport.close(CloseReason(4000))
            await w.peer.send_text("late")
            await w.peer.send_close(4000)
            assert await w.listener.until_lost() == 4000
            assert w.listener.messages == []

    async def test_close_while_paused(self) -> None:
        """`close` also ends a connection that is not read from; what was held back is dropped."""
        async with self.wired() as w:
            w.listener.on(("receive_text", "1"), w.transport.pause_reading)
            await w.peer.send(client_frame(TEXT, b"1") + client_frame(TEXT, b"2"))
            await w.listener.until_told("receive_text")
            w.transport.close(CloseReason(4000))
            assert await w.peer.receive_close() == 4000
            await w.peer.send_close(4000)
            assert await w.listener.until_lost() == 4000
            assert w.listener.messages == ["1"]

    async def test_close_cuts_off_a_peer_that_does_not_answer(self) -> None:
        """A peer that sends no close frame is cut off; `lost` tells our code."""
        async with self.wired() as w:
            w.transport.close(CloseReason(4000))
            assert await w.peer.receive_close() == 4000
            assert await w.listener.until_lost() == 4000
            if self.cuts_off:
                await w.peer.receive_rest()

    async def test_close_cuts_off_a_peer_that_does_not_read(self) -> None:
        """The same holds where the close frame never leaves the buffer."""
        async with self.wired() as w:
            await self.stuffed(w)
            w.transport.close(CloseReason(4008))
            assert await w.listener.until_lost() == 4008

    async def test_abort_cuts_off(self) -> None:
        """After `abort` the socket is gone, with what was buffered; `lost` tells 1006."""
        async with self.wired() as w:
            await self.stuffed(w)
            w.transport.abort()
            assert await w.listener.until_lost() == 1006
            if self.cuts_off:
                await w.peer.receive_rest()

    async def test_abort_while_paused(self) -> None:
        """`abort` also ends a connection that is not read from."""
        async with self.wired() as w:
            w.transport.pause_reading()
            w.transport.abort()
            assert await w.listener.until_lost() == 1006

    async def test_a_peers_close_is_answered_and_told(self) -> None:
        """A peer's close frame is answered with its code, and `lost` tells it."""
        async with self.wired() as w:
            await w.peer.send_close(4321, "bye")
            frame = await w.peer.receive_frame()
            assert (frame.opcode, frame.close_code) == (CLOSE, 4321)
            assert await w.listener.until_lost() == 4321
            await w.peer.receive_rest()

    async def test_a_close_without_code(self) -> None:
        """A close frame without code is 1005 (RFC 6455 section 7.1.5)."""
        async with self.wired() as w:
            await w.peer.send_frame(CLOSE)
            assert (await w.peer.receive_frame()).opcode == CLOSE
            assert await w.listener.until_lost() == 1005

    async def test_a_peer_that_just_goes(self) -> None:
        """An end without close frame is 1006, in the middle of a frame too."""
        async with self.wired() as w:
            await w.peer.send(client_frame(TEXT, b"never complete")[:7])
            await w.peer.aclose()
            assert await w.listener.until_lost() == 1006 or not self.exact_endings

    async def test_a_peer_that_resets(self) -> None:
        """A reset connection is 1006."""
        async with self.wired() as w:
            await w.peer.reset()
            assert await w.listener.until_lost() == 1006 or not self.exact_endings

    async def test_lost_comes_once_and_last(self) -> None:
        """Nothing is told after `lost`, and every call is without effect then."""
        async with self.wired() as w:
            batch = client_frame(TEXT, b"1") + client_frame(CLOSE, b"\x03\xe8") + client_frame(TEXT, b"2")
            await w.peer.send(batch)
            await w.listener.until_lost()
            w.transport.write([text_frame(b"nobody hears")])
            w.transport.ping()
            w.transport.pause_reading()
            w.transport.resume_reading()
            w.transport.close(CloseReason(4000))
            w.transport.abort()
            await w.peer.receive_rest()
            await self.quiet()
            assert w.listener.count("lost") == 1
            assert w.listener.told[-1] == ("lost", 1000)
            assert w.listener.messages == ["1"]

    # RFC 6455.

    async def test_protocol_errors_end_with_1002(self) -> None:
        """Unmasked frames, reserved bits and opcodes, frames out of sequence, bad control frames, bad close codes."""
        for violation in (
            client_frame(TEXT, b"x", masked=False),
            client_frame(TEXT, b"x", rsv=4),
            client_frame(0x3, b"x"),
            client_frame(0xB, b"x"),
            client_frame(CONTINUATION, b"x"),
            client_frame(TEXT, b"x", fin=False) + client_frame(TEXT, b"y"),
            client_frame(PING, b"x", fin=False),
            client_frame(PING, b"x" * 126),
            client_frame(CLOSE, b"\x03"),
            client_frame(CLOSE, b"\x03\xed"),
            client_frame(CLOSE, b"\x13\x88"),
        ):
            await self._violate(violation, 1002)

    async def test_text_that_is_not_utf8_ends_with_1007(self) -> None:
        """In one frame, over fragments (as soon as it shows), as a surrogate, cut short, in a close frame's text."""
        for violation in (
            client_frame(TEXT, b"\xff"),
            client_frame(TEXT, b"\xed\xa0\x80"),
            client_frame(TEXT, b"\xe4\xbd"),
            client_frame(TEXT, b"\xe4", fin=False) + client_frame(CONTINUATION, b"\xbd"),
            client_frame(CLOSE, b"\x03\xe8\xff"),
        ):
            await self._violate(violation, 1007)

    async def test_messages_over_the_limit_end_with_1009(self) -> None:
        """In one frame, before its payload has come, and over fragments; a message of exactly the limit passes."""
        limit = self.max_message_bytes
        await self._violate(client_frame(TEXT, b"x" * (limit + 1))[:14], 1009)
        first = client_frame(TEXT, b"x" * (limit - 10), fin=False)
        await self._violate(first + client_frame(CONTINUATION, b"y" * 11), 1009)
        async with self.wired() as w:
            await w.peer.send(first + client_frame(CONTINUATION, b"y" * 10))
            await w.listener.until_told("receive_text")

    async def test_too_many_fragments_end_with_1009(self) -> None:
        """A message in 10,000 fragments of one byte ends the connection, however small it is."""
        if self.limits_fragments:
            fragments = client_frame(CONTINUATION, b"x", fin=False) * 10_000
            await self._violate(client_frame(TEXT, b"x", fin=False) + fragments, 1009)

    async def _violate(self, data: bytes, code: int) -> None:
        async with self.wired() as w:
            await w.peer.send(client_frame(TEXT, b"before") + data)
            assert await w.peer.receive_close() == code
            assert await w.listener.until_lost() == code
            assert w.listener.messages == ["before"] or not self.exact_endings
