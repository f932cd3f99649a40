"""What the application gets of a request, and its client of an answer."""

from typing import Any

import anyio
import httpx
import pytest
from tests.e2e.http_servers import PATIENCE, answer, connected, connection, serving_app, upgrade

pytestmark = pytest.mark.anyio


async def headers_of(request: bytes) -> list[list[tuple[bytes, bytes]]]:
    """Of each request in `request`, as the application sees them once it has read the body."""
    seen: list[list[tuple[bytes, bytes]]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        while (await receive()).get("more_body"):
            pass
        seen.append(list(scope["headers"]))
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async with serving_app(app) as bound, connection(bound) as peer:
        await peer.send(request)
        await peer.receive_rest()
    return seen


async def test_trailers_are_no_headers() -> None:
    """RFC 9110 section 6.5.1: or a client would be authenticated by what a proxy never looked at."""
    first = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n"
    first += b"Authorization: a\r\nX-B: b\r\n\r\n"
    assert await headers_of(first + b"GET / HTTP/1.1\r\nHost: y\r\nConnection: close\r\n\r\n") == [
        [(b"host", b"x"), (b"transfer-encoding", b"chunked")],
        [(b"host", b"y"), (b"connection", b"close")],
    ]


async def test_white_space_around_a_value_is_none_of_it() -> None:
    """RFC 9110 section 5.5. What is within it is, also in front of an empty one."""
    lines = [b"Host: \t x\t ", b"Content-Length: 0 ", b"A: a \t b \t", b"B: \t ", b"Connection: close\t"]
    assert await headers_of(b"\r\n".join([b"GET / HTTP/1.1", *lines, b"", b""])) == [
        [(b"host", b"x"), (b"content-length", b"0"), (b"a", b"a \t b"), (b"b", b""), (b"connection", b"close")]
    ]


@pytest.mark.parametrize("line", [b"Content-Length: 2\t ", b"Transfer-Encoding: chunked "])
async def test_white_space_moves_no_bounds_of_a_body(line: bytes) -> None:
    """The parser decides on these by itself, before they are stripped."""
    body = b"{}" if b"Length" in line else b"2\r\n{}\r\n0\r\n\r\n"
    head = b"POST / HTTP/1.1\r\nHost: x\r\n" + line + b"\r\n\r\n"
    seen = await headers_of(head + body + b"GET / HTTP/1.1\r\nHost: y\r\nConnection: close\r\n\r\n")
    assert [lines[0] for lines in seen] == [(b"host", b"x"), (b"host", b"y")]


@pytest.mark.parametrize(
    "line",
    [
        b"Transfer-Encoding: chunked\t",
        b"Transfer-Encoding: chunked\x0b",
        b"Content-Length: 2\x0c",
        b"Content-Length: 1 2",
    ],
)
async def test_bounds_that_two_parsers_could_take_for_different_ones_are_refused(line: bytes) -> None:
    body = b"2\r\n{}\r\n0\r\n\r\n"
    assert (await answer(b"POST / HTTP/1.1\r\nHost: x\r\n" + line + b"\r\n\r\n" + body)).startswith(b"HTTP/1.1 400 ")


OFFER = b"Host: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"
INNER = b"GET /inner HTTP/1.1\r\nHost: x\r\n\r\n"
CHUNKS = b"%x\r\n%b\r\n0\r\n\r\n" % (len(INNER), INNER)
LAST = b"GET /last HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize(
    ("head", "body", "seen"),
    [
        (b"POST / HTTP/1.1\r\n%bContent-Length: %d\r\n\r\n" % (OFFER, len(INNER)), INNER, INNER),
        (b"POST / HTTP/1.1\r\n%bTransfer-Encoding: chunked\r\n\r\n" % OFFER, CHUNKS, INNER),
        (b"GET / HTTP/1.1\r\n%b\r\n" % OFFER, b"", b""),
        (b"CONNECT / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(INNER), INNER, INNER),
    ],
)
async def test_an_upgrade_that_is_not_taken_up_changes_nothing(
    head: bytes, body: bytes, seen: bytes, together: bool
) -> None:
    """RFC 9110 section 7.8: above all, a body is no further request."""
    got: list[tuple[str, bytes]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        whole, more = b"", True
        while more:
            message = await receive()
            whole += message["body"]
            more = message["more_body"]
        got.append((scope["path"], whole))
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

    async with serving_app(app) as bound, connection(bound) as peer:
        if together:
            await peer.send(head + body + head + body + LAST)
        else:
            for _ in range(2):
                await peer.send(head)
                if body:
                    await anyio.sleep(0.05)
                    await peer.send(body[:10])
                    await peer.send(body[10:])
                await peer.receive_head()
            await peer.send(LAST)
        await peer.receive_rest()
    assert got == [("/", seen), ("/", seen), ("/last", b"")]


async def test_an_upgrade_to_websocket_behind_one_that_is_not_taken_up() -> None:
    async with connected() as (_, peer):
        await peer.send(b"GET / HTTP/1.1\r\n%b\r\n" % OFFER)
        await peer.receive_head()
        assert await peer.receive_some(9) == b"Not Found"
        await peer.send(upgrade())
        assert (await peer.receive_head()).startswith(b"HTTP/1.1 101 ")
        await peer.send_text("hello")
        assert (await peer.receive_frame()).payload == b"hello"


@pytest.mark.parametrize("anyio_backend", [("asyncio", {"use_uvloop": True})])
@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("behind", [0, 1])
async def test_a_client_that_leaves_is_noticed(behind: int, fails: bool, caplog: pytest.LogCaptureFixture) -> None:
    """Also with further requests behind the one that is being answered; what is still sent goes nowhere, silently."""
    seen: list[str] = []
    over = anyio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append((await receive())["type"])
        if fails:
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"200000")]})
        seen.append((await receive())["type"])
        if not fails:
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"200000")]})
            await send({"type": "http.response.body", "body": b"x" * 200_000})
        over.set()
        if fails:
            raise ValueError

    async with serving_app(app) as bound, connection(bound) as peer:
        await peer.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * (1 + behind))
        while not seen:
            await anyio.sleep(0.01)
        await peer.reset()
        await over.wait()
    assert seen == ["http.request", "http.disconnect"]
    assert fails or caplog.text == ""


@pytest.mark.parametrize("size", [0, 5, 200_000])
@pytest.mark.parametrize("known", [True, False])
async def test_an_answer_is_whole_however_it_is_written(size: int, known: bool) -> None:
    """Its head, and what comes in pieces."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"content-length", b"%d" % size)] if known else []
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"x" * size, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    async with serving_app(app) as bound, httpx.AsyncClient(trust_env=False, timeout=PATIENCE) as client:
        for _ in range(2):
            assert (await client.get(f"http://{bound.host}:{bound.port}/")).content == b"x" * size
            head = await client.head(f"http://{bound.host}:{bound.port}/")
            assert (head.content, head.headers.get("content-length")) == (b"", str(size) if known else None)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("headers", [[], [(b"Transfer-Encoding", b"chunked")], [(b"content-length", b"6")]])
async def test_answers_to_http_1_0_have_no_chunks(method: str, headers: list[tuple[bytes, bytes]]) -> None:
    """RFC 9112 section 6.1. The body ends with the connection."""
    over = anyio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"one", "more_body": True})
        await over.wait()
        await send({"type": "http.response.body", "body": b"two"})

    async with serving_app(app) as bound, connection(bound) as peer:
        await peer.send(f"{method} / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n".encode())
        head = await peer.receive_head()
        assert b"transfer-encoding" not in head.lower()
        assert b"\r\nconnection: close\r\n" in head
        if method == "GET":
            assert await peer.receive_some(3) == b"one"
        over.set()
        assert await peer.receive_rest() == (b"two" if method == "GET" else b"")


async def test_a_head_of_unknown_length_does_not_wait_with_http_1_0_either() -> None:
    over = anyio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await over.wait()
        await send({"type": "http.response.body", "body": b"x"})

    async with serving_app(app) as bound, connection(bound) as peer:
        await peer.send(b"GET / HTTP/1.0\r\n\r\n")
        assert (await peer.receive_head()).startswith(b"HTTP/1.1 200 ")
        over.set()
        assert await peer.receive_rest() == b"x"


async def test_http_1_0_is_not_asked_to_go_on() -> None:
    """RFC 9110 section 10.1.1."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"x"})

    async with serving_app(app) as bound, connection(bound) as peer:
        await peer.send(b"POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n{}")
        assert (await peer.receive_head()).startswith(b"HTTP/1.1 200 ")


async def test_a_head_whose_body_fails_is_written_before_the_end(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4")]})
        raise ValueError

    async with serving_app(app) as bound, connection(bound) as peer:
        await peer.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await peer.receive_rest()).startswith(b"HTTP/1.1 200 ")


async def test_a_head_of_unknown_length_does_not_wait() -> None:
    over = anyio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await over.wait()
        await send({"type": "http.response.body", "body": b""})

    async with serving_app(app) as bound, connection(bound) as peer:
        await peer.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await peer.receive_head()).startswith(b"HTTP/1.1 200 ")
        over.set()
