"""Routes answered by functions of the same process: a back end for tests and for trying REST out."""

import json
import re
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from typing import Final
from urllib.parse import unquote

import anyio
import attrs

from imgateway.codes import RpcCode
from imgateway.model import Identity
from imgateway.rpc import Metadata, RestAnswer, RestProblem, RestRequest, RestRoute

Captures = Mapping[str, str]
"""The variables of a path, decoded."""
Answers = Callable[[RestRequest, Captures], Awaitable[RestAnswer | RestProblem]]
Said = bytes | RestAnswer | RestProblem
Streams = Callable[[RestRequest, Captures], AsyncGenerator[Said, None]]
"""Yields JSON texts, as they are or with metadata of the stream; a problem is the last thing it yields."""
AnswersMessage = Callable[[bytes, Identity], Awaitable[RestAnswer | RestProblem]]

_VARIABLE: Final = re.compile(r"\{(\w+)\}")
_TOO_LATE: Final = RestProblem.of(RpcCode.DEADLINE_EXCEEDED, "The call took too long.")
_UNKNOWN_TYPE: Final = RestProblem.of(RpcCode.NOT_FOUND, "There is no such type of message.")


@attrs.define(eq=False)
class MemoryTranscoder:
    """Implements `ports.Transcoder`. Paths are templates whose variables are whole segments: `/api/users/{id}`.

    Attributes:
        loaded: whether routes are known; False does what a back end does that was not asked yet.
    """

    loaded: bool = True
    _answered: list["_Answered"] = attrs.field(factory=list, init=False)
    _messages: dict[str, AnswersMessage] = attrs.field(factory=dict, init=False)

    def answer(
        self, http_method: str, path: str, answers: Answers, /, *, public: bool = False, takes_body: bool = False
    ) -> RestRoute:
        """Add a unary route."""
        return self._add(RestRoute(http_method, path, _rpc(answers), public, takes_body=takes_body), answers, None)

    def stream(
        self, http_method: str, path: str, streams: Streams, /, *, public: bool = False, takes_body: bool = False
    ) -> RestRoute:
        """Add a server-streaming route."""
        route = RestRoute(http_method, path, _rpc(streams), public, server_streaming=True, takes_body=takes_body)
        return self._add(route, None, streams)

    def refuse(self, http_method: str, path: str, /) -> RestRoute:
        """Add a client-streaming route, which is there to be refused."""
        route = RestRoute(http_method, path, "memory.Back/Refused", False, client_streaming=True, takes_body=True)
        return self._add(route, None, None)

    def answer_message(self, message_type: str, answers: AnswersMessage, /) -> None:
        """Answer client messages of a type; to be called before the gateway starts."""
        self._messages[message_type] = answers

    def find(self, http_method: str, path: str, /) -> "MemoryMatch | frozenset[str]":
        """The first route that fits."""
        wanted = "GET" if http_method == "HEAD" else http_method
        others: set[str] = set()
        for answered in self._answered:
            match = answered.pattern.fullmatch(path)
            if match is not None and answered.route.http_method == wanted:
                captures = {name: unquote(value) for name, value in match.groupdict().items()}
                return MemoryMatch(answered.route, answered.answers, answered.streams, captures)
            if match is not None:
                others.add(answered.route.http_method)
        return frozenset(others)

    async def message(
        self, message_type: str, data: bytes, identity: Identity, metadata: Metadata, seconds: float, /
    ) -> RestAnswer | RestProblem:
        """Ask the function of this type."""
        answers = self._messages.get(message_type)
        return _UNKNOWN_TYPE if answers is None else await _in_time(seconds, lambda: answers(data, identity))

    @property
    def message_types(self) -> frozenset[str]:
        """Types that have a function."""
        return frozenset(self._messages)

    def openapi(self) -> bytes:
        """The bare minimum: paths and methods."""
        paths: dict[str, dict[str, object]] = {}
        for route in (answered.route for answered in self._answered):
            operation = {"operationId": route.rpc, "responses": {"default": {"description": "An answer."}}}
            paths.setdefault(route.path, {})[route.http_method.lower()] = operation
        info = {"title": "Memory", "version": "1"}
        return json.dumps({"openapi": "3.1.0", "info": info, "paths": paths}).encode()

    def _add(self, route: RestRoute, answers: Answers | None, streams: Streams | None) -> RestRoute:
        literal = (re.escape(piece) for piece in _VARIABLE.split(route.path)[::2])
        groups = (f"(?P<{name}>[^/]+)" for name in (*_VARIABLE.findall(route.path), None) if name is not None)
        pattern = "".join(piece + next(groups, "") for piece in literal)
        self._answered.append(_Answered(route, re.compile(pattern), answers, streams))
        return route


@attrs.frozen(eq=False)
class _Answered:
    route: RestRoute
    pattern: re.Pattern[str]
    answers: Answers | None
    streams: Streams | None


@attrs.frozen(eq=False)
class MemoryMatch:
    """Implements `ports.RestMatch`; made by `MemoryTranscoder.find`."""

    route: RestRoute
    _answers: Answers | None
    _streams: Streams | None
    _captures: Captures

    async def unary(self, request: RestRequest, /) -> RestAnswer | RestProblem:
        """Ask the route's function, for as long as the request has time."""
        answers = self._answers
        assert answers is not None, "this is no unary route"  # noqa: S101  # a mistake of the program
        return await _in_time(request.seconds, lambda: answers(request, self._captures))

    async def stream(self, request: RestRequest, /) -> "MemoryStream | RestProblem":
        """Begin to ask the route's function."""
        streams = self._streams
        assert streams is not None, "this is no stream"  # noqa: S101  # a mistake of the program
        return MemoryStream(streams(request, self._captures), anyio.current_time() + request.seconds)


@attrs.define(eq=False)
class MemoryStream:
    """Implements `ports.RestStream`; made by `MemoryMatch.stream`."""

    _source: AsyncGenerator[Said, None]
    _ends_at: float
    headers: Metadata = attrs.field(default=(), init=False)
    trailers: Metadata = attrs.field(default=(), init=False)
    problem: RestProblem | None = attrs.field(default=None, init=False)
    _over: bool = attrs.field(default=False, init=False)

    def __aiter__(self) -> AsyncIterator[bytes]:
        """What the function yields, for as long as there is time."""
        return self

    async def __anext__(self) -> bytes:
        """The next message."""
        if self._over:
            raise StopAsyncIteration
        found: Said | None = _TOO_LATE
        with anyio.CancelScope(deadline=self._ends_at):
            found = await anext(self._source, None)
        if isinstance(found, RestAnswer):
            self.headers, self.trailers = found.headers or self.headers, found.trailers or self.trailers
            return found.body
        if isinstance(found, bytes):
            return found
        self.problem = found
        await self.aclose()
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """End the function."""
        self._over = True
        await self._source.aclose()


async def _in_time(seconds: float, call: Callable[[], Awaitable[RestAnswer | RestProblem]]) -> RestAnswer | RestProblem:
    with anyio.move_on_after(seconds):
        return await call()
    return _TOO_LATE


def _rpc(function: Callable[..., object]) -> str:
    return f"memory.Back/{getattr(function, '__name__', 'call')}"
