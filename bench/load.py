"""A light WebSocket client for load: parses just enough of RFC 6455 to count messages, and masks with zeros."""

import asyncio
import base64
import os
from collections.abc import Callable

HANDSHAKE_END = b"\r\n\r\n"


def masked(payload: bytes) -> bytes:
    """A client's text frame; the mask key is zero, which the server has to apply all the same."""
    size = len(payload)
    if size < 126:
        return bytes((0x81, 0x80 | size)) + b"\0\0\0\0" + payload
    return bytes((0x81, 0xFE)) + size.to_bytes(2, "big") + b"\0\0\0\0" + payload


class Client(asyncio.Protocol):
    """One connection. `on_message` is called with each text payload, the welcome first."""

    def __init__(self, path: str, token: str) -> None:
        self._request = (
            f"GET {path} HTTP/1.1\r\nHost: bench\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}\r\n"
            f"Authorization: Bearer {token}\r\n\r\n"
        ).encode()
        self._head = True
        self._rest = b""
        self._transport: asyncio.Transport | None = None
        self.welcomed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.on_message: Callable[[bytes], None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(self._request)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.welcomed.done():
            self.welcomed.set_exception(ConnectionError("refused"))

    def send(self, payload: bytes) -> None:
        assert self._transport is not None
        self._transport.write(masked(payload))

    def close(self) -> None:
        assert self._transport is not None
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        data = self._rest + data
        at = 0
        if self._head:
            end = data.find(HANDSHAKE_END)
            if end < 0:
                self._rest = data
                return
            if not data.startswith(b"HTTP/1.1 101"):
                raise ConnectionError(data[:200])
            self._head = False
            at = end + 4
        while len(data) - at >= 2:
            size, start = data[at + 1], at + 2
            if size == 126:
                size, start = int.from_bytes(data[at + 2 : at + 4], "big"), at + 4
            if len(data) < start + size:
                break
            if data[at] & 0x0F == 1:
                self._message(data[start : start + size])
            at = start + size
        self._rest = data[at:]

    def _message(self, payload: bytes) -> None:
        if not self.welcomed.done():
            self.welcomed.set_result(None)
        elif self.on_message is not None:
            self.on_message(payload)
