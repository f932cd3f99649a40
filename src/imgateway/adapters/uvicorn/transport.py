"""The socket of an attached connection."""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, cast

from websockets.protocol import State

from imgateway.adapters.uvicorn.inbound import Arrived, Ping, StrictServerProtocol
from imgateway.codes import RFC_ABNORMAL, Code
from imgateway.model import CloseReason
from imgateway.wire.frames import Frame

if TYPE_CHECKING:
    from imgateway.ports import Transport, TransportListener

MAX_BYTES_BEFORE_PONG: Final = 64 * 1024
"""Pings are not answered while more than this waits to be sent: pongs don't pile up for a peer that does not read."""

_PING: Final = b"\x89\x00"
_PONG: Final = 0x8A


class SocketTransport(asyncio.Protocol):
    """Implements `ports.Transport` straight on the event loop's transport, as its protocol.

    Nothing is told from within a call of a `Transport` method: what `resume_reading` releases follows in the loop's
    next turn. While reading is paused, what the last read brought (at most 256 KiB) is held back whole, its pings
    and its close frame unanswered. `lost` is told as soon as the closing handshake is done, or the peer has violated
    the protocol: the socket itself lives on, for at most `close_seconds`, so that the peer can read our close frame.

    Under TLS the event loop has a second buffer below the one it tells of: `buffered_bytes` leaves out up to one
    write and 64 KiB, and `drained` may come that much early.

    Attributes:
        transport: the event loop's transport.
        close_seconds: how long a peer has to answer our close frame and to close its side.
    """

    __slots__ = (
        "_asgi_queue",
        "_closing",
        "_connections",
        "_deadline",
        "_listener",
        "_paused",
        "_reached",
        "_rfc",
        "_taken",
        "transport",
    )

    close_seconds = 5.0

    def __init__(
        self,
        transport: asyncio.Transport,
        rfc: StrictServerProtocol,
        listener: "TransportListener",
        connections: set[Any],
        asgi_queue: asyncio.Queue[Any],
    ) -> None:
        self.transport = transport
        self._rfc = rfc
        self._listener: TransportListener | None = listener
        self._connections = connections
        self._asgi_queue: asyncio.Queue[Any] | None = asgi_queue
        self._paused = False
        self._closing = False
        self._deadline: asyncio.TimerHandle | None = None
        self._taken = 0
        self._reached = 0

    def begin(self, messages: Sequence[str | bytes], alive: bool, /) -> None:
        """Take over the connection: `messages` arrived before; `alive` is False where it has been lost since."""
        self._rfc.inbox = list(messages)
        if alive:
            self.transport.set_protocol(self)
            self.transport.set_write_buffer_limits(high=0)
            self._connections.add(self)
            if self.transport.is_closing():
                self._cut_off_later()
            self._later(self._read_on)
        else:
            self._closing = True
            self._later(self._lose)

    def application_returned(self) -> None:
        """Nobody receives from the ASGI channel any more."""
        self._asgi_queue = None

    # ports.Transport

    @property
    def buffered_bytes(self) -> int:
        """Bytes taken by `write` that have not reached the kernel; those that never will be are counted on."""
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
        if not self.transport.is_closing():
            self.transport.write(data)

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
        if self._rfc.state is State.OPEN:
            self._rfc.send_close(reason.code, reason.text)
        self._cut_off_later()
        # Where the peer's close frame was held back, this answers it instead.
        self.transport.write(b"".join(self._rfc.data_to_send()))
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
        if self._listener is not None:
            self._rfc.receive_data(data)
            self._tell()

    def eof_received(self) -> None:
        """The peer has closed its side without a close frame; the event loop closes ours, once the buffer is empty."""
        self._cut_off_later()
        self._lose()

    def resume_writing(self) -> None:
        """The buffer, which is paused as soon as it holds anything, is empty."""
        if self._listener is not None and not self.transport.is_closing():
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

    def _later(self, call: Any) -> None:
        asyncio.get_running_loop().call_soon(call)

    def _read_on(self) -> None:
        self._tell()
        if not self._paused and self._listener is not None and not self.transport.is_closing():
            self.transport.resume_reading()

    def _tell(self) -> None:
        listener = self._listener
        if listener is None:
            return
        inbox = cast(list[Arrived], self._rfc.inbox)
        pongs: list[bytes] = []
        told = 0
        try:
            for item in inbox:
                if self._paused or self._closing:
                    break
                told += 1
                listener.heard()
                if isinstance(item, Ping):
                    pongs.append(bytes((_PONG, len(item.payload))) + item.payload)
                    listener.pinged()
                    continue
                if pongs:
                    self._answer(pongs)
                if isinstance(item, str):
                    listener.receive_text(item)
                elif isinstance(item, bytes):
                    listener.receive_binary(item)
        finally:
            del inbox[:told]
        if pongs:
            self._answer(pongs)
        if self._closing:
            inbox.clear()
        if self._rfc.eof_sent and not self._paused and not self.transport.is_closing():
            self._end()

    def _answer(self, pongs: list[bytes]) -> None:
        socket = self.transport
        if not self._closing and not socket.is_closing() and socket.get_write_buffer_size() <= MAX_BYTES_BEFORE_PONG:
            socket.write(b"".join(pongs))
        pongs.clear()

    def _end(self) -> None:
        """Both sides have said close, or the peer has violated the protocol."""
        # Closing a socket that holds unread data resets it, and the peer would never see our close frame; so only our
        # side is closed, and what still comes is dropped.
        self.transport.write(b"".join(self._rfc.data_to_send()))
        if self.transport.can_write_eof():
            with contextlib.suppress(OSError):  # the peer is gone already: connection_lost follows
                self.transport.write_eof()
        else:
            self.transport.close()
        self._cut_off_later()
        self._lose()

    def _cut_off_later(self) -> None:
        if self._deadline is None:
            self._deadline = asyncio.get_running_loop().call_later(self.close_seconds, self.transport.abort)

    def _lose(self) -> None:
        listener, self._listener = self._listener, None
        if listener is None:
            return
        rfc = self._rfc
        rfc.inbox = []
        ended_by = rfc.close_sent or rfc.close_rcvd
        code = RFC_ABNORMAL if ended_by is None else int(ended_by.code)
        if self._asgi_queue is not None:
            self._asgi_queue.put_nowait({"type": "websocket.disconnect", "code": code})
        listener.lost(code)


if TYPE_CHECKING:

    def _conforms(transport: SocketTransport) -> Transport:
        return transport
