"""A WebSocket client that may break every rule."""

import base64
import os
import socket
import ssl
import struct
from collections.abc import Sequence
from typing import Self

import anyio
import anyio.abc
import attrs

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA


def client_frame(opcode: int, payload: bytes = b"", /, *, fin: bool = True, masked: bool = True, rsv: int = 0) -> bytes:
    """A frame as a client sends it (RFC 6455 section 5.2), or as it must not."""
    size = len(payload)
    mask_bit = 0x80 if masked else 0
    head = bytes((0x80 * fin | rsv << 4 | opcode,))
    if size < 126:
        head += bytes((mask_bit | size,))
    elif size < 65536:
        head += bytes((mask_bit | 126,)) + size.to_bytes(2, "big")
    else:
        head += bytes((mask_bit | 127,)) + size.to_bytes(8, "big")
    if not masked:
        return head + payload
    mask = os.urandom(4)
    pad = mask * (size // 4 + 1)
    scrambled = int.from_bytes(payload, "big") ^ int.from_bytes(pad[:size], "big")
    return head + mask + scrambled.to_bytes(size, "big")


def close_payload(code: int, text: str = "", /) -> bytes:
    """What a close frame carries (RFC 6455 section 5.5.1)."""
    return code.to_bytes(2, "big") + text.encode()


def upgrade_request(target: str = "/", headers: Sequence[tuple[str, str]] = (), /, *, host: str = "localhost") -> bytes:
    """An upgrade request that every server takes, with `headers` besides."""
    lines = [
        f"GET {target} HTTP/1.1",
        f"Host: {host}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}",
        "Sec-WebSocket-Version: 13",
        *(f"{name}: {value}" for name, value in headers),
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


@attrs.frozen
class ServerFrame:
    """One frame as the server sent it."""

    opcode: int
    payload: bytes
    fin: bool = True

    @property
    def close_code(self) -> int:
        """The code of a close frame; 1005 where it has none."""
        return int.from_bytes(self.payload[:2], "big") if self.payload else 1005


@attrs.define(eq=False)
class RawPeer:
    """A client on a plain socket: what it sends goes out as given, and it reads only when asked.

    Every call waits as long as it takes; limit it from outside.
    """

    _stream: anyio.abc.ByteStream
    _socket: socket.socket
    _buffer: bytearray = attrs.field(factory=bytearray)

    @classmethod
    async def connect(
        cls, host: str, port: int, /, *, tls: ssl.SSLContext | None = None, receive_buffer: int | None = None
    ) -> Self:
        """Connect; `receive_buffer` bounds what the kernel takes in while nobody reads, in bytes."""
        stream: anyio.abc.ByteStream
        if tls is not None:
            stream = await anyio.connect_tcp(host, port, tls=True, ssl_context=tls, tls_standard_compatible=False)
        else:
            stream = await anyio.connect_tcp(host, port)
        raw = stream.extra(anyio.abc.SocketAttribute.raw_socket)  # noqa: S610  # not a database query
        if receive_buffer is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        return cls(stream, raw)

    @classmethod
    async def upgraded(
        cls,
        host: str,
        port: int,
        target: str = "/",
        /,
        *,
        headers: Sequence[tuple[str, str]] = (),
        tls: ssl.SSLContext | None = None,
        receive_buffer: int | None = None,
    ) -> Self:
        """Connect and upgrade; raises `ConnectionError` where the server refuses."""
        peer = await cls.connect(host, port, tls=tls, receive_buffer=receive_buffer)
        await peer.send(upgrade_request(target, headers))
        head = await peer.receive_head()
        if not head.startswith(b"HTTP/1.1 101 "):
            await peer.aclose()
            raise ConnectionError(f"refused: {head.splitlines()[0].decode()}")
        return peer

    async def send(self, data: bytes, /) -> None:
        """Send bytes as they are."""
        await self._stream.send(data)

    async def send_frame(self, opcode: int, payload: bytes = b"", /, *, fin: bool = True) -> None:
        """Send one masked frame."""
        await self.send(client_frame(opcode, payload, fin=fin))

    async def send_text(self, text: str, /) -> None:
        """Send a whole text message."""
        await self.send_frame(TEXT, text.encode())

    async def send_close(self, code: int, text: str = "", /) -> None:
        """Send a close frame."""
        await self.send_frame(CLOSE, close_payload(code, text))

    async def receive_head(self) -> bytes:
        """The next HTTP response head, up to its empty line."""
        while b"\r\n\r\n" not in self._buffer:
            await self._read_more()
        end = self._buffer.index(b"\r\n\r\n") + 4
        head = bytes(self._buffer[:end])
        del self._buffer[:end]
        return head

    async def receive_frame(self) -> ServerFrame:
        """The next frame; raises `ConnectionError` at the end of the stream."""
        head = await self._exactly(2)
        size = head[1] & 0x7F
        if size == 126:
            size = int.from_bytes(await self._exactly(2), "big")
        elif size == 127:
            size = int.from_bytes(await self._exactly(8), "big")
        return ServerFrame(head[0] & 0x0F, await self._exactly(size), bool(head[0] & 0x80))

    async def receive_close(self) -> int:
        """Drop frames until the server's close frame; its code."""
        while True:
            frame = await self.receive_frame()
            if frame.opcode == CLOSE:
                return frame.close_code

    async def receive_some(self, size: int, /) -> bytes:
        """So many bytes."""
        return await self._exactly(size)

    async def receive_rest(self) -> bytes:
        """Everything until the server closes its side, or resets the connection."""
        try:
            while True:
                await self._read_more()
        except ConnectionError:
            rest = bytes(self._buffer)
            self._buffer.clear()
            return rest

    async def send_eof(self) -> None:
        """Close our side only."""
        await self._stream.send_eof()

    async def reset(self) -> None:
        """End the connection with a TCP reset."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await anyio.aclose_forcefully(self._stream)

    async def aclose(self) -> None:
        """Close the socket."""
        await anyio.aclose_forcefully(self._stream)

    async def _exactly(self, size: int) -> bytes:
        while len(self._buffer) < size:
            await self._read_more()
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        return data

    async def _read_more(self) -> None:
        try:
            self._buffer += await self._stream.receive()
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            raise ConnectionError("the server has closed the connection") from None
