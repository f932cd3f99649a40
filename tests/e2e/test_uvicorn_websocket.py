"""Connections that hand out their socket, and those that don't."""

import asyncio
import gc
import logging
import weakref
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from starlette.websockets import WebSocket
from tests.e2e.raw_connections import (
    ImpatientProtocol,
    attach,
    attaching,
    becomes,
    echoing,
    peer,
)
from websockets.asyncio.client import connect

from imgateway.adapters.uvicorn import GatewayWebSocketProtocol
from imgateway.adapters.uvicorn.transport import SocketTransport
from imgateway.adapters.uvicorn.websocket import frame_parser
from imgateway.errors import LifecycleError
from imgateway.testing.raw_peer import BINARY, CONTINUATION, PING, PONG, TEXT, RawPeer, client_frame, upgrade_request
from imgateway.testing.transport import RecordingListener
from imgateway.wire.frames import text_frame

pytestmark = pytest.mark.anyio

CANARY = "canary-token-7f3a"


@pytest.fixture(params=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return "asyncio", {"use_uvloop": request.param == "uvloop"}


@pytest.fixture(params=["picows", "asgi"], autouse=True)
def _parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(GatewayWebSocketProtocol, "parser", staticmethod(frame_parser(request.param)))


# Handing over.


async def test_what_arrived_before_is_told_first() -> None:
    """Messages, a ping, and the beginning of a fragmented message, between the upgrade and the attachment."""
    listener = RecordingListener()
    go_on = anyio.Event()
    offers: list[Any] = []

    async def endpoint(socket: WebSocket) -> None:
        await socket.accept()
        offers.append(socket.scope["extensions"]["imgateway"])
        await go_on.wait()
        transport = attach(socket, listener)
        assert listener.told == []
        transport.pause_reading()
        transport.resume_reading()

    async with attaching(endpoint) as (_, bound), peer(bound, "/own") as client:
        await client.send(client_frame(TEXT, b"one") + client_frame(PING, b"ping") + client_frame(BINARY, b"two"))
        await client.send(client_frame(TEXT, b"thr", fin=False))
        await becomes(lambda: bool(offers))
        go_on.set()
        assert (await client.receive_frame()).opcode == PONG
        await client.send(client_frame(CONTINUATION, b"ee"))
        await listener.until(lambda: len(listener.messages) == 3)
        assert listener.messages == ["one", b"two", "three"]


@pytest.mark.parametrize("ending", ["reset", "close", "violation"])
async def test_a_connection_that_ended_before(ending: str) -> None:
    listener = RecordingListener()
    go_on = anyio.Event()

    async def endpoint(socket: WebSocket) -> None:
        await socket.accept()
        await go_on.wait()
        transport = attach(socket, listener)
        transport.write([text_frame(b"nobody")])
        transport.ping()
        transport.pause_reading()
        transport.resume_reading()

    async with attaching(endpoint) as (_, bound), peer(bound, "/own") as client:
        if ending == "reset":
            await client.reset()
        elif ending == "close":
            await client.send_close(1000)
        else:
            await client.send(client_frame(TEXT, b"x", masked=False))
        await anyio.sleep(0.05)
        go_on.set()
        code = await listener.until_lost()
        assert code == {"reset": 1006, "violation": 1002}.get(ending, 1000)
        assert listener.count("lost") == 1


async def test_only_once_and_only_after_the_upgrade() -> None:
    listener = RecordingListener()
    raised: list[str] = []

    async def endpoint(socket: WebSocket) -> None:
        for step in ("before", "first", "second"):
            if step == "first":
                await socket.accept()
            try:
                attach(socket, listener)
            except LifecycleError:
                raised.append(step)

    async with attaching(endpoint) as (_, bound), peer(bound, "/own") as client:
        assert raised == ["before", "second"]
        await client.send_text("alive")
        await listener.until_told("receive_text")


async def test_an_application_that_stays() -> None:
    """It receives nothing but the end, and sends in vain."""
    listener = RecordingListener()
    received: list[Any] = []

    async def endpoint(socket: WebSocket) -> None:
        await socket.accept()
        attach(socket, listener)
        received.append(await socket.receive())

    async with attaching(endpoint) as (_, bound), peer(bound, "/own") as client:
        await client.send_text("past the application")
        await listener.until_told("receive_text")
        await client.send_close(4999)
        await listener.until_lost()
        await becomes(lambda: bool(received))
    assert received == [{"type": "websocket.disconnect", "code": 4999, "reason": ""}]


async def test_an_application_that_fails_ends_the_connection(caplog: pytest.LogCaptureFixture) -> None:
    listener = RecordingListener()

    async def endpoint(socket: WebSocket) -> None:
        await socket.accept()
        attach(socket, listener)
        raise RuntimeError("a bug")

    async with attaching(endpoint) as (_, bound), peer(bound, "/own") as client:
        assert await client.receive_close() == 1011
        await client.send_close(1011)
        assert await listener.until_lost() == 1011
    assert "a bug" in caplog.text


async def test_a_listener_that_fails_ends_its_connection_only() -> None:
    listener = RecordingListener()

    def fail() -> None:
        raise RuntimeError("a bug")

    async def endpoint(socket: WebSocket) -> None:
        await socket.accept()
        attach(socket, listener)

    reported: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: reported.append(context["exception"]))
    async with attaching(endpoint) as (_, bound), peer(bound, "/own") as client, peer(bound) as other:
        listener.on("receive_text", fail)
        await client.send_text("boom")
        assert await listener.until_lost() == 1006
        await other.send_text("alive")
        assert (await other.receive_frame()).payload == b"alive"
    assert [str(error) for error in reported] == ["a bug"]


async def test_an_idle_connection_keeps_nothing_of_its_request() -> None:
    """Neither the protocol object, nor the scope, nor the headers outlive the application."""
    kept: list[weakref.ref[Any]] = []
    listener = RecordingListener()

    async def endpoint(socket: WebSocket) -> None:
        await socket.accept()
        offer = socket.scope["extensions"]["imgateway"]
        kept.append(weakref.ref(offer))
        offer.attach(listener)

    async with attaching(endpoint) as (_, bound), peer(bound, "/own", headers=[("X-Filler", "x" * 4000)]) as client:
        await client.send_text("attached")
        await listener.until_told("receive_text")
        await becomes(lambda: gc.collect() >= 0 and kept[0]() is None)


async def test_frames_of_one_call_leave_in_one_write() -> None:
    async with echoing() as (host, bound), peer(bound) as client:
        transport = host.echoes[0].transport
        assert isinstance(transport, SocketTransport)
        writes: list[bytes] = []
        socket = transport.transport

        class Recording:
            def write(self, data: bytes) -> None:
                writes.append(data)
                socket.write(data)

            def __getattr__(self, name: str) -> Any:
                return getattr(socket, name)

        transport.transport = Recording()  # type: ignore[assignment]  # passes everything on
        frames = [text_frame(b"%d" % n) for n in range(100)]
        transport.write(frames)
        assert writes == [b"".join(frame.wire for frame in frames)]
        assert [(await client.receive_frame()).payload for _ in frames] == [frame.payload for frame in frames]


async def test_uvicorns_keepalive_ends_with_the_attachment() -> None:
    class PingingProtocol(ImpatientProtocol):
        def __init__(self, config: Any, *args: Any, **options: Any) -> None:
            config.ws_ping_interval = config.ws_ping_timeout = 0.02
            super().__init__(config, *args, **options)

    reported: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: reported.append(context))
    async with echoing(ws=PingingProtocol) as (_, bound), peer(bound) as client, peer(bound, "/plain") as other:
        assert (await other.receive_frame()).opcode == PING
        assert await other.receive_close() == 1011
        await client.send_text("the first frame to arrive")
        assert (await client.receive_frame()).payload == b"the first frame to arrive"
    assert reported == []


# The others.


async def test_routes_that_do_not_attach_work_as_ever() -> None:
    async with echoing() as (_, bound), connect(f"ws://{bound.host}:{bound.port}/plain", proxy=None) as client:
        assert client.protocol.extensions == []
        for message in ("text", b"binary", "x" * 100_000):
            await client.send(message)
            assert await client.recv() == message
        await client.send(["frag", "ments"])
        assert await client.recv() == "fragments"
        await (await client.ping())
        await client.close(4001, "bye")
        assert client.close_code == 4001


async def test_compression_is_never_negotiated() -> None:
    headers = [("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits")]
    async with echoing() as (_, bound):
        client = await RawPeer.connect(bound.host, bound.port)
        await client.send(upgrade_request("/attached", headers))
        assert b"extensions" not in (await client.receive_head()).lower()
        await client.aclose()


async def test_no_log_line_carries_the_token(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """However finely the loggers are set."""
    headers = [("Authorization", f"Bearer {CANARY}")]
    async with echoing() as (_, bound):
        caplog.set_level(1)
        for name in ("uvicorn.error", "uvicorn.access", "imgateway.uvicorn", "websockets.server"):
            caplog.set_level(1, name)
        monkeypatch.setattr(logging.getLogger("uvicorn.access"), "propagate", True)
        for target in ("/attached", "/plain"):
            async with peer(bound, f"{target}?token={CANARY}", headers=headers) as client:
                await client.send_text(CANARY)
                assert (await client.receive_frame()).payload == CANARY.encode()
                await client.send(client_frame(TEXT, CANARY.encode(), masked=False))
                await client.receive_close()
        with pytest.raises(ConnectionError):
            await RawPeer.upgraded(bound.host, bound.port, f"/nowhere?token={CANARY}", headers=headers)
        client = await RawPeer.connect(bound.host, bound.port)
        await client.send(f"GET /?token={CANARY} HTTP/1.1\r\nAuthorization: {CANARY}\r\n\r\n".encode())
        await client.receive_head()
        await client.send(f"broken {CANARY}\r\n\r\n".encode())
        await client.receive_rest()
        await client.aclose()
    assert logging.getLogger("imgateway.uvicorn").isEnabledFor(logging.INFO)
    assert CANARY not in caplog.text
