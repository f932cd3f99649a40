"""A transport over a plain ASGI channel, for servers that can't hand out the socket.

One reading and one writing task a connection. The server does heartbeats and the rest of RFC 6455; what the kernel has
taken is not known here, so `send` having returned counts as handed over.
"""

from collections import deque
from collections.abc import Sequence

import anyio
import anyio.lowlevel
from starlette.types import Receive, Send

from imgateway.codes import RFC_ABNORMAL
from imgateway.model import CloseReason
from imgateway.ports import TransportListener
from imgateway.wire.frames import TEXT, Frame

CLOSE_SECONDS = 5.0
"""How long a peer may take to answer a close frame, or to read what stands before it."""


class AsgiTransport:
    """Implements `ports.Transport`. Lives as long as `run`, which the ASGI application awaits.

    Args:
        receive: the ASGI channel after the upgrade was accepted.
        send: likewise.
    """

    sends_pings = False

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._listener: TransportListener | None = None
        self._frames: deque[Frame] = deque()
        self._buffered = 0
        self._to_write = anyio.Event()
        self._may_read = anyio.Event()
        self._may_read.set()
        self._closing: CloseReason | None = None
        self._ended = False
        self._scope = anyio.CancelScope()

    def attach(self, listener: TransportListener, /) -> "AsgiTransport":
        """Tell `listener` from now on."""
        self._listener = listener
        return self

    @property
    def buffered_bytes(self) -> int:
        """Bytes that the server has not taken."""
        return self._buffered

    def write(self, frames: Sequence[Frame], /) -> None:
        """Take frames."""
        if self._closing is None and not self._ended:
            self._frames.extend(frames)
            self._buffered += sum(frame.size for frame in frames)
            self._to_write.set()

    def ping(self) -> None:
        """The server's own matter."""

    def pause_reading(self) -> None:
        """Ask the server for nothing more."""
        if self._may_read.is_set():
            self._may_read = anyio.Event()

    def resume_reading(self) -> None:
        """Ask again."""
        self._may_read.set()

    def close(self, reason: CloseReason, /) -> None:
        """Send a close frame behind everything."""
        if self._closing is None and not self._ended:
            self._closing = reason
            self._scope.deadline = anyio.current_time() + CLOSE_SECONDS
            self._to_write.set()
            self._may_read.set()

    def abort(self) -> None:
        """End `run`; the server then drops the connection."""
        self._scope.cancel()

    async def run(self) -> None:
        """Read and write until the connection is over. `attach` comes first."""
        code = RFC_ABNORMAL
        try:
            with self._scope:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(self._write_on)
                    code = await self._read_on()
                    tasks.cancel_scope.cancel()
        finally:
            self.end(code)

    def end(self, code: int = RFC_ABNORMAL, /) -> None:
        """Tell that the connection is over; for an application that never gets to `run`. Idempotent."""
        if self._ended:
            return
        self._ended = True
        self._frames.clear()
        self._buffered = 0
        if self._listener is not None:
            self._listener.lost(code if self._closing is None else self._closing.code)

    async def _read_on(self) -> int:
        listener = self._listener
        assert listener is not None  # noqa: S101  # `attach` comes first
        while True:
            await self._may_read.wait()
            message = await self._receive()
            if message["type"] == "websocket.disconnect":
                return int(message.get("code") or RFC_ABNORMAL)
            await self._may_read.wait()
            if self._closing is not None:
                continue
            listener.heard()
            text = message.get("text")
            if text is not None:
                listener.receive_text(text)
            else:
                listener.receive_binary(message["bytes"])
            # A server that has many messages at hand must not starve the other connections.
            await anyio.lowlevel.checkpoint()

    async def _write_on(self) -> None:
        try:
            while True:
                await self._to_write.wait()
                self._to_write = anyio.Event()
                while self._frames:
                    frame = self._frames.popleft()
                    if frame.opcode == TEXT:
                        await self._send({"type": "websocket.send", "text": frame.payload.decode()})
                    else:
                        await self._send({"type": "websocket.send", "bytes": frame.payload})
                    self._buffered -= frame.size
                if self._listener is not None:
                    self._listener.drained()
                if self._closing is not None:
                    await self._send(
                        {"type": "websocket.close", "code": self._closing.code, "reason": self._closing.text}
                    )
                    return
        except (OSError, RuntimeError):
            # Servers report a peer that is gone in their own ways; reading tells it properly, with its code.
            self._frames.clear()
