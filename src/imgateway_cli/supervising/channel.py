"""The private line between the supervisor and one worker: a pair of sockets that nobody else inherits."""

import asyncio
import socket
from typing import Final, Self

import msgspec

from imgateway_cli.supervising.messages import Message

MAX_MESSAGE_BYTES: Final = 16 * 1024 * 1024
"""A longer message ends the channel."""
MAX_WAITING_BYTES: Final = 16 * 1024 * 1024
"""An end that lets so much wait unread is given up."""

_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder[Message](Message).decode


class Channel:
    """One end. Messages arrive whole and in order, as lines of JSON. Belongs to the event loop's thread."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, end: socket.socket, /) -> Self:
        """Take over one socket of a connected pair."""
        end.setblocking(False)
        return cls(*await asyncio.open_unix_connection(sock=end, limit=MAX_MESSAGE_BYTES))

    def send(self, message: Message, /) -> None:
        """Hand a message over. Never blocks, never raises; where the other end has gone it is dropped."""
        transport = self._writer.transport
        if transport.is_closing():
            return
        self._writer.write(_encode(message) + b"\n")
        if transport.get_write_buffer_size() > MAX_WAITING_BYTES:
            transport.abort()

    async def receive(self) -> Message | None:
        """The next message; None when the other end has gone, or says what is no message."""
        try:
            line = await self._reader.readline()
            return _decode(line) if line.endswith(b"\n") else None
        except (OSError, ValueError):
            return None

    def close(self) -> None:
        """Hang up; what was not read yet is lost. Idempotent."""
        self._writer.transport.abort()
