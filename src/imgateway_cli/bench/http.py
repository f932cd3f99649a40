"""One HTTP/1.1 connection of the load, kept alive: just enough of RFC 9112 to know where an answer ends."""

import asyncio
import json
import re
from collections.abc import Callable
from typing import Final, cast

MAX_HEAD_BYTES: Final = 65536
MAX_BODY_BYTES: Final = 65536
"""So much is kept of what a refusal says; the rest of it is passed over."""

_HEAD_END: Final = b"\r\n\r\n"
_STATUS_LINE: Final = re.compile(rb"HTTP/1\.([01]) ([1-5]\d\d)[ \r]")
_LENGTH_AS_USUAL: Final = b"\r\ncontent-length: "
_LENGTH: Final = re.compile(rb"(?i)\r\ncontent-length:[ \t]*(\d{1,18})[ \t]*(?=\r\n)")
_CHUNKED: Final = re.compile(rb"(?i)\r\ntransfer-encoding:[^\r]*\bchunked[ \t]*(?=\r\n)")
_CONNECTION: Final = re.compile(rb"(?i)\r\nconnection:[ \t]*([^\r]*)")
_CHUNK_SIZE: Final = re.compile(rb"([0-9a-fA-F]{1,8})[ \t]*(;[^\r\n]*)?")
_NO_BODY: Final = frozenset({204, 304})
_TO_THE_END: Final = -1


class AnswerError(Exception):
    """The server does not keep to HTTP."""


def request_of(method: str, path: str, authority: str, token: str | None, body: bytes | None) -> bytes:
    """A whole request.

    Args:
        method: in upper case.
        path: with its query, as it goes over the wire.
        authority: for the `Host` header.
        token: for the `Authorization` header, if any.
        body: JSON, if any.
    """
    head = f"{method} {path} HTTP/1.1\r\nHost: {authority}\r\nAccept: */*\r\nUser-Agent: imgateway-bench\r\n"
    if token is not None:
        head += f"Authorization: Bearer {token}\r\n"
    if body is not None:
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return f"{head}\r\n".encode() + (body or b"")


def refusal(status: int, body: bytes) -> str:
    """What an answer that is no success is counted as: its status, and the `code` of a problem (RFC 9457)."""
    try:
        code = json.loads(body)["code"]
    except (ValueError, LookupError, TypeError, RecursionError):
        code = ""
    return f"HTTP {status} {code if isinstance(code, str) else ''}".strip()


class HttpConnection(asyncio.Protocol):
    """A connection that has at most one request on its way.

    Args:
        answered: is told the status of each answer, and of one that is no success the body's beginning. May ask again.
        ended: is told that the connection ended, and why; an answer that it cost was not told.
        headless: whether requests are HEAD, whose answers have no body.

    Attributes:
        usable: whether a request may be sent.
    """

    __slots__ = (
        "_answered",
        "_asked",
        "_body",
        "_chunks",
        "_closing",
        "_ended",
        "_head",
        "_headless",
        "_missing",
        "_reason",
        "_status",
        "_transport",
        "usable",
    )

    def __init__(
        self,
        answered: Callable[[int, bytes], None],
        ended: "Callable[[HttpConnection, str], None]",
        *,
        headless: bool = False,
    ) -> None:
        self.usable = False
        self._answered = answered
        self._ended = ended
        self._headless = headless
        self._asked = False
        self._head = b""
        self._status = 0
        self._missing = 0
        self._body = b""
        self._chunks: _Chunks | None = None
        self._closing = False
        self._reason = ""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It can be used."""
        self._transport = cast(asyncio.Transport, transport)
        self.usable = True

    def ask(self, request: bytes, /) -> None:
        """Send a request. The connection must be `usable`."""
        self.usable = False
        self._asked = True
        cast(asyncio.Transport, self._transport).write(request)

    def abort(self, reason: str) -> None:
        """Drop the connection for that reason."""
        self._reason = self._reason or reason
        self.usable = False
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Take in what the server says."""
        try:
            self._take(data)
        except AnswerError as error:
            self.abort(str(error))

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell whoever waits, and why; an answer that lasts to the end of the connection is whole now."""
        self.usable = False
        if self._status and self._missing == _TO_THE_END and exc is None and not self._reason:
            self._finish()
        ended, self._ended = self._ended, _nobody
        self._answered = _no_answer  # the callbacks hold their owner, and this connection is over
        ended(self, self._reason or ("connection reset" if exc else "hung up"))

    def _take(self, data: bytes) -> None:
        if not self._asked:
            raise AnswerError("an answer to no request")
        if not self._status:
            if self._head:
                data = self._head + data
            data = self._begin(data)
            if not self._status:
                return
        if self._chunks is not None:
            self._keep(self._chunks.feed(data))
            if self._chunks.over:
                self._finish()
        elif self._missing == _TO_THE_END:
            self._keep(data)
        elif len(data) > self._missing:
            raise AnswerError("more than was said by Content-Length")
        else:
            self._keep(data)
            self._missing -= len(data)
            if not self._missing:
                self._finish()

    def _begin(self, data: bytes) -> bytes:
        """Read the head if it is whole; what follows it."""
        while True:
            end = data.find(_HEAD_END)
            if end < 0:
                if len(data) > MAX_HEAD_BYTES or not data.startswith(b"HTTP/1."[: len(data)]):
                    raise AnswerError("not HTTP")
                self._head = data
                return b""
            line = _STATUS_LINE.match(data)
            if line is None:
                raise AnswerError("not HTTP")
            status, rest = int(line[2]), data[end + 4 :]
            if status >= 200:
                break
            data = rest  # an interim answer: the real one follows
        self._head = b""
        self._status = status
        self._closing = _closes(data, end, old=line[1] == b"0")
        self._measure(data, end)
        return rest

    def _measure(self, data: bytes, end: int) -> None:
        """How long the body is (RFC 9112 section 6.3)."""
        self._body = b""
        self._chunks = None
        start = data.find(_LENGTH_AS_USUAL, 0, end)
        if self._headless or self._status in _NO_BODY:
            self._missing = 0
        elif start >= 0:
            start += len(_LENGTH_AS_USUAL)
            digits = data[start : data.find(b"\r", start)]
            if not digits.isdigit():
                raise AnswerError("a Content-Length that is none")
            self._missing = int(digits)
        elif _CHUNKED.search(data, 0, end + 2):
            self._chunks = _Chunks()
        elif length := _LENGTH.search(data, 0, end + 2):
            self._missing = int(length[1])
        else:
            self._missing = _TO_THE_END

    def _keep(self, data: bytes) -> None:
        if self._status >= 300 and len(self._body) < MAX_BODY_BYTES:
            self._body += data[: MAX_BODY_BYTES - len(self._body)]

    def _finish(self) -> None:
        status, self._status, self._asked = self._status, 0, False
        self.usable = not self._closing and self._missing != _TO_THE_END
        last = not self.usable
        self._answered(status, self._body)
        if last and self._transport is not None:
            self._transport.close()


def _closes(data: bytes, end: int, *, old: bool) -> bool:
    """Whether the server ends the connection after this answer."""
    if not old and data.find(b"lose", 0, end) < 0:
        return False
    found = _CONNECTION.search(data, 0, end)
    options = found[1].lower() if found is not None else b""
    return b"close" in options or (old and b"keep-alive" not in options)


def _nobody(_: HttpConnection, __: str) -> None:
    pass


def _no_answer(_: int, __: bytes) -> None:
    pass


class _Chunks:
    """A chunked body (RFC 9112 section 7.1), however TCP cuts it.

    Attributes:
        over: whether its end has come.
    """

    __slots__ = ("_left", "_line", "_trailing", "over")

    def __init__(self) -> None:
        self.over = False
        self._left = 0
        self._line = b""
        self._trailing = False

    def feed(self, data: bytes) -> bytes:
        """The content in `data`.

        Raises:
            AnswerError: it is no chunked body, or something follows it.
        """
        content, at = b"", 0
        while at < len(data):
            if self.over:
                raise AnswerError("more than was said by the last chunk")
            if self._left > 2:  # the last two are the line break behind the content
                piece = data[at : at + self._left - 2]
                content += piece
                self._left -= len(piece)
                at += len(piece)
                continue
            end = data.find(b"\n", at)
            stop = end + 1 if end >= 0 else len(data)
            self._line += data[at:stop]
            at = stop
            if len(self._line) > MAX_HEAD_BYTES:
                raise AnswerError("a chunk that is none")
            if end >= 0:
                line, self._line = self._line.rstrip(b"\r\n"), b""
                self._read(line)
        return content

    def _read(self, line: bytes) -> None:
        if self._trailing:
            self.over = not line
        elif self._left:
            if line:
                raise AnswerError("a chunk that is longer than it says")
            self._left = 0
        else:
            size = _CHUNK_SIZE.fullmatch(line)
            if size is None:
                raise AnswerError("a chunk that is none")
            length = int(size[1], 16)
            self._left = length + 2 if length else 0
            self._trailing = not length
