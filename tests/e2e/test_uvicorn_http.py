"""What clients may not do before their request is complete."""

from contextlib import suppress
from typing import Any

import anyio
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from tests.e2e.echo_app import EchoHost, echo_server
from tests.e2e.http_servers import HEAD, Hurried, answer, connected, connection, large_answers, serving_app, upgrade

from imgateway.adapters.uvicorn import GatewayHttpProtocol
from imgateway.testing.raw_peer import TEXT, client_frame

pytestmark = pytest.mark.anyio


# Time.


@pytest.mark.parametrize("start", [b"", b"GET", HEAD.encode(), upgrade()[:-2], b"\r\n"])
async def test_a_client_that_does_not_finish_its_request_is_cut_off(start: bytes) -> None:
    async with connected(Hurried) as (_, peer):
        await peer.send(start)
        assert await peer.receive_rest() == b""


async def test_a_trickle_does_not_help() -> None:
    async with connected(Hurried) as (_, peer):

        async def trickle() -> None:
            for byte in upgrade(add=["X-Filler: " + "x" * 5000]):
                await peer.send(bytes((byte,)))
                await anyio.sleep(0.01)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(trickle)
            assert await peer.receive_rest() == b""
            tasks.cancel_scope.cancel()


@pytest.mark.parametrize("start", [b"GE", b"\r\n"])
async def test_later_requests_have_the_same_deadline(start: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    async with connected() as (_, peer):
        await peer.send(HEAD.encode() + b"\r\n")
        assert (await peer.receive_head()).startswith(b"HTTP/1.1 404 ")
        monkeypatch.setattr(GatewayHttpProtocol, "head_seconds", Hurried.head_seconds)
        await peer.send(start)
        assert await peer.receive_rest() == b"Not Found"


async def test_nothing_else_is_limited_by_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a WebSocket, nor a slow body, nor a slow answer."""
    monkeypatch.setattr(Hurried, "head_seconds", 2.0)  # each of the heads is to be there by then

    async def slow(request: Request) -> PlainTextResponse:
        body = await request.body()
        await anyio.sleep(1.5 * Hurried.head_seconds)
        return PlainTextResponse(body)

    host = EchoHost()
    app = Starlette(routes=[*host.app.routes, Route("/slow", slow, methods=["POST"])])
    host.app = app
    async with echo_server(host, http=Hurried) as bound, connection(bound) as socket, connection(bound) as request:
        await socket.send(upgrade())
        await socket.receive_head()
        await request.send(b"POST /slow HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nfirst")
        await anyio.sleep(1.5 * Hurried.head_seconds)
        await request.send(b"-last")
        assert (await request.receive_head()).startswith(b"HTTP/1.1 200 ")
        await socket.send_text("still there")
        assert (await socket.receive_frame()).payload == b"still there"


@pytest.mark.parametrize(
    ("keep_alive", "size"), [(0.05, 40_000), (5, 40_000), (0.05, 20_000_000), (5, 20_000_000), (1000, 20_000_000)]
)
async def test_a_client_that_takes_nothing_of_its_answer_is_cut_off(size: int, keep_alive: float) -> None:
    """Also of an answer that fits into the server's buffers: so many small ones that the kernel takes no more."""
    async with large_answers(size, keep_alive) as (bound, state), connection(bound, receive_buffer=4096) as peer:
        while not state.connections:
            await anyio.sleep(0.01)
        with suppress(anyio.BrokenResourceError):  # it may be cut off before it has asked for everything
            for _ in range(20_000_000 // size):
                await peer.send(HEAD.encode() + (b"Connection: close\r\n\r\n" if keep_alive > 100 else b"\r\n"))
        while state.connections:
            await anyio.sleep(0.01)


async def test_a_client_that_reads_slowly_gets_it_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """In all it takes longer than it may take nothing."""
    monkeypatch.setattr(Hurried, "stall_seconds", 3.0)
    async with large_answers(8_000_000, 0.05) as (bound, _), connection(bound, receive_buffer=65536) as peer:
        await peer.send(HEAD.encode() + b"Connection: close\r\n\r\n")
        received = 0
        for _ in range(16):  # the kernel takes more only when it has room for a megabyte or so
            received += len(await peer.receive_some(450_000))
            await anyio.sleep(0.25)
        assert received + len(await peer.receive_rest()) > 8_000_000


@pytest.mark.parametrize(
    ("head", "more"),
    [("Content-Length: 1000", b"a"), ("Transfer-Encoding: chunked", b"1\r\na\r\n")],
)
@pytest.mark.parametrize("trickles", [False, True])
async def test_an_unread_body_does_not_keep_the_connection(head: str, more: bytes, trickles: bool) -> None:
    async with large_answers(10, 0.2) as (bound, state), connection(bound) as peer:
        await peer.send(f"{HEAD}{head}\r\n\r\n".encode())
        await peer.receive_head()
        await peer.receive_some(10)
        await peer.send(more)
        while state.connections:
            if trickles:
                with suppress(anyio.BrokenResourceError):
                    await peer.send(more)
            await anyio.sleep(0.01)


async def test_a_request_behind_an_unread_body_is_waited_for_as_any_other() -> None:
    """Its answer takes longer than an idle connection may live."""
    keep_alive = 2.0

    async def app(request: Request) -> PlainTextResponse:
        if request.method == "POST":
            await anyio.sleep(1.5 * keep_alive)
        return PlainTextResponse(request.method)

    async with large_answers(0, keep_alive, app) as (bound, _), connection(bound) as peer:
        await peer.send(HEAD.encode() + b"Content-Length: 2\r\n\r\n")
        await peer.receive_head()
        assert await peer.receive_some(3) == b"GET"
        await peer.send(b"{}" + HEAD.replace("GET", "POST").encode() + b"\r\n")
        assert (await peer.receive_head()).startswith(b"HTTP/1.1 200 ")
        assert await peer.receive_some(4) == b"POST"


# Size.


@pytest.mark.parametrize(
    "head",
    [
        b"GET /" + b"x" * 40_000,
        HEAD.encode() + b"X-Filler: " + b"x" * 40_000,
        HEAD.encode() + b"".join(b"X-%d: %s\r\n" % (n, b"x" * 1000) for n in range(40)),
        HEAD.encode() + b"".join(b"X-%d: x\r\n" % n for n in range(101)),
        upgrade(add=[f"X-{n}: {'x' * 1000}" for n in range(40)]),
        upgrade(add=[f"X-{n}: x" for n in range(101)]),
        upgrade(add=["X-Filler: " + "x" * 10_000]),
    ],
)
async def test_a_head_that_is_too_large_is_refused(head: bytes) -> None:
    assert (await answer(head)).startswith(b"HTTP/1.1 431 ")


async def test_a_client_that_goes_on_sending_reads_the_refusal() -> None:
    async with connected() as (_, peer):
        try:
            await peer.send(HEAD.encode() + b"X-Filler: " + b"x" * 4_000_000)
        finally:
            assert (await peer.receive_rest()).startswith(b"HTTP/1.1 431 ")


async def test_after_a_refusal_the_socket_is_closed_within_the_deadline() -> None:
    async with connected(Hurried) as (_, peer):
        await peer.send(b"nonsense\r\n\r\n")
        assert (await peer.receive_rest()).startswith(b"HTTP/1.1 400 ")
        # Our side is open still; sending fails once the server has closed its own for good.
        while True:
            try:
                await peer.send(b"more")
                await anyio.sleep(0.02)
            except anyio.BrokenResourceError:
                break


async def test_a_request_line_that_is_too_long_for_an_upgrade_is_refused() -> None:
    request = upgrade().replace(b"/attached", b"/attached?" + b"x" * 10_000)
    assert (await answer(request)).startswith(b"HTTP/1.1 414 ")


async def test_a_head_within_the_limits_is_served() -> None:
    async with connected() as (_, peer):
        await peer.send(upgrade(add=[f"X-{n}: {'x' * 300}" for n in range(90)]))
        assert (await peer.receive_head()).startswith(b"HTTP/1.1 101 ")


async def test_small_requests_may_be_as_many_as_a_client_likes() -> None:
    """Together they are far larger than one request's head may be."""
    async with connected() as (_, peer):
        for _ in range(200):
            await peer.send(HEAD.encode() + b"X-Filler: " + b"x" * 300 + b"\r\n\r\n")
            assert b"HTTP/1.1 404 " in await peer.receive_head()


# Upgrades.


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (upgrade().replace(b"GET", b"POST", 1), 405),
        (upgrade().replace(b"HTTP/1.1", b"HTTP/1.0", 1), 400),
        (upgrade(leave_out="Sec-WebSocket-Version", add=["Sec-WebSocket-Version: 8"]), 426),
        (upgrade(leave_out="Sec-WebSocket-Version"), 400),
        (upgrade(leave_out="Sec-WebSocket-Key"), 400),
        (upgrade(leave_out="Sec-WebSocket-Key", add=["Sec-WebSocket-Key: dG9vIHNob3J0"]), 400),
        (upgrade(add=["Content-Length: 5"]), 400),
        (upgrade(add=["Transfer-Encoding: chunked"]), 400),
        (upgrade(add=["Content-Length: 5", "Transfer-Encoding: chunked"]), 400),
        (upgrade() + client_frame(TEXT, b"too early"), 400),
        (upgrade(add=["X-Folded: a", " b"]), 400),
        (upgrade().replace(b"/attached", b"/\xff"), 400),
    ],
)
async def test_bad_upgrades_are_refused(request_: bytes, status: int) -> None:
    response = await answer(request_)
    assert response.startswith(b"HTTP/1.1 %d " % status)
    assert b"101 Switching" not in response


async def test_a_refused_version_names_the_right_one() -> None:
    """RFC 6455 section 4.4."""
    response = await answer(upgrade(leave_out="Sec-WebSocket-Version", add=["Sec-WebSocket-Version: 8"]))
    assert b"\r\nsec-websocket-version: 13\r\n" in response


async def test_a_connection_header_with_several_words_upgrades() -> None:
    """Firefox sends `keep-alive, Upgrade`."""
    async with connected() as (_, peer):
        await peer.send(upgrade(leave_out="Connection", add=["Connection: keep-alive, Upgrade"]))
        assert (await peer.receive_head()).startswith(b"HTTP/1.1 101 ")


# Requests that are no HTTP.


@pytest.mark.parametrize(
    "request_",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : x\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n",
    ],
)
async def test_broken_requests_are_refused(request_: bytes) -> None:
    assert b"HTTP/1.1 400 " in await answer(request_)


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nhost: x\r\n\r\n", 400),
        (b"GET / HTTP/1.0\r\nHost: x\r\nHost: y\r\n\r\n", 400),
        (upgrade(leave_out="Host"), 400),
        (upgrade(add=["Host: x"]), 400),
        (b"GET / HTTP/2.0\r\nHost: x\r\n\r\n", 505),
        (b"GET / HTTP/0.9\r\nHost: x\r\n\r\n", 505),
        (b"GET /\r\n\r\n", 505),
        (upgrade().replace(b"HTTP/1.1", b"HTTP/2.0", 1), 505),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", 501),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", 501),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: ,chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", 501),
        (
            b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            501,
        ),
    ],
)
async def test_heads_that_are_refused(request_: bytes, status: int) -> None:
    """RFC 9112 sections 3.2 and 6.1, and RFC 9110 section 15.6.6."""
    response = await answer(request_)
    assert response.startswith(b"HTTP/1.1 %d " % status)
    assert b"\r\nconnection: close\r\n" in response
    assert response.count(b"content-length:") == 1


@pytest.mark.parametrize(
    "request_",
    [
        b"GET / HTTP/1.0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost:\r\nConnection: close\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: Chunked\r\nConnection: close\r\n\r\n0\r\n\r\n",
    ],
)
async def test_heads_that_are_not_refused(request_: bytes) -> None:
    """HTTP/1.0 knows no Host, and it may be empty where a request has no authority."""
    assert (await answer(request_)).startswith(b"HTTP/1.1 404 ")


async def test_a_request_that_breaks_off_in_its_body_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    """The application sees its client go; it does not answer a second time."""
    seen: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        while not seen or seen[-1] == "http.request":
            seen.append((await receive())["type"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"late"})

    async with serving_app(app) as bound, connection(bound) as peer:
        await peer.send(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n")
        while not seen:
            await anyio.sleep(0.01)
        await peer.send(b"nonsense\r\n")
        response = await peer.receive_rest()
    assert response.startswith(b"HTTP/1.1 400 ")
    assert b"late" not in response
    assert seen == ["http.request", "http.disconnect"]
    assert caplog.text == ""


async def test_nonsense_behind_a_request_that_is_being_answered(caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is put into the middle of an answer: the connection is cut off."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"8")]})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        await receive()
        await send({"type": "http.response.body", "body": b"half"})

    async with serving_app(app) as bound, connection(bound) as peer:
        await peer.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await peer.receive_head()
        await peer.send(b"nonsense\r\n\r\n")
        assert await peer.receive_rest() == b"half"
    assert caplog.text == ""


async def test_trailers_are_counted() -> None:
    async with connected() as (_, peer):
        await peer.send(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n")
        assert (await peer.receive_head()).startswith(b"HTTP/1.1 404 ")
        await peer.send(b"".join(b"X-%d: x\r\n" % n for n in range(200)))
        assert b"HTTP/1.1 431 " in await peer.receive_rest()
