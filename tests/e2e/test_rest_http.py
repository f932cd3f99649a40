"""REST over real sockets: with our server and with uvicorn as it comes, and clients that break every rule."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import anyio
import httpx
import pytest
from tests.e2e.running_gateway import RunningGateway, Server, eventually, mint, running_gateway
from tests.e2e.websocket_client import PATIENCE_SECONDS
from tests.grpc_protos import descriptors
from tests.grpc_routes import EVERYWHERE
from tests.rest_back_end import BackEnd

from imgateway.adapters.grpc import GrpcTranscoder
from imgateway.adapters.memory import MemoryTranscoder
from imgateway.adapters.starlette.rest import exchange
from imgateway.core.settings import ServerSettings
from imgateway.core.settings_grpc import GrpcSettings
from imgateway.testing.raw_peer import RawPeer

pytestmark = pytest.mark.anyio

LIMIT = 100_000
PAGE = "https://page.example"


@asynccontextmanager
async def serving(server: Server, grpc: GrpcSettings | None = None) -> AsyncIterator[tuple[RunningGateway, BackEnd]]:
    back_end = BackEnd()
    chosen = grpc or GrpcSettings(max_request_bytes=LIMIT)
    async with running_gateway(server, grpc=chosen, transcoder=back_end.transcoder()) as running:
        yield running, back_end


@pytest.fixture
async def served(server: Server) -> AsyncIterator[tuple[RunningGateway, BackEnd]]:
    async with serving(server) as both:
        yield both


@asynccontextmanager
async def peer(running: RunningGateway) -> AsyncIterator[RawPeer]:
    client = await RawPeer.connect(running.host, running.port)
    try:
        with anyio.fail_after(PATIENCE_SECONDS):
            yield client
    finally:
        await client.aclose()


@asynccontextmanager
async def http(running: RunningGateway) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"Authorization": f"Bearer {mint()}"}
    url = running.http_url("")
    async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE_SECONDS, base_url=url, headers=headers) as client:
        yield client


def request(target: str = "/api/public", method: str = "GET", *lines: str, body: bytes = b"") -> bytes:
    return "\r\n".join([f"{method} {target} HTTP/1.1", "Host: gateway", *lines, "", ""]).encode("latin-1") + body


async def status_of(client: RawPeer) -> tuple[int, bytes]:
    """Status and body of the next answer, which has a length."""
    head = await client.receive_head()
    length = next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.startswith(b"content-length:"))
    body = await client.receive_some(length)
    return int(head.split(b" ")[1]), body


Both = tuple[RunningGateway, BackEnd]


async def test_calls_beside_the_gateways_own_paths(served: Both) -> None:
    running, _ = served
    async with http(running) as client:
        answer = await client.get("/api/me?x=1")
        assert (answer.status_code, answer.json()["user"], answer.json()["query"]) == (200, "alice", "x=1")
        answer = await client.post("/api/notes", json={"text": "东"})
        assert json.loads(answer.json()["body"]) == {"text": "东"}
        assert (await client.get("/healthz")).status_code == 200
        for path in ("/apix", "/api", "/api/", "/api/nowhere", "/ap"):
            assert (await client.get(path)).status_code == 404
        assert (await client.get("/ws")).status_code == 426
    await running.connect()


async def test_the_document(served: Both) -> None:
    running, _ = served
    async with http(running) as client:
        answer = await client.get("/openapi.json")
        assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
        assert answer.json()["openapi"].startswith("3.1")
        for tags in (answer.headers["etag"], f'"x", W/{answer.headers["etag"]}', "*"):
            again = await client.get("/openapi.json", headers={"If-None-Match": tags})
            assert (again.status_code, again.content) == (304, b"")
        assert (await client.get("/openapi.json", headers={"If-None-Match": '"x"'})).status_code == 200
        running.gateway.transcoder.loaded = False  # type: ignore[union-attr,misc]  # the one in memory
        refused = await client.get("/openapi.json")
        assert (refused.status_code, refused.json()["code"], refused.headers["retry-after"]) == (
            503,
            "UNAVAILABLE",
            "1",
        )


async def test_a_document_that_takes_its_time_keeps_nobody_waiting(
    served: Both, monkeypatch: pytest.MonkeyPatch
) -> None:
    running, _ = served
    answered = threading.Event()

    def slow(_: MemoryTranscoder) -> bytes:
        assert answered.wait(PATIENCE_SECONDS)
        return b"{}"

    monkeypatch.setattr(MemoryTranscoder, "openapi", slow)
    async with http(running) as client:

        async def look() -> None:
            assert (await client.get("/openapi.json")).status_code == 200

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(look)
            assert (await client.get("/api/public")).status_code == 200
            answered.set()


async def test_streams_arrive_as_they_come(served: Both) -> None:
    running, back_end = served
    async with http(running) as client:
        async with client.stream("GET", "/api/counts", headers={"Accept": "text/event-stream"}) as answer:
            assert [line async for line in answer.aiter_lines() if line] == [
                'data: {"number":1}', 'data: {"number":2}', 'data: {"number":3}'
            ]  # fmt: skip
        back_end.go.set()
        async with client.stream("GET", "/api/feed") as answer:
            async for _ in answer.aiter_lines():
                break
        await eventually(lambda: back_end.under_way == 0)


async def test_a_client_that_does_not_read_holds_the_back_end_back(served: Both) -> None:
    running, back_end = served
    back_end.go.set()
    async with peer(running) as client:
        await client.send(request("/api/feed"))
        await client.receive_head()
        await anyio.sleep(0.2)
        assert back_end.under_way == 1
        await client.reset()
        await eventually(lambda: back_end.under_way == 0)
    await eventually(lambda: running.observer.counts["call_finished", "memory.Back/feed CANCELLED"] == 1)


@pytest.mark.parametrize("how", ["reset", "aclose"])
async def test_clients_that_leave_cancel_their_calls(served: Both, how: str) -> None:
    running, back_end = served
    async with peer(running) as client:
        await client.send(request("/api/waits"))
        await eventually(lambda: back_end.under_way == 1)
        await getattr(client, how)()
        await eventually(lambda: back_end.under_way == 0)
    await eventually(lambda: running.observer.counts["call_finished", "memory.Back/waits CANCELLED"] == 1)


async def test_half_a_body_makes_no_call(served: Both) -> None:
    running, back_end = served
    token = f"Authorization: Bearer {mint()}"
    async with peer(running) as client:
        await client.send(request("/api/notes", "POST", token, "Content-Length: 10", body=b"{"))
        await anyio.sleep(0.1)
    await eventually(lambda: running.observer.counts["call_finished", "memory.Back/show CANCELLED"] == 1)
    assert back_end.requests == []


async def test_a_slow_body_ends_the_connection(served: Both) -> None:
    running, _ = served
    lines = f"Authorization: Bearer {mint()}", "Content-Length: 10", "Grpc-Timeout: 100m"
    async with peer(running) as client:
        await client.send(request("/api/notes", "POST", *lines, body=b"{"))
        assert (await status_of(client))[0] == 408
        assert await client.receive_rest() == b""


async def test_a_long_body_is_answered_before_the_end(served: Both) -> None:
    """Also who sends on without reading comes to know why."""
    running, _ = served
    lines = f"Authorization: Bearer {mint()}", f"Content-Length: {3_000_000}"
    async with peer(running) as client:
        await client.send(request("/api/notes", "POST", *lines, body=b"x" * 3_000_000))
        assert (await status_of(client))[0] == 413
        assert await client.receive_rest() == b""
    async with peer(running) as client:
        await client.send(request("/api/notes", "POST", lines[0], "Content-Length: 100001"))
        assert (await status_of(client))[0] == 413


async def test_a_body_that_nobody_reads_does_not_cost_its_client_the_answer(
    served: Both, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It sends slowly, and wants the connection to end."""
    monkeypatch.setattr(exchange, "LINGER_SECONDS", PATIENCE_SECONDS)  # what was announced arrives before that
    running, _ = served
    async with peer(running) as client:
        await client.send(request("/api/notes", "POST", "Connection: close", "Content-Length: 90000"))
        assert (await client.receive_head()).startswith(b"HTTP/1.1 401 ")
        for _ in range(9):
            await client.send(b"x" * 10_000)
            await anyio.sleep(0.01)
        assert b"UNAUTHENTICATED" in await client.receive_rest()


async def test_expecting_clients_are_asked_to_go_on_or_not(served: Both) -> None:
    running, _ = served
    lines = f"Authorization: Bearer {mint()}", "Expect: 100-continue"
    async with peer(running) as client:
        await client.send(request("/api/notes", "POST", *lines, "Content-Length: 2"))
        assert (await client.receive_head()).startswith(b"HTTP/1.1 100 ")
        await client.send(b"{}")
        assert (await status_of(client))[0] == 200
    async with peer(running) as client:
        await client.send(request("/api/notes", "POST", *lines, "Content-Length: 100001"))
        assert (await status_of(client))[0] == 413


# Connections live on, and one client's nonsense is not another's.


async def test_a_connection_survives_its_refusals(served: Both) -> None:
    running, _ = served
    token = f"Authorization: Bearer {mint()}"
    asks = [
        (request("/api/nowhere"), 404),
        (request("/api/me"), 401),
        (request("/api/me", "GET", token, token), 401),
        (request("/api/public", "PUT", "Content-Length: 3", body=b"abc"), 405),
        (request("/api/notes", "POST", token, "Content-Type: text/plain", "Content-Length: 3", body=b"abc"), 415),
        (request("/api/public", "GET", "Accept: text/html"), 406),
        (request("/api/public", "GET", "Grpc-Timeout: soon"), 400),
        (request("/api/upload", "POST", token, "Content-Length: 3", body=b"abc"), 501),
        (request("/api/raises"), 500),
        (request("/api/refused"), 404),
        (request("/api/public?a=%ff%00", "GET", "Content-Length: 3", body=b"abc"), 200),
        (request("/api/notes/%00%ff%zz%"), 200),
        (request("/api/notes/" + "x" * 20_000), 200),
        (request(), 200),
    ]
    async with peer(running) as client:
        for sent, status in asks * 2:
            await client.send(sent)
            got, body = await status_of(client)
            assert got == status, (sent[:100], body)


async def test_pipelined_requests_are_answered_in_order(served: Both) -> None:
    running, back_end = served
    async with peer(running) as client:
        numbers = range(50)
        await client.send(b"".join(request(f"/api/notes/{number}") for number in numbers))
        for number in numbers:
            assert json.loads((await status_of(client))[1])["id"] == str(number)
        await client.send(request("/api/waits") + request("/api/notes/7"))
        await eventually(lambda: back_end.under_way == 1)
        await anyio.sleep(0.1)
        back_end.go.set()
        assert (await status_of(client))[1] == b"{}"
        assert json.loads((await status_of(client))[1])["id"] == "7"


@pytest.mark.parametrize(
    ("sent", "statuses"),
    [
        (request("/api/" + "x" * 1_000_000), {400, 431}),
        (request("/api/notes", "POST", "Content-Length: 3", "Transfer-Encoding: chunked", body=b"0\r\n\r\n"), {400}),
        (request("/api/notes", "POST", "Content-Length: 3", "Content-Length: 4", body=b"abcd"), {400}),
        (request("/api/notes", "POST", "Content-Length: -1"), {400}),
        (request("/api/public").replace(b"/public", b"/\x00"), {400}),
        (request("/api/public").replace(b"/public", b"/\xff"), {400, 404}),
        (request("/api/public", "GET", "X-A: \x00"), {400}),
        (request("/api/public", "GET", "X-A : b"), {400}),
        (request("/api/public", "GE\x00T"), {400}),
    ],
    ids=range(9),
)
async def test_what_is_no_request(sent: bytes, statuses: set[int], served: Both) -> None:
    """Is refused, and its connection ends; others are served."""
    running, back_end = served
    async with peer(running) as client, peer(running) as other:
        with anyio.move_on_after(PATIENCE_SECONDS):
            await _send(client, sent)
        answer = await client.receive_rest() if 404 not in statuses else await client.receive_head()
        assert not answer or int(answer.split(b" ")[1]) in statuses
        assert back_end.requests == []
        await other.send(request())
        assert (await status_of(other))[0] == 200


async def test_headers_of_a_megabyte() -> None:
    """Our server's limit; uvicorn's own has none."""
    async with serving(Server.SOCKET) as (running, back_end), peer(running) as client:
        await _send(client, request("/api/public", "GET", "X-Filler: " + "x" * 1_000_000))
        answer = await client.receive_rest()
        assert not answer or answer.startswith(b"HTTP/1.1 431 ")
        assert back_end.requests == []


async def _send(client: RawPeer, data: bytes) -> None:
    """Send to a server that may have closed the connection by then."""
    with suppress(anyio.BrokenResourceError, ConnectionError):
        await client.send(data)


async def test_a_bad_chunk_in_a_body_ends_the_connection(served: Both) -> None:
    running, back_end = served
    lines = f"Authorization: Bearer {mint()}", "Transfer-Encoding: chunked"
    async with peer(running) as client:
        await client.send(request("/api/notes", "POST", *lines, body=b"2\r\n{}\r\nnonsense\r\n"))
        assert (await client.receive_rest()).startswith(b"HTTP/1.1 400 ")
    assert back_end.requests == []


async def test_nothing_is_left(served: Both) -> None:
    running, back_end = served
    tasks = asyncio.all_tasks()
    async with http(running) as client, anyio.create_task_group() as group:
        for _ in range(20):
            group.start_soon(client.get, "/api/me")
            group.start_soon(client.get, "/api/counts")
            group.start_soon(client.get, "/api/large")
    await eventually(lambda: asyncio.all_tasks() <= tasks)
    assert back_end.under_way == 0


DEEP = '{"author":' + '{"teacher":' * 10_000
STRUCT = '{"st":' + '{"a":' * 34 + "1" + "}" * 35


@pytest.mark.parametrize(
    ("method", "path", "body", "field", "why"),
    [
        ("PATCH", "/api/v1/books/b", b'{"title": "a", "title": "b"}', "book.title", "is named twice"),
        ("PATCH", "/api/v1/books/b", DEEP.encode(), "book.author.teacher.teacher", "leads deeper than 100 levels"),
        ("PATCH", "/api/v1/books/b", b'{"tags": ["\xff"]}', "book.tags[0]", "is not UTF-8 (byte 11)"),
        ("PATCH", "/api/v1/books/b", b'{"title": 1e999', "book.title", "has a number that is out of every range"),
        ("POST", "/api/v1/books/b/loans", b'{"x": {"\\"\xe2\x80\xa8": 1, "\\"\\u2028": 1}}', 'x."?', "is named twice"),
        (
            "POST",
            "/api/v1/needs",
            b'{"needIt": "", "inner_list": [{}]}',
            "innerList[0].needIt",
            "is required, but missing",
        ),
        ("GET", "/api/v1/needs", b"", "needIt", "is required, but missing"),
        ("POST", "/api/v1/needs", STRUCT.encode(), 'st["a"]["a"]', "nests deeper than messages can"),
    ],
)
async def test_a_bad_body_is_told_by_the_field(
    method: str, path: str, body: bytes, field: str, why: str, server: Server, tmp_path: Path
) -> None:
    file = tmp_path / "library.binpb"
    file.write_bytes(descriptors("library.proto", "needs.proto").SerializeToString())
    settings = GrpcSettings(descriptor_set=str(file), services=EVERYWHERE)
    async with (
        GrpcTranscoder.open(settings, None) as transcoder,
        running_gateway(server, grpc=settings, transcoder=transcoder) as running,
        http(running) as client,
    ):
        refused = await client.request(method, path, content=body)
        assert (refused.status_code, refused.headers["content-type"]) == (400, "application/problem+json")
        problem = refused.json()
        assert (problem["code"], problem["detail"]) == ("INVALID_ARGUMENT", f"{field}: {why}")
        assert problem["details"][0]["fieldViolations"] == [{"field": field, "description": why}]


async def test_a_path_that_takes_any_method_says_which_without_a_token(server: Server, tmp_path: Path) -> None:
    file = tmp_path / "library.binpb"
    file.write_bytes(descriptors("library.proto").SerializeToString())
    settings = GrpcSettings(descriptor_set=str(file), services=EVERYWHERE)
    network = ServerSettings(allowed_origins=(PAGE,))
    asks = {"Origin": PAGE, "Access-Control-Request-Method": "PUT"}
    allowed = "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT"
    async with (
        GrpcTranscoder.open(settings, None) as transcoder,
        running_gateway(server, network=network, grpc=settings, transcoder=transcoder) as running,
        httpx.AsyncClient(trust_env=False, timeout=PATIENCE_SECONDS, base_url=running.http_url("")) as client,
    ):
        assert (await client.put("/api/v1/any/x")).status_code == 401
        for headers in ({}, asks):
            told = await client.options("/api/v1/any/x", headers=headers)
            assert (told.status_code, told.headers["allow"]) == (204, allowed)
        assert told.headers["access-control-allow-methods"] == allowed
        assert (await client.request("TRACE", "/api/v1/any/x")).status_code == 405
