"""The ASGI channel of an upgraded connection, for applications that move the messages themselves."""

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.utils import ClientDisconnected

from imgateway.codes import RFC_INTERNAL_ERROR, RFC_NORMAL
from imgateway.model import CloseReason
from imgateway.wire.frames import binary_frame, text_frame

if TYPE_CHECKING:
    from imgateway.adapters.uvicorn.transport import SocketTransport
    from imgateway.ports import TransportListener

MAX_REASON_BYTES = 123
HIGH_WATER_BYTES = 64 * 1024
"""What may wait for the socket before `send` waits."""


class AsgiChannel:
    """Implements `ports.TransportListener` for an application. One message is read ahead.

    Args:
        ping_seconds: time between pings; None for none.
        pong_seconds: how long the peer may be silent after a ping before the connection is closed (1011).
    """

    def __init__(self, ping_seconds: float | None, pong_seconds: float | None) -> None:
        self._unread: deque[str | bytes] = deque()
        self._transport: SocketTransport | None = None
        self._ping_seconds = ping_seconds
        self._pong_seconds = pong_seconds
        self._timer: asyncio.TimerHandle | None = None
        self._heard = False
        self._ended_with: int | None = None
        self._changed = asyncio.Event()

    def begin(self, transport: "SocketTransport", /) -> None:
        """Speak by this transport."""
        self._transport = transport
        self._ping_later()

    async def receive(self) -> dict[str, Any]:
        """The next message, or the end again and again."""
        while True:
            if self._unread:
                message = self._unread.popleft()
                if not self._unread and self._transport is not None:
                    self._transport.resume_reading()
                key = "text" if isinstance(message, str) else "bytes"
                return {"type": "websocket.receive", key: message}
            if self._ended_with is not None:
                return {"type": "websocket.disconnect", "code": self._ended_with, "reason": ""}
            self._changed.clear()
            await self._changed.wait()

    async def send(self, message: Any) -> None:
        """`websocket.send` or `websocket.close`; waits while too much waits for the socket.

        Raises:
            ClientDisconnected: the connection is over.
            RuntimeError: it is another message.
        """
        transport = self._transport
        while transport is not None and self._ended_with is None and transport.buffered_bytes > HIGH_WATER_BYTES:
            self._changed.clear()
            await self._changed.wait()
        if transport is None or self._ended_with is not None:
            raise ClientDisconnected
        if message["type"] == "websocket.send":
            data = message.get("bytes")
            transport.write((text_frame(message["text"].encode()) if data is None else binary_frame(data),))
        elif message["type"] == "websocket.close":
            reason = (message.get("reason") or "").encode()[:MAX_REASON_BYTES].decode(errors="ignore")
            transport.close(CloseReason(message.get("code", RFC_NORMAL), reason))
        else:
            raise RuntimeError(f"expected websocket.send or websocket.close, got {message['type']!r}")

    # ports.TransportListener

    def receive_text(self, text: str, /) -> None:
        """A text message."""
        self._take(text)

    def receive_binary(self, data: bytes, /) -> None:
        """A binary message."""
        self._take(data)

    def heard(self) -> None:
        """The peer lives."""
        self._heard = True

    def pinged(self) -> None:
        """Answered already."""

    def drained(self) -> None:
        """`send` may go on."""
        self._changed.set()

    def lost(self, close_code: int, /) -> None:
        """The end."""
        self._ended_with = close_code
        self._stop_timer()
        self._changed.set()

    # Inside.

    def _take(self, message: str | bytes) -> None:
        self._unread.append(message)
        if self._transport is not None:
            self._transport.pause_reading()
        self._changed.set()

    def _ping_later(self) -> None:
        if self._ping_seconds:
            self._timer = asyncio.get_running_loop().call_later(self._ping_seconds, self._ping)

    def _ping(self) -> None:
        if self._transport is None:
            return
        self._heard = False
        self._transport.ping()
        if self._pong_seconds:
            self._timer = asyncio.get_running_loop().call_later(self._pong_seconds, self._look_for_pong)
        else:
            self._ping_later()

    def _look_for_pong(self) -> None:
        # One that is not read from can't be heard.
        if self._heard or self._unread:
            self._ping_later()
        elif self._transport is not None:
            self._transport.close(CloseReason(RFC_INTERNAL_ERROR, "keepalive ping timeout"))

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


if TYPE_CHECKING:

    def _conforms(channel: AsgiChannel) -> TransportListener:
        return channel
