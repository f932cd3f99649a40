"""REST without a network: server streams."""

import json
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest
from tests.gateways import eventually, quiet
from tests.rest_back_end import Line, RestHouse, request_scope, rest_house

from imgateway.adapters.starlette.rest import streaming
from imgateway.codes import RpcCode
from imgateway.rpc import RestProblem

pytestmark = pytest.mark.anyio

SSE = ("Accept", "text/event-stream")


@pytest.fixture
def anyio_backend() -> str:
    """REST needs asyncio, as gRPC does."""
    return "asyncio"


@pytest.fixture
async def house() -> AsyncIterator[RestHouse]:
    async with rest_house() as running:
        yield running


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        (None, "application/x-ndjson"),
        ("*/*", "application/x-ndjson"),
        ("application/json", "application/x-ndjson"),
        ("application/x-ndjson", "application/x-ndjson"),
        ("text/event-stream", "text/event-stream"),
        ("text/*", "text/event-stream"),
        ("text/event-stream, */*;q=0.1", "text/event-stream"),
        ("text/event-stream, */*", "text/event-stream"),
        ("application/json, text/event-stream", "text/event-stream"),
        ("text/event-stream;q=0.5, application/x-ndjson", "application/x-ndjson"),
        ("text/html", None),
        ("text/event-stream;q=0, text/*;q=0", None),
    ],
)
async def test_accept(house: RestHouse, accept: str | None, media_type: str | None) -> None:
    answer = await house.ask("GET", "/api/counts", [] if accept is None else [("Accept", accept)])
    if media_type is None:
        assert answer.problem == (406, "NOT_ACCEPTABLE")
    else:
        assert (answer.status, answer["content-type"]) == (200, media_type)


async def test_lines(house: RestHouse) -> None:
    answer = await house.ask("GET", "/api/counts")
    assert answer.body == b'{"result":{"number":1}}\n{"result":{"number":2}}\n{"result":{"number":3}}\n'
    assert (answer["cache-control"], answer["x-accel-buffering"]) == ("no-store", "no")
    assert (answer["grpc-metadata-page"], answer["content-length"]) == ("1", None)
    assert house.calls() == {"memory.Back/counts OK": 1}


async def test_events(house: RestHouse) -> None:
    answer = await house.ask("GET", "/api/counts", [SSE])
    assert answer.body == b'data: {"number":1}\n\ndata: {"number":2}\n\ndata: {"number":3}\n\n'


async def test_a_message_is_one_line_for_every_reader_of_lines(house: RestHouse) -> None:
    text = "a\x85b\u2028c\u2029d é € 🙂"
    error = {"code": "NOT_FOUND", "message": text}
    house.back_end.problem = RestProblem.of(RpcCode.NOT_FOUND, text)
    house.back_end.said = json.dumps(text, ensure_ascii=False).encode()
    lines = (await house.ask("GET", "/api/broken")).body.decode().splitlines()
    assert [json.loads(line) for line in lines] == [{"result": text}, {"error": error | {"details": [{"@type": "t"}]}}]
    said, _, event, broken, _ = (await house.ask("GET", "/api/broken", [SSE])).body.decode().splitlines()
    assert (json.loads(said.removeprefix("data: ")), event) == (text, "event: error")
    assert json.loads(broken.removeprefix("data: "))["message"] == text


async def test_streams_that_break_off(house: RestHouse) -> None:
    house.back_end.problem = RestProblem.of(RpcCode.NOT_FOUND, "There is no such user.", retry_after=3)
    error = {"code": "NOT_FOUND", "message": "There is no such user.", "details": [{"@type": "t"}], "retryAfter": 3}
    first, last = (await house.ask("GET", "/api/broken")).body.splitlines()
    assert (json.loads(first), json.loads(last)) == ({"result": 1}, {"error": error})
    events = (await house.ask("GET", "/api/broken", [SSE])).body.decode().split("\n\n")
    assert events[0] == "data: 1"
    assert events[1].startswith("event: error\ndata: ")
    assert json.loads(events[1].partition("data: ")[2]) == error
    assert house.calls() == {"memory.Back/broken NOT_FOUND": 2}


async def test_a_refusal_before_the_first_message_has_its_status(house: RestHouse) -> None:
    assert (await house.ask("GET", "/api/refused-stream", [SSE])).problem == (404, "NOT_FOUND")


async def test_a_bug_in_the_middle_ends_the_connection(house: RestHouse, caplog: pytest.LogCaptureFixture) -> None:
    line = Line([])
    with pytest.raises(ValueError, match="a bug"):
        await house.app(request_scope("GET", "/api/raising-stream"), line.receive, line.send)
    assert line.body == b'{"result":1}\n'
    assert line.sent[-1]["more_body"]
    assert "a bug of the transcoder" in caplog.text
    assert house.calls() == {"memory.Back/raising_stream INTERNAL": 1}


async def test_deadlines(house: RestHouse) -> None:
    """Without one of the client's own a stream may take the longest time there is."""
    await house.ask("GET", "/api/counts")
    await house.ask("GET", "/api/counts", [("Grpc-Timeout", "3S")])
    assert [request.seconds for request in house.back_end.requests] == [300.0, 3.0]
    late = await house.ask("GET", "/api/feed", [("Grpc-Timeout", "50m")])
    assert late.problem == (504, "DEADLINE_EXCEEDED")


async def test_head(house: RestHouse) -> None:
    answer = await house.ask("HEAD", "/api/counts")
    assert (answer.status, answer["content-type"]) == (200, "application/x-ndjson")
    assert house.calls() == {"memory.Back/counts OK": 1}


async def test_head_of_a_stream_on_which_nothing_comes(house: RestHouse, monkeypatch: pytest.MonkeyPatch) -> None:
    """Is answered at last, and the call ends with it."""
    monkeypatch.setattr(streaming, "KEEP_ALIVE_SECONDS", 0.02)
    with anyio.fail_after(10):
        answer = await house.ask("HEAD", "/api/feed")
    assert (answer.status, house.back_end.under_way) == (200, 0)
    refused = await house.ask("HEAD", "/api/refused-stream")
    assert refused.status != 200


@pytest.mark.parametrize("offered", [True, False])
async def test_trailers_where_server_and_client_take_them(house: RestHouse, offered: bool) -> None:
    for te, wanted in ((None, False), ("trailers", offered)):
        line = Line([])
        extensions: dict[str, Any] = {"http.response.trailers": {}} if offered else {}
        lines = [] if te is None else [("TE", te)]
        scope = request_scope("GET", "/api/counts", lines, extensions=extensions)
        await house.app(scope, line.receive, line.send)
        assert line.sent[0]["trailers"] is wanted
        last = {"type": "http.response.trailers", "headers": [(b"grpc-trailer-total", b"3")]}
        assert (line.sent[-1] == last) is wanted


async def test_a_client_that_does_not_read_is_waited_for(house: RestHouse) -> None:
    house.back_end.go.set()
    line = Line([], gate=anyio.Event())
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(house.app, request_scope("GET", "/api/feed"), line.receive, line.send)
        await eventually(lambda: house.back_end.under_way)
        await quiet()
        assert line.sent == []
        line.leave()
        with anyio.fail_after(10):
            while not house.calls():
                await anyio.sleep(0.01)
    assert house.back_end.under_way == 0
    assert house.calls() == {"memory.Back/feed CANCELLED": 1}


@pytest.mark.parametrize("lines", [[], [SSE]])
async def test_while_nothing_comes(
    house: RestHouse, lines: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The head comes without a first message in the end; events have comments meanwhile."""
    monkeypatch.setattr(streaming, "KEEP_ALIVE_SECONDS", 0.02)
    line = Line([])
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(house.app, request_scope("GET", "/api/feed", lines), line.receive, line.send)
        with anyio.fail_after(10):
            while len(line.sent) < (4 if lines else 1):
                await anyio.sleep(0.01)
        assert line.sent[0]["status"] == 200
        assert line.body == (b": \n\n" * (len(line.sent) - 1) if lines else b"")
        line.leave()
    assert house.back_end.under_way == 0
