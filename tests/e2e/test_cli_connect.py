"""`imgateway connect` as a process, against the gateway and against servers that misbehave."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.abc
import anyio.to_thread
import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from imgateway.adapters.jwt import mint_token

SECRET = "9tJfXq2mVw8Lr5Zc1Yk7Hb4Nd6Gs3Pa0"
IMGATEWAY = (sys.executable, "-m", "imgateway_cli")
CLEAN = {name: value for name, value in os.environ.items() if not name.startswith("IMGATEWAY_") and name != "NO_COLOR"}

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"  # the websockets library's server is asyncio's


@asynccontextmanager
async def gateway() -> AsyncIterator[str]:
    """`imgateway serve` on free ports; gives its address."""
    environ = {**CLEAN, "IMGATEWAY_AUTH__SECRET": SECRET, "IMGATEWAY_SERVER__ADMIN_PORT": "0"}
    process = await anyio.open_process([*IMGATEWAY, "serve", "--port", "0"], env=environ)
    assert process.stderr is not None
    log = ""
    async with process:
        while "ready" not in log:
            log += (await process.stderr.receive()).decode()
        (url,) = re.findall(r"ws://[^\"]+", log)
        yield url
        process.terminate()
        with anyio.fail_after(60):
            assert await process.wait() == 0


@asynccontextmanager
async def server(
    handler: Callable[[ServerConnection], Any], refuse: Callable[[Request], Response | None] = lambda _: None
) -> AsyncIterator[str]:
    """A server that plays the gateway's part; gives its address."""
    async with serve(
        handler,
        "127.0.0.1",
        0,
        subprotocols=[Subprotocol("imgateway.json.v1")],
        process_request=lambda _, request: refuse(request),
    ) as listening:
        yield f"ws://127.0.0.1:{next(iter(listening.sockets)).getsockname()[1]}/ws"


class Ended:
    def __init__(self, process: "subprocess.CompletedProcess[bytes]") -> None:
        self.code = process.returncode
        self.frames = process.stdout.decode()
        self.notices = process.stderr.decode()


async def connect(url: str, typed: str = "", *options: str, token: str = "x.y.z", **environ: str) -> Ended:
    with anyio.fail_after(60):
        return Ended(
            await anyio.run_process(
                [*IMGATEWAY, "connect", url, *options],
                input=typed.encode(),
                check=False,
                env={**CLEAN, "IMGATEWAY_TOKEN": token, **environ},
            )
        )


async def until_ack(socket: ServerConnection) -> None:
    """Greet, acknowledge one message, and leave it to the client to end."""
    await socket.send('{"type": "welcome", "data": {}, "timestamp": 1}')
    async for _ in socket:
        await socket.send('{"type": "message-ack", "data": {}, "timestamp": 1}')


async def test_text_becomes_a_message_and_json_is_sent_as_it_is() -> None:
    token = mint_token("alice", secret=SECRET, ttl_seconds=60)
    typed = 'hello 世界\n\n{"type": "ping"}\n{"type": "nonsense", "data": {}}\nlast line without an end'
    async with gateway() as url:
        ended = await connect(url, typed, "--conversation", "c-7", "--wait", "6", token=token)
    assert ended.code == 0
    lines = [re.sub(r"^\d\d:\d\d:\d\d\.\d{3} ", "", line) for line in ended.frames.splitlines()]
    sent = [line.removeprefix("→ ") for line in lines if line.startswith("→ ")]
    received = [line.removeprefix("← ") for line in lines if line.startswith("← ")]
    assert len(sent) + len(received) == len(lines)
    assert [line.partition(" ")[0] for line in sent] == ["send-message", "ping", "nonsense", "send-message"]
    assert {line.partition(" ")[0] for line in received} == {"welcome", "message-ack", "pong", "error"}
    first = json.loads(sent[0].partition(" ")[2])
    assert first["content"] == "hello 世界"
    assert (first["conversationId"], first["messageType"]) == ("c-7", 1)
    acks = [json.loads(line.partition(" ")[2]) for line in received if line.startswith("message-ack")]
    assert [ack["status"] for ack in acks] == ["accepted", "accepted"]
    assert acks[0]["client_msg_id"] == first["client_msg_id"]
    assert "\x1b" not in ended.frames + ended.notices


async def test_a_line_that_is_meant_as_json_and_is_none_is_not_sent() -> None:
    async with server(until_ack) as url:
        ended = await connect(url, '{bad json\n{"type": "ping"}}\n {as text\n')
    assert ended.code == 0
    assert ended.notices.count("not sent, as it is not valid JSON") == 2
    (sent,) = (line for line in ended.frames.splitlines() if "→" in line)
    assert '"content": " {as text"' in sent


async def test_a_refusal_is_explained() -> None:
    async with gateway() as url:
        ended = await connect(url)
        with_frame = await connect(f"{url}?errors=frame")
    assert ended.code == with_frame.code == 1
    assert ended.frames == ""
    assert "refused: 401 Authentication required; " in ended.notices
    assert "code UNAUTHENTICATED" in ended.notices
    assert '← error {"code": "UNAUTHENTICATED"' in with_frame.frames
    assert "closed 4501: Authentication required; connecting again would end the same way" in with_frame.notices


async def test_the_token_travels_in_the_header_alone() -> None:
    requests: list[Request] = []

    async def close(socket: ServerConnection) -> None:
        assert socket.request is not None
        requests.append(socket.request)
        await socket.close(1000)

    async with server(close) as url:
        ended = await connect(url, token="canary.token.value")
        by_option = await connect(url, "", "--token", "canary.token.value", token="")
    assert ended.code == by_option.code == 0
    for request in requests:
        assert request.path == "/ws"
        assert request.headers["Authorization"] == "Bearer canary.token.value"
        assert request.headers["Sec-WebSocket-Protocol"] == "imgateway.json.v1"
        assert "Origin" not in request.headers
    assert len(requests) == 2
    assert "canary" not in ended.frames + ended.notices


@pytest.mark.parametrize(
    ("code", "reason", "notice", "exit_code"),
    [
        (1000, "", "closed 1000: OK\n", 0),
        (4001, "TOKEN_EXPIRED", "closed 4001: Token expired; connect again\n", 1),
        (1013, "UNAVAILABLE", "closed 1013: Unavailable; connect again\n", 1),
        (1013, "", "closed 1013: Overloaded or Unavailable; connect again\n", 1),
        (4509, "REPLACED", "closed 4509: Replaced by a newer connection; connecting again would end the same way\n", 1),
        (
            1002,
            "bad \x1b[31mframe",
            "protocol error (bad \\x1b[31mframe); connecting again would end the same way\n",
            1,
        ),
        (4777, "", "closed 4777: unknown code; connecting again would end the same way\n", 1),
    ],
)
async def test_a_close_code_is_explained(code: int, reason: str, notice: str, exit_code: int) -> None:
    async def close(socket: ServerConnection) -> None:
        await socket.close(code, reason)

    async with server(close) as url:
        ended = await connect(url, "too late\n", "--wait", "30")
    assert ended.code == exit_code
    assert notice in ended.notices


async def test_a_connection_that_breaks_is_told() -> None:
    async def cut(socket: ServerConnection) -> None:
        socket.transport.abort()

    async with server(cut) as url:
        ended = await connect(url, "", "--wait", "30")
    assert ended.code == 1
    assert "closed 1006: abnormal closure" in ended.notices


async def test_a_refusal_without_a_problem_body_is_told_as_well() -> None:
    def refuse(_: Request) -> Response:
        return Response(503, "whatever", Headers({"Retry-After": "7", "Content-Length": "4"}), b"\x1b[31")

    async with server(until_ack, refuse) as url:
        ended = await connect(url)
    assert ended.code == 1
    assert "refused: 503 Service Unavailable; try again after 7 s\n" in ended.notices
    assert "\x1b" not in ended.notices


async def test_frames_can_not_drive_the_terminal() -> None:
    async def hostile(socket: ServerConnection) -> None:
        for text in ("\x1b[2J", '{"type": "\\u001b[31m", "data": {"a": "\\u009b31m\\u202e"}}', "[]", '"\x85"', "1e999"):
            await socket.send(text)
        await socket.send(b"\x1b[2J")
        await socket.close(1000)

    async with server(hostile) as url:
        ended = await connect(url, "", "--wait", "30")
    assert ended.code == 0
    lines = ended.frames.splitlines()
    assert len(lines) == 6
    assert all(line.isprintable() for line in lines)
    assert lines[-1].endswith("← binary 4 bytes")


async def test_replies_are_awaited_after_the_end_of_a_pipe_and_only_as_long_as_asked() -> None:
    async def slow(socket: ServerConnection) -> None:
        await socket.recv()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(socket.wait_closed)
            await anyio.sleep(0.2)  # nothing tells that the client's input has ended: a moment later it has
            await socket.send('{"type": "late", "data": null}')

    async with server(slow) as url:
        ended = await connect(url, "x\n", "--wait", "4")
    assert ended.code == 0
    assert "← late null" in ended.frames
    assert "closed" not in ended.notices


async def test_nobody_there_is_exit_code_1() -> None:
    async with server(until_ack) as url:
        pass
    ended = await connect(url)
    assert ended.code == 1
    assert "can't connect: " in ended.notices


async def test_something_else_there_is_exit_code_1() -> None:
    async def other(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            await stream.send(b"SSH-2.0-OpenSSH\r\n")

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, other)
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        ended = await connect(f"ws://127.0.0.1:{port}/ws")
        tasks.cancel_scope.cancel()
    assert ended.code == 1
    assert "not a WebSocket: " in ended.notices


@pytest.mark.parametrize("url", ["http://127.0.0.1/ws", "127.0.0.1:8080", "ws://", "ws://u:p@host/", "ws://h:99999/"])
async def test_only_websocket_addresses(url: str) -> None:
    ended = await connect(url)
    assert ended.code == 2
    assert "expected an address like" in ended.notices


@pytest.mark.parametrize("token", ["", "a b", "a\r\nX-Forged: 1", "ü"])
async def test_only_tokens_that_fit_into_a_header(token: str) -> None:
    ended = await connect("ws://127.0.0.1:1/ws", token=token)
    assert ended.code == 2
    assert "token" in ended.notices.lower()


async def test_the_path_is_ws_where_none_is_given() -> None:
    paths: list[str] = []

    def note(request: Request) -> None:
        paths.append(request.path)

    async def close(socket: ServerConnection) -> None:
        await socket.close(1000)

    async with server(close, note) as url:
        await connect(url.removesuffix("/ws"))
        await connect(url.removesuffix("/ws") + "/?device_id=d")
    assert paths == ["/ws", "/ws?device_id=d"]


@pytest.mark.parametrize("end", ["Ctrl-D", "Ctrl-C"])
async def test_a_person_types_sees_colours_and_ends(end: str) -> None:
    ours, theirs = pty.openpty()
    closed = anyio.Event()
    codes: list[int | None] = []

    async def note(socket: ServerConnection) -> None:
        await until_ack(socket)
        codes.append(socket.close_code)
        closed.set()

    async with server(note) as url:
        process = await anyio.open_process(
            [*IMGATEWAY, "connect", url, "--token", "x.y.z"],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=CLEAN,
            start_new_session=True,
        )
        os.close(theirs)
        seen = ""
        with anyio.fail_after(60):
            while "welcome" not in seen:
                seen += (await anyio.to_thread.run_sync(os.read, ours, 65536)).decode()
            os.write(ours, b"hi\n")
            while "message-ack" not in seen:
                seen += (await anyio.to_thread.run_sync(os.read, ours, 65536)).decode()
            if end == "Ctrl-D":
                os.write(ours, b"\x04")
            else:
                process.send_signal(signal.SIGINT)
            assert await process.wait() == 0
            await closed.wait()
        await process.aclose()
        os.close(ours)
    assert "\x1b[" in seen
    assert '"content": "hi"' in seen
    assert "Traceback" not in seen
    assert codes == [1000]
