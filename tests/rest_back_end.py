"""A back end for REST in memory, and clients of it."""

import json
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import attrs
from tests.asgi import Message
from tests.gateways import World, new_gateway, running_world
from tests.gateways import settings as gateway_settings

from imgateway.adapters.memory import MemoryTranscoder
from imgateway.adapters.memory.transcoder import Captures, Said
from imgateway.adapters.starlette.rest import RestApplication
from imgateway.core.gateway import Gateway
from imgateway.core.settings import ServerSettings
from imgateway.core.settings_grpc import GrpcSettings
from imgateway.rpc import RestAnswer, RestProblem, RestRequest

Headers = Iterable[tuple[str, str]]
_REFUSED = RestProblem(404, "NOT_FOUND", "There is no such user.")


@attrs.define(eq=False)
class BackEnd:
    """Remembers what it was asked.

    Attributes:
        requests: in the order they came.
        under_way: calls that wait for `go`.
        problem: what `/api/refused` answers with.
        said: the message before `/api/broken` breaks off.
    """

    requests: list[RestRequest] = attrs.field(factory=list)
    under_way: int = 0
    go: anyio.Event = attrs.field(factory=anyio.Event)
    problem: RestProblem = _REFUSED
    said: bytes = b"1"

    def transcoder(self) -> MemoryTranscoder:
        """Its routes."""
        transcoder = MemoryTranscoder()
        transcoder.answer("GET", "/api/me", self.show)
        transcoder.answer("GET", "/api/public", self.show, public=True)
        transcoder.answer("POST", "/api/notes", self.show, takes_body=True)
        transcoder.answer("GET", "/api/notes/{id}", self.show, public=True)
        transcoder.answer("DELETE", "/api/notes/{id}", self.show)
        transcoder.answer("GET", "/api/refused", self.refused, public=True)
        transcoder.answer("GET", "/api/raises", self.raises, public=True)
        transcoder.answer("GET", "/api/waits", self.waits, public=True)
        transcoder.answer("GET", "/api/large", self.large, public=True)
        transcoder.stream("GET", "/api/counts", self.counts, public=True)
        transcoder.stream("GET", "/api/broken", self.broken, public=True)
        transcoder.stream("GET", "/api/refused-stream", self.refused_stream, public=True)
        transcoder.stream("GET", "/api/raising-stream", self.raising_stream, public=True)
        transcoder.stream("GET", "/api/feed", self.feed, public=True)
        transcoder.refuse("POST", "/api/upload")
        return transcoder

    async def show(self, request: RestRequest, captures: Captures) -> RestAnswer:
        self.requests.append(request)
        user = None if request.identity is None else request.identity.user_id
        body = {"user": user, "body": request.body.decode(), "query": request.query, **captures}
        return RestAnswer(json.dumps(body).encode(), (("etag", "7"), ("odd", "东")), (("cost-bin", b"\x00"),))

    async def refused(self, _: RestRequest, __: Captures) -> RestProblem:
        return self.problem

    async def raises(self, _: RestRequest, __: Captures) -> RestAnswer:
        raise ValueError("a bug of the transcoder")

    async def waits(self, request: RestRequest, _: Captures) -> RestAnswer:
        self.requests.append(request)
        self.under_way += 1
        try:
            await self.go.wait()
        finally:
            self.under_way -= 1
        return RestAnswer(b"{}")

    async def large(self, _: RestRequest, __: Captures) -> RestAnswer:
        return RestAnswer(b'"' + b"x" * 4_000_000 + b'"')

    async def counts(self, request: RestRequest, _: Captures) -> AsyncGenerator[Said, None]:
        self.requests.append(request)
        for number in (1, 2, 3):
            yield RestAnswer(b'{"number":%d}' % number, (("page", "1"),), (("total", "3"),))

    async def broken(self, _: RestRequest, __: Captures) -> AsyncGenerator[Said, None]:
        yield self.said
        yield attrs.evolve(self.problem, details=({"@type": "t"},))

    async def refused_stream(self, _: RestRequest, __: Captures) -> AsyncGenerator[Said, None]:
        yield self.problem

    async def raising_stream(self, _: RestRequest, __: Captures) -> AsyncGenerator[Said, None]:
        yield b"1"
        raise ValueError("a bug of the transcoder")

    async def feed(self, _: RestRequest, __: Captures) -> AsyncGenerator[Said, None]:
        self.under_way += 1
        try:
            await self.go.wait()
            while True:
                yield b'"%s"' % (b"x" * 10_000)
        finally:
            self.under_way -= 1


@attrs.frozen
class Answer:
    """What a client got."""

    status: int
    lines: list[tuple[str, str]]
    body: bytes

    def __getitem__(self, name: str) -> str | None:
        """A header, its lines joined."""
        found = [value for other, value in self.lines if other == name]
        return ", ".join(found) if found else None

    @property
    def json(self) -> Any:
        """The body."""
        return json.loads(self.body)

    @property
    def problem(self) -> tuple[int, str]:
        """Status and code of a problem that looks as all do."""
        assert self["content-type"] == "application/problem+json", self
        assert {"type", "title", "status", "detail", "code"} <= self.json.keys()
        assert self.json["status"] == self.status
        assert self["x-request-id"]
        return self.status, self.json["code"]


@attrs.define(eq=False)
class Line:
    """The server's end of one request.

    Attributes:
        sent: what the application sent.
        rest: what the application can still receive; when nothing is left, `receive` waits.
        gate: while set, `send` waits: the client does not read.
        asked: how often `receive` was called.
    """

    rest: list[Message]
    sent: list[Message] = attrs.field(factory=list)
    gate: anyio.Event | None = None
    asked: int = 0
    _more: anyio.Event = attrs.field(factory=anyio.Event)

    def arrive(self, **message: Any) -> None:
        """Hand the application a message."""
        self.rest.append(message)
        self._more.set()

    def leave(self) -> None:
        """The client goes."""
        self.arrive(type="http.disconnect")

    async def receive(self) -> Message:
        self.asked += 1
        while not self.rest:
            self._more = anyio.Event()
            await self._more.wait()
        return self.rest.pop(0)

    async def send(self, message: Message) -> None:
        if self.gate is not None:
            await self.gate.wait()
        self.sent.append(message)

    @property
    def body(self) -> bytes:
        """What was sent of the answer's body so far."""
        return b"".join(message.get("body", b"") for message in self.sent)

    @property
    def answer(self) -> Answer:
        """The whole answer."""
        start = self.sent[0]
        lines = [(name.decode(), value.decode("latin-1")) for name, value in start["headers"]]
        bodies = [message for message in self.sent if message["type"] == "http.response.body"]
        assert [bool(message.get("more_body")) for message in bodies] == [True] * (len(bodies) - 1) + [False]
        return Answer(start["status"], lines, self.body)


def request_scope(method: str, target: str, headers: Headers = (), **more: Any) -> dict[str, Any]:
    """An HTTP scope."""
    path, _, query = target.partition("?")
    return {
        "type": "http",
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode("latin-1"),
        "query_string": query.encode("latin-1"),
        "root_path": "",
        "headers": [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers],
        "client": ("192.0.2.1", 1),
        **more,
    }


@attrs.define(eq=False)
class RestHouse:
    """A gateway with REST, without a network."""

    world: World
    gateway: Gateway
    back_end: BackEnd
    app: RestApplication
    transcoder: MemoryTranscoder

    async def ask(
        self,
        method: str,
        target: str,
        headers: Headers = (),
        *,
        body: bytes | None = None,
        token: str | None = None,
        **more: Any,
    ) -> Answer:
        """The answer to one request; a body is announced by its length."""
        lines = [*headers, ("Host", "gateway")]
        if token is not None:
            lines.append(("Authorization", f"Bearer {token}"))
        if body is not None and not any(name.lower() == "content-length" for name, _ in lines):
            lines.append(("Content-Length", str(len(body))))
        line = Line([{"type": "http.request", "body": body or b""}])
        await self.app(request_scope(method, target, lines, **more), line.receive, line.send)
        return line.answer

    def calls(self) -> dict[str, int]:
        """What the observer heard of calls."""
        counts = self.world.observer.counts
        return {what: number for (kind, what), number in counts.items() if kind == "call_finished"}


@asynccontextmanager
async def rest_house(grpc: GrpcSettings | None = None, **server: Any) -> AsyncIterator[RestHouse]:
    """A gateway that is ready."""
    back_end = BackEnd()
    transcoder = back_end.transcoder()
    chosen = grpc or GrpcSettings()
    settings = attrs.evolve(gateway_settings(), server=ServerSettings(**server), grpc=chosen)
    async with running_world() as world:
        world.transcoder = transcoder
        async with new_gateway(world, settings) as gateway:
            await gateway.wait_ready()
            yield RestHouse(world, gateway, back_end, RestApplication(gateway, chosen), transcoder)
