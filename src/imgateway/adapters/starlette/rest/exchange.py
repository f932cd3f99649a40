"""One HTTP request and its one answer, without what Starlette's own classes cost."""

import asyncio
import re
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from random import getrandbits
from typing import Self

import attrs
from starlette.types import Message, Receive, Scope, Send

from imgateway.adapters.starlette.problems import MEDIA_TYPE, problem_body, title_of
from imgateway.adapters.starlette.rest.shown_metadata import shown
from imgateway.rpc import RestProblem

LINGER_SECONDS = 2.0
LINGER_BYTES = 4 * 1024 * 1024
"""What a client may still send of a body that nobody wants."""

Lines = tuple[tuple[bytes, bytes], ...]

_REQUEST_ID = re.compile(rb"[\x21-\x7e]{1,128}")
_NO_LINES: Lines = ()
_NONE_REPEATED: frozenset[bytes] = frozenset()
_PROBLEM = MEDIA_TYPE.encode()
_CLOSE = (b"connection", b"close")


@attrs.define(eq=False)
class Exchange:
    """What was asked, and the means to answer. Belongs to the task that serves the request.

    Attributes:
        headers: by lower-case name; of a repeated one the last.
        repeated: the names that came more than once.
        request_id: the client's own, where it is 1 to 128 visible ASCII characters and came once; else a new one.
        closing: whether the connection ends with the answer by the gateway's will.
        lingering: whether the body is still taken in and dropped, within bounds, before the connection ends. A socket
            that is closed while there is something to read is reset, and the client would never see its answer.
        page: lines for the web page that asks.
        begun: whether the answer's head is on its way.
        read: whether the body was received to its end.
    """

    scope: Scope
    _receive: Receive
    send: Send
    headers: Mapping[bytes, bytes]
    repeated: frozenset[bytes]
    request_id: bytes
    closing: bool
    lingering: bool = False
    page: Lines = _NO_LINES
    begun: bool = False
    read: bool = False

    @classmethod
    def of(cls, scope: Scope, receive: Receive, send: Send, /, *, closing: bool) -> Self:
        """The exchange of an ASGI HTTP scope."""
        lines = list(scope["headers"])
        headers = dict(lines)
        repeated = _NONE_REPEATED
        if len(headers) != len(lines):
            repeated = frozenset(name for name, count in Counter(name for name, _ in lines).items() if count > 1)
        request_id = headers.get(b"x-request-id")
        if request_id is None or b"x-request-id" in repeated or _REQUEST_ID.fullmatch(request_id) is None:
            request_id = b"%032x" % getrandbits(128)
        return cls(scope, receive, send, headers, repeated, request_id, closing)

    def joined(self, name: bytes, /) -> bytes | None:
        """A header that is a list, from all its lines (RFC 9110 section 5.3); None where there is none."""
        if name not in self.repeated:
            return self.headers.get(name)
        return b", ".join(value for other, value in self.scope["headers"] if other == name)

    @property
    def has_body(self) -> bool:
        """Whether the client announced a body that is not empty (RFC 9112 section 6)."""
        headers = self.headers
        return b"transfer-encoding" in headers or headers.get(b"content-length", b"0") != b"0"

    @property
    def ends(self) -> bool:
        """Whether the connection ends with the answer, by the gateway's will or the client's (RFC 9112 section 9.3)."""
        version: str = self.scope["http_version"]
        if self.closing or version == "1.0":
            return version.startswith("1")
        options = self.joined(b"connection")
        return options is not None and b"close" in [option.strip() for option in options.lower().split(b",")]

    @property
    def made_request_id(self) -> bool:
        """Whether the request's id is a new one: 32 hexadecimal digits, by chance."""
        return self.request_id is not self.headers.get(b"x-request-id")

    def lines(self, content_type: bytes) -> list[tuple[bytes, bytes]]:
        """The head's lines that every answer has."""
        lines = [
            (b"content-type", content_type),
            (b"cache-control", b"no-store"),
            (b"x-request-id", self.request_id),
            *self.page,
        ]
        if self.closing and self.scope["http_version"].startswith("1"):
            lines.append(_CLOSE)
        return lines

    async def answer(self, status: int, content_type: bytes, body: bytes, more: Lines = _NO_LINES, /) -> None:
        """Send a whole answer; of one to HEAD the head alone."""
        lines = self.lines(content_type)
        lines.append((b"content-length", b"%d" % len(body)))
        lines += more
        self.begun = True
        await self.send({"type": "http.response.start", "status": status, "headers": lines})
        if self.scope["method"] == "HEAD":
            body = b""
        if self.lingering:
            await self.send({"type": "http.response.body", "body": body, "more_body": True})
            await self._linger()
            body = b""
        await self.send({"type": "http.response.body", "body": body})

    async def receive(self) -> Message:
        """What comes from the client."""
        message = await self._receive()
        if message["type"] == "http.request" and not message.get("more_body", False):
            self.read = True
        return message

    async def _linger(self) -> None:
        left = LINGER_BYTES
        with suppress(TimeoutError):
            async with asyncio.timeout(LINGER_SECONDS):
                while left > 0 and not self.read:
                    message = await self.receive()
                    if message["type"] == "http.disconnect":
                        return
                    left -= len(message.get("body", b""))

    async def nothing(self, more: Lines, /) -> None:
        """Send 204 and header lines."""
        lines = [line for line in self.lines(b"") if line[0] != b"content-type"]
        self.begun = True
        await self.send({"type": "http.response.start", "status": 204, "headers": [*lines, *more]})
        await self.send({"type": "http.response.body", "body": b""})

    async def refuse(self, problem: RestProblem, more: Lines = _NO_LINES, /) -> None:
        """Send a problem (RFC 9457)."""
        extra = [*more, *shown((), problem.trailers)]
        if problem.retry_after is not None:
            extra.append((b"retry-after", b"%d" % problem.retry_after))
        if problem.status == 401:
            extra.append((b"www-authenticate", b"Bearer"))
        title = title_of(problem.status, problem.code)
        body = problem_body(problem.status, title, problem.detail, problem.code, problem.details)
        await self.answer(problem.status, _PROBLEM, body, tuple(extra))
