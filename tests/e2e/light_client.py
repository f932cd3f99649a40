"""A WebSocket client small enough that thousands of them fit beside the gateway they test."""

import asyncio
import os
import socket
import struct
from collections.abc import Callable
from typing import cast

from imgateway.testing.raw_peer import BINARY, CLOSE, PING, PONG, TEXT, client_frame, upgrade_request

NOTHING = lambda _: None  # noqa: E731  # the default of a callback


class LightClient(asyncio.Protocol):
    """One connection. Text frames go to `on_text` as they come, the welcome first.

    Attributes:
        upgraded: resolves when the server accepts; raises where it does not.
        closed: resolves to the close code when the connection has ended, 1006 without a close frame.
    """

    def __init__(self, token: str, on_text: Callable[[bytes], None] = NOTHING) -> None:
        self._token = token
        self._on_text = on_text
        self._buffer = bytearray()
        self._open = False
        self._code = 1006
        self._transport: asyncio.Transport | None = None
        loop = asyncio.get_running_loop()
        self.upgraded: asyncio.Future[None] = loop.create_future()
        self.closed: asyncio.Future[int] = loop.create_future()

    @classmethod
    async def connect(
        cls, host: str, port: int, token: str, on_text: Callable[[bytes], None] = NOTHING
    ) -> "LightClient":
        """A client whose upgrade request is sent; wait for `upgraded` where the answer matters."""
        loop = asyncio.get_running_loop()
        _, client = await loop.create_connection(lambda: cls(token, on_text), host, port)
        return client

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the upgrade."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(upgrade_request("/ws", [("Authorization", f"Bearer {self._token}")]))

    def data_received(self, data: bytes) -> None:
        """Bytes from the server."""
        self._buffer += data
        if not self._open:
            head, end, rest = self._buffer.partition(b"\r\n\r\n")
            if not end:
                return
            if not head.startswith(b"HTTP/1.1 101"):
                if not self.upgraded.done():
                    self.upgraded.set_exception(ConnectionError(head.splitlines()[0].decode()))
                self.abort()
                return
            self._open = True
            self._buffer = bytearray(rest)
            if not self.upgraded.done():  # whoever waited may have been cancelled
                self.upgraded.set_result(None)
        while (frame := self._next_frame()) is not None:
            opcode, payload = frame
            if opcode == TEXT:
                self._on_text(payload)
            elif opcode == PING:
                self._write(client_frame(PONG, payload))
            elif opcode == CLOSE:
                self._code = int.from_bytes(payload[:2], "big")
                self._write(client_frame(CLOSE, payload))

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over."""
        if not self.upgraded.done():
            self.upgraded.set_exception(ConnectionError("the connection ended before the upgrade"))
        if not self.upgraded.cancelled() and self.upgraded.exception() is None and not self.closed.done():
            self.closed.set_result(self._code)

    def send_text(self, payload: bytes) -> None:
        """Send a text frame."""
        self._write(client_frame(TEXT, payload))

    def send_binary(self, payload: bytes) -> None:
        """Send a binary frame."""
        self._write(client_frame(BINARY, payload))

    def send_unfinished(self, payload: bytes) -> None:
        """Send the first fragment of a text message."""
        self._write(client_frame(TEXT, payload, fin=False))

    def close(self) -> None:
        """Send a close frame; the server ends the connection."""
        self._write(client_frame(CLOSE, (1000).to_bytes(2, "big")))

    def leave(self) -> None:
        """Close the socket without a close frame."""
        assert self._transport is not None
        self._transport.close()

    def reset(self) -> None:
        """End the connection with a TCP reset."""
        assert self._transport is not None
        raw = self._transport.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()

    def abort(self) -> None:
        """Drop it."""
        assert self._transport is not None
        self._transport.abort()

    def _write(self, data: bytes) -> None:
        assert self._transport is not None
        self._transport.write(data)

    def _next_frame(self) -> tuple[int, bytes] | None:
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        size, start = buffer[1] & 0x7F, 2
        if size == 126:
            size, start = int.from_bytes(buffer[2:4], "big"), 4
        elif size == 127:
            size, start = int.from_bytes(buffer[2:10], "big"), 10
        if len(buffer) < start + size:
            return None
        opcode, payload = buffer[0] & 0x0F, bytes(buffer[start : start + size])
        del buffer[: start + size]
        return opcode, payload


def allow_many_files(count: int) -> bool:
    """Raise the limit on open files to its hard maximum; whether `count` are allowed then."""
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard == resource.RLIM_INFINITY or hard >= count + len(os.listdir("/proc/self/fd"))
