"""An answer's head and body in one write: each write is a system call, and a good part of a small answer's price."""

import asyncio
from collections.abc import Callable

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

MAX_JOINED_BYTES = 64 * 1024
"""Copying a larger body costs more than a system call."""


class JoiningTransport:
    """What uvicorn's cycle of one request writes to: a head waits for a body that is known to have some length.

    The application sends the two right after one another. Everything else is written at once.

    Args:
        on_close: told when the connection was closed, which may still have something to write.
    """

    __slots__ = ("_cycle", "_head", "_on_close", "_transport")

    def __init__(self, transport: asyncio.Transport, cycle: RequestResponseCycle, on_close: Callable[[], None]) -> None:
        self._on_close = on_close
        self._transport = transport
        self._cycle = cycle
        self._head: bytes | None = None

    def write(self, data: bytes) -> None:
        """Take what the cycle writes."""
        head = self._head
        if head:
            self._head = b""
            if len(data) > MAX_JOINED_BYTES:
                self._transport.write(head)
                self._transport.write(data)
            else:
                self._transport.write(head + data)
        elif head is None and self._cycle.response_started:
            waits = self._cycle.expected_content_length > 0 and self._cycle.scope["method"] != "HEAD"
            self._head = data if waits else b""
            if not waits:
                self._transport.write(data)
        else:
            self._transport.write(data)

    def close(self) -> None:
        """Close behind what was written."""
        if self._head:
            if not self._cycle.disconnected:  # else uvloop raises
                self._transport.write(self._head)
            self._head = b""
        self._transport.close()
        self._on_close()

    def is_closing(self) -> bool:
        """Whether it was closed."""
        return self._transport.is_closing()
