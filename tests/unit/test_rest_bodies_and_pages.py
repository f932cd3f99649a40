"""REST without a network: bodies, and web pages of other origins."""

from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest
from tests.gateways import eventually
from tests.rest_back_end import Line, RestHouse, request_scope, rest_house

from imgateway.core.settings_grpc import GrpcSettings

pytestmark = pytest.mark.anyio

LIMIT = 2000
TOKEN = ("Authorization", "Bearer alice")
PAGE = "https://chat.example.com"


@pytest.fixture
def anyio_backend() -> str:
    """REST needs asyncio, as gRPC does."""
    return "asyncio"


@pytest.fixture
async def house() -> AsyncIterator[RestHouse]:
    async with rest_house(GrpcSettings(max_request_bytes=LIMIT)) as running:
        yield running


def pieces(*bodies: bytes) -> list[Any]:
    last = len(bodies) - 1
    return [{"type": "http.request", "body": body, "more_body": n != last} for n, body in enumerate(bodies)]


async def post(house: RestHouse, line: Line, *headers: tuple[str, str], path: str = "/api/notes") -> None:
    await house.app(request_scope("POST", path, [TOKEN, *headers]), line.receive, line.send)


# Bodies.


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("Content-Type", "application/json")],
        [("Content-Type", 'Application/JSON; charset="UTF-8"')],
        [("Content-Encoding", "Identity")],
    ],
)
async def test_a_body_is_read(house: RestHouse, headers: list[tuple[str, str]]) -> None:
    answer = await house.ask("POST", "/api/notes", headers, body=b'{"a": 1}', token="alice")
    assert answer.json["body"] == '{"a": 1}'
    assert answer["connection"] is None


async def test_a_body_in_pieces_is_put_together(house: RestHouse) -> None:
    line = Line(pieces(b'{"a"', b"", b": 1}", b""))
    await post(house, line, ("Transfer-Encoding", "chunked"))
    assert line.answer.json["body"] == '{"a": 1}'


async def test_no_body_is_an_empty_one(house: RestHouse) -> None:
    for headers in ([], [("Content-Length", "0"), ("Content-Type", "text/plain")]):
        answer = await house.ask("POST", "/api/notes", headers, token="alice")
        assert answer.json["body"] == ""


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Content-Type", "text/plain"),
        ("Content-Type", "application/json; charset=latin-1"),
        ("Content-Type", "application/x-www-form-urlencoded"),
        ("Content-Type", ""),
        ("Content-Encoding", "gzip"),
    ],
)
async def test_other_bodies_are_refused(house: RestHouse, name: str, value: str) -> None:
    refused = await house.ask("POST", "/api/notes", [(name, value)], body=b"{}", token="alice")
    assert refused.problem == (415, "UNSUPPORTED_MEDIA_TYPE")
    assert house.back_end.requests == []


async def test_a_type_that_is_said_twice_is_refused(house: RestHouse) -> None:
    lines = [("Content-Type", "application/json")] * 2
    assert (await house.ask("POST", "/api/notes", lines, body=b"{}", token="alice")).status == 400


async def test_a_body_may_have_its_limit_and_no_more(house: RestHouse) -> None:
    assert (await house.ask("POST", "/api/notes", body=b"x" * LIMIT, token="alice")).status == 200
    refused = await house.ask("POST", "/api/notes", body=b"x" * (LIMIT + 1), token="alice")
    assert refused.problem == (413, "MESSAGE_TOO_LARGE")
    assert refused["connection"] == "close"
    assert len(house.back_end.requests) == 1


@pytest.mark.parametrize("length", ["2001", "9" * 30, "x", "-1", "٣"])
async def test_an_announced_length_is_refused_unread(house: RestHouse, length: str) -> None:
    line = Line([])
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(post, house, line, ("Content-Length", length.encode().decode("latin-1")))
        await eventually(lambda: line.body)
        assert line.sent[0]["status"] == (413 if length.isascii() and length.isdigit() else 400)
        line.arrive(type="http.request", body=b"")
    assert line.answer.body.endswith(b"}")


@pytest.mark.parametrize("bodies", [(b"x" * 1500, b"x" * 1500, b""), (b"x" * 1999, b"xx")])
async def test_a_body_that_grows_too_long(house: RestHouse, bodies: tuple[bytes, ...]) -> None:
    line = Line(pieces(*bodies))
    await post(house, line, ("Transfer-Encoding", "chunked"))
    assert line.answer.problem == (413, "MESSAGE_TOO_LARGE")


async def test_a_client_that_sends_on_reads_why_not_and_is_left_after_a_while(house: RestHouse) -> None:
    line = Line(pieces(*[b"x" * 100_000] * 100))
    await post(house, line, ("Transfer-Encoding", "chunked"))
    assert line.answer.problem == (413, "MESSAGE_TOO_LARGE")
    assert 50 < len(line.rest) < 70  # some four megabytes are taken


@pytest.mark.parametrize(
    ("headers", "version", "draining", "lingers"),
    [
        ([("Connection", "close")], "1.1", False, True),
        ([("Connection", "x, Close")], "1.1", False, True),
        ([("Connection", "x"), ("Connection", "close")], "1.1", False, True),
        ([], "1.0", False, True),
        ([], "1.1", True, True),
        ([("Connection", "x-close")], "1.1", False, False),
        ([], "1.1", False, False),
        ([], "2", True, False),
    ],
)
@pytest.mark.parametrize(("method", "path"), [("POST", "/api/me"), ("POST", "/api/notes"), ("GET", "/api/public")])
async def test_an_unread_body_is_waited_for_where_the_connection_ends(
    house: RestHouse,
    headers: list[tuple[str, str]],
    version: str,
    draining: bool,
    lingers: bool,
    method: str,
    path: str,
) -> None:
    """Or the socket would be reset, and the client might not see its answer. Elsewhere the server skips it."""
    if draining:
        await house.gateway.drain()
    line = Line(pieces(b"x" * 500, b"x" * 500))
    scope = request_scope(method, path, [*headers, ("Content-Length", "1000")], http_version=version)
    await house.app(scope, line.receive, line.send)
    assert line.answer.status in (200, 401, 405)
    assert len(line.rest) == (0 if lingers else 2)


async def test_a_body_that_was_read_is_not_waited_for(house: RestHouse) -> None:
    """Though the connection ends; the client is still there."""
    line = Line(pieces(b"{}"))
    scope = request_scope("POST", "/api/notes?\xe4", [TOKEN, ("Transfer-Encoding", "chunked"), ("Connection", "close")])
    await house.app(scope, line.receive, line.send)
    assert line.answer.status == 400
    assert line.asked == 1


async def test_a_body_that_does_not_come_in_time(house: RestHouse) -> None:
    line = Line([*pieces(b"{", b"")[:1]])
    await post(house, line, ("Content-Length", "10"), ("Grpc-Timeout", "50m"))
    assert line.answer.problem == (408, "REQUEST_TIMEOUT")
    assert line.answer["connection"] == "close"
    assert house.calls() == {"memory.Back/show REQUEST_TIMEOUT": 1}


async def test_the_bodys_time_is_the_calls_time(house: RestHouse) -> None:
    line = Line([])
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(post, house, line, ("Content-Length", "2"), ("Grpc-Timeout", "5S"))
        await eventually(lambda: line.asked == 1)
        await anyio.sleep(0.1)
        line.arrive(type="http.request", body=b"{}")
    assert house.back_end.requests[0].seconds < 4.95  # far from the 5 it would have if the wait did not count


async def test_a_client_that_leaves_in_the_middle_makes_no_call(house: RestHouse) -> None:
    line = Line([*pieces(b"{", b"")[:1], {"type": "http.disconnect"}])
    await post(house, line, ("Content-Length", "10"))
    assert line.sent == []
    assert house.back_end.requests == []
    assert house.calls() == {"memory.Back/show CANCELLED": 1}


async def test_a_body_that_nobody_wants_is_not_looked_at(house: RestHouse) -> None:
    answer = await house.ask("GET", "/api/public", [("Content-Type", "text/plain")], body=b"x" * 10)
    assert (answer.status, answer["connection"]) == (200, None)
    assert house.back_end.requests[0].body == b""
    answer = await house.ask("GET", "/api/public", body=b"x" * 3000)
    assert (answer.status, answer["connection"]) == (200, "close")


# Pages.


async def test_a_foreign_page_is_refused_before_any_call(house: RestHouse) -> None:
    for method, path in (("GET", "/api/public"), ("GET", "/api/nowhere"), ("OPTIONS", "/api/me")):
        for origin in (PAGE, "null", "", "\xe4"):
            lines = [("Origin", origin), ("Access-Control-Request-Method", "GET")]
            refused = await house.ask(method, path, lines)
            assert refused.problem == (403, "FORBIDDEN")
            assert refused["access-control-allow-origin"] is None
    assert house.back_end.requests == []


async def test_a_page_of_the_same_host_is_served(house: RestHouse) -> None:
    assert (await house.ask("GET", "/api/public", [("Origin", "http://gateway")])).status == 200
    assert (await house.ask("GET", "/api/public", [("Origin", "http://gateway:81")])).status == 403
    assert (await house.ask("GET", "/api/public", [("Origin", "http://gateway")] * 2)).status == 403
    assert (await house.ask("GET", "/api/public", [("Origin", "http://gateway"), ("Host", "x")])).status == 403


@pytest.mark.parametrize("allowed", [(PAGE,), ("*",)])
async def test_an_allowed_page(allowed: tuple[str, ...]) -> None:
    grpc = GrpcSettings(forward_headers=("x-tenant",), return_metadata=("cost",))
    async with rest_house(grpc, allowed_origins=allowed) as house:
        asks = [("Origin", PAGE), ("Access-Control-Request-Method", "DELETE")]
        told = await house.ask("OPTIONS", "/api/notes/7", asks)
        assert (told.status, told.body) == (204, b"")
        assert told["access-control-allow-origin"] == PAGE
        assert "origin" in (told["vary"] or "").lower()
        assert told["access-control-allow-methods"] == "DELETE, GET, HEAD, OPTIONS"
        assert told["access-control-allow-credentials"] is None
        taken = (told["access-control-allow-headers"] or "").split(", ")
        assert {"authorization", "content-type", "grpc-timeout", "x-tenant"} <= {*taken}
        assert int(told["access-control-max-age"] or "") > 0
        for path, status in (("/api/public", 200), ("/api/me", 401), ("/api/nowhere", 404)):
            answer = await house.ask("GET", path, [("Origin", PAGE)])
            assert answer.status == status
            assert answer["access-control-allow-origin"] == PAGE
            shown = (answer["access-control-expose-headers"] or "").split(", ")
            assert {"x-request-id", "retry-after", "grpc-metadata-cost", "grpc-trailer-cost"} <= {*shown}


async def test_no_page_no_lines_for_it(house: RestHouse) -> None:
    answer = await house.ask("GET", "/api/public")
    assert not [name for name, _ in answer.lines if name.startswith("access-control") or name == "vary"]
