"""The socket of an upgraded connection."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from imgateway.codes import RFC_ABNORMAL, Code
from imgateway.model import CloseReason
from imgateway.wire.frames import Frame
from imgateway.wire.inbound import Arrival, FrameParser, PeerClosed, Ping, Violation, close_frame

if TYPE_CHECKING:
    from imgateway.ports import Transport, TransportListener

MAX_BYTES_BEFORE_PONG: Final = 64 * 1024
"""Pings are not answered while more than this waits to be sent: pongs don't pile up for a peer that does not read."""

_PING: Final = b"\x89\x00"
_PONG: Final = 0x8A


class SocketTransport(asyncio.Protocol):
    """Implements `ports.Transport` straight on the event loop's transport, as its protocol.

    Made from a transport that is not read from; what the peer has sent is told from the event loop's next turn on.

    Nothing is told from within a call of a `Transport` method: what `resume_reading` releases follows in the loop's
    next turn. While reading is paused, what the last read brought (at most 256 KiB) is held back whole, its pings
    and its close frame unanswered. `lost` is told as soon as the closing handshake is done, or the peer has violated
    the protocol: the socket itself lives on, for at most `close_seconds`, so that the peer can read our close frame.

    Under TLS the event loop has a second buffer below the one it tells of: `buffered_bytes` leaves out up to one
    write and 64 KiB, and `drained` may come that much early.

    Attributes:
        transport: the event loop's transport.
        on_end: told the close code as well, while it is set.
        ended_with: the close code, once it is over.
        close_seconds: how long a peer has to answer our close frame and to close its side.
    """

    __slots__ = (
        "_behind",
        "_closing",
        "_code",
        "_connections",
        "_deadline",
        "_held",
        "_listener",
        "_make_parser",
        "_max_message_bytes",
        "_parser",
        "_paused",
        "_reached",
        "_taken",
        "ended_with",
        "on_end",
        "transport",
    )

    close_seconds = 5.0

    def __init__(
        self,
        transport: asyncio.Transport,
        make_parser: Callable[[int], FrameParser],
        max_message_bytes: int,
        listener: "TransportListener",
        connections: set[Any],
    ) -> None:
        self.transport = transport
        self.on_end: Callable[[int], None] | None = None
        self.ended_with: int | None = None
        # A parser is made for whoever says something: many say nothing until they are pinged.
        self._make_parser = make_parser
        self._max_message_bytes = max_message_bytes
        self._parser: FrameParser | None = None
        self._listener: TransportListener | None = listener
        self._connections = connections
        self._held: list[Arrival] | None = None
        self._paused = False
        self._closing = False
        self._code = RFC_ABNORMAL
        self._deadline: asyncio.TimerHandle | None = None
        self._behind = False
        self._taken = 0
        self._reached = 0
        transport.set_protocol(self)
        # Everything that the kernel does not take at once is told of (`resume_writing`).
        transport.set_write_buffer_limits(high=0)
        connections.add(self)
        if transport.is_closing():
            self._cut_off_later()
        self._later(self._read_on)

    # ports.Transport

    @property
    def buffered_bytes(self) -> int:
        """Bytes taken by `write` that have not reached the kernel; those that never will be are counted on."""
        if not self._behind:
            return 0
        if self.transport.is_closing():
            return self._taken - self._reached
        size = self.transport.get_write_buffer_size()
        self._reached = max(self._reached, self._taken - size)
        return size

    @property
    def sends_pings(self) -> bool:
        """True."""
        return True

    def write(self, frames: Sequence[Frame], /) -> None:
        """Take `frames`; they leave in one write."""
        if self._closing or self._listener is None:
            return
        data = frames[0].wire if len(frames) == 1 else b"".join([frame.wire for frame in frames])
        self._taken += len(data)
        socket = self.transport
        if not socket.is_closing():
            socket.write(data)
            if not socket.get_write_buffer_size() and not socket.is_closing():
                self._reached = self._taken
                return
        self._behind = True

    def ping(self) -> None:
        """Send one ping frame."""
        if not self._closing and self._listener is not None and not self.transport.is_closing():
            self.transport.write(_PING)

    def pause_reading(self) -> None:
        """Tell nothing more."""
        if not self._closing and self._listener is not None and not self._paused:
            self._paused = True
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        """Go on telling, in the loop's next turn."""
        if self._paused:
            self._paused = False
            self._later(self._read_on)

    def close(self, reason: CloseReason, /) -> None:
        """Send a close frame and wait for the peer's."""
        if self._closing or self._listener is None:
            return
        self._closing = True
        if self.transport.is_closing():
            return
        self._code = reason.code
        self._cut_off_later()
        # Where the peer's close frame was held back, this answers it instead.
        self.transport.write(close_frame(reason.code, reason.text))
        self._paused = False
        self._later(self._read_on)

    def abort(self) -> None:
        """Cut off."""
        if self._listener is not None:
            self._closing = True
            self.transport.abort()

    # asyncio.Protocol

    def data_received(self, data: bytes) -> None:
        """Bytes from the peer."""
        parser = self._parser
        if parser is None:
            if self._listener is None:
                return
            parser = self._parser = self._make_parser(self._max_message_bytes)
        arrived = parser.feed(data)
        if self._held is not None:
            self._held += arrived
        elif arrived:
            self._tell(arrived)

    def eof_received(self) -> None:
        """The peer has closed its side without a close frame; the event loop closes ours, once the buffer is empty."""
        self._cut_off_later()
        self._lose()

    def resume_writing(self) -> None:
        """The buffer, which is paused as soon as it holds anything, is empty."""
        if self._behind and self._listener is not None and not self.transport.is_closing():
            self._behind = False
            self._reached = self._taken
            self._listener.drained()

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is gone."""
        if self._deadline is not None:
            self._deadline.cancel()
        self._connections.discard(self)
        self._lose()

    # What uvicorn calls on each of its connections when it stops.

    def shutdown(self) -> None:
        """Close, as a gateway that is being restarted does."""
        if self._listener is None:
            self.transport.abort()
        else:
            self.close(CloseReason.of(Code.DRAINING))

    # Inside.

    def _later(self, call: Callable[[], None]) -> None:
        asyncio.get_running_loop().call_soon(call)

    def _read_on(self) -> None:
        held, self._held = self._held, None
        if held is not None:
            self._tell(held)
        # Also when it is over: what still comes is dropped, and its end is to be noticed.
        if not self._paused and not self.transport.is_closing():
            self.transport.resume_reading()

    def _tell(self, arrived: list[Arrival]) -> None:
        listener = self._listener
        if listener is None:
            return
        if self._paused:
            self._held = arrived
            return
        listener.heard()
        told = 0
        pongs: list[bytes] = []
        try:
            for item in arrived:
                if self._paused:
                    self._held = arrived[told:]
                    break
                told += 1
                if isinstance(item, PeerClosed | Violation):
                    self._answer(pongs)
                    self._end(item)
                    return
                if item is None or self._closing:
                    continue
                if isinstance(item, Ping):
                    pongs.append(bytes((_PONG, len(item.payload))) + item.payload)
                    listener.pinged()
                    continue
                self._answer(pongs)
                if isinstance(item, str):
                    listener.receive_text(item)
                else:
                    listener.receive_binary(item)
        finally:
            self._answer(pongs)

    def _answer(self, pongs: list[bytes]) -> None:
        socket = self.transport
        if not pongs or self._closing or socket.is_closing():
            return
        if socket.get_write_buffer_size() <= MAX_BYTES_BEFORE_PONG:
            socket.write(b"".join(pongs))
        pongs.clear()

    def _end(self, ending: PeerClosed | Violation) -> None:
        """The peer has said close, or has violated the protocol: nothing more is read."""
        answered, self._closing = self._closing, True
        if not answered:
            self._code = ending.code
        socket = self.transport
        if socket.is_closing():
            self._lose()
            return
        if not answered:
            socket.write(close_frame(ending.code, ending.text if isinstance(ending, Violation) else ""))
        # Closing a socket that holds unread data resets it, and the peer would never see our close frame; so only our
        # side is closed, and what still comes is dropped.
        if socket.can_write_eof():
            with contextlib.suppress(OSError):  # the peer is gone already: connection_lost follows
                socket.write_eof()
        else:
            socket.close()
        self._cut_off_later()
        self._lose()

    def _cut_off_later(self) -> None:
        if self._deadline is None:
            self._deadline = asyncio.get_running_loop().call_later(self.close_seconds, self.transport.abort)

    def _lose(self) -> None:
        listener, self._listener = self._listener, None
        if listener is None:
            return
        parser, self._parser, self._held = self._parser, None, None
        if parser is not None:
            parser.close()
        self.ended_with = self._code
        on_end, self.on_end = self.on_end, None
        if on_end is not None:
            on_end(self._code)
        listener.lost(self._code)


if TYPE_CHECKING:

    def _conforms(transport: SocketTransport) -> Transport:
        return transport
