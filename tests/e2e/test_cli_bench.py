"""`imgateway bench` as a process, against the gateway and against servers that misbehave."""

import json
import os
import pty
import re
import signal
import ssl
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.abc
import anyio.to_thread
import attrs
import psutil
import pytest
from tests.e2e.gateway_process import gateway_process
from tests.e2e.running_gateway import SECRET, RunningGateway, Server, mint, running_gateway
from tests.faults.etcd_certificates import Authority
from websockets.asyncio.server import ServerConnection, serve
from websockets.typing import Subprotocol

IMGATEWAY = (sys.executable, "-m", "imgateway_cli")
CLEAN = {name: value for name, value in os.environ.items() if not name.startswith("IMGATEWAY_") and name != "NO_COLOR"}
WELCOME = '{"type": "welcome", "data": {"gatewayId": "gw", "userId": "u"}, "timestamp": 1}'

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def gateway() -> AsyncIterator[RunningGateway]:
    async with running_gateway(Server.SOCKET) as running:
        yield running


@attrs.frozen
class Ended:
    code: int
    output: str
    errors: str

    @property
    def report(self) -> dict[str, Any]:
        return json.loads(self.output)  # type: ignore[no-any-return]  # an object, or the test fails


async def run(command: str, url: str, *options: str, secret: str = SECRET) -> Ended:
    environ = {**CLEAN, "IMGATEWAY_AUTH__SECRET": secret}
    with anyio.fail_after(60):
        ended = await anyio.run_process(
            [*IMGATEWAY, "bench", command, url, *options], input=b"", check=False, env=environ
        )
    output, errors = ended.stdout.decode(), ended.stderr.decode()
    assert secret not in output + errors
    assert "Traceback" not in errors
    return Ended(ended.returncode, output, errors)


@asynccontextmanager
async def server(handler: Callable[[ServerConnection], Any], **options: Any) -> AsyncIterator[str]:
    """A server that plays the gateway's part."""
    async with serve(handler, "127.0.0.1", 0, subprotocols=[Subprotocol("imgateway.json.v1")], **options) as listening:
        scheme = "wss" if "ssl" in options else "ws"
        yield f"{scheme}://127.0.0.1:{next(iter(listening.sockets)).getsockname()[1]}/ws"


def answer(message: str | bytes, kind: str, **data: object) -> str:
    identity = json.loads(message)["data"]["client_msg_id"]
    return json.dumps({"type": kind, "data": {"client_msg_id": identity, **data}, "timestamp": 1})


# --- connect ---


async def test_connections_are_opened_held_and_closed(gateway: RunningGateway) -> None:
    ended = await run("connect", gateway.url(), "--connections", "40", "--hold", "0.2", "--json", "--processes", "2")
    assert ended.code == 0
    assert ended.errors == ""
    report = ended.report
    assert (report["command"], report["connections"], report["processes"]) == ("connect", 40, 2)
    assert (report["connect"]["opened"], report["connect"]["failed"], report["lost"]) == (40, {}, {})
    latency = report["connect"]["latency_ms"]
    assert latency["count"] == 40
    assert 0 < latency["min"] <= latency["p50"] <= latency["p90"] <= latency["p99"] <= latency["max"]
    assert report["interrupted"] is False
    assert len(report["cpu_percent"]) == 2
    assert gateway.observer.counts["connection_closed", "1000"] == 40


async def test_the_table_is_for_people(gateway: RunningGateway) -> None:
    ended = await run("connect", gateway.url(), "--connections", "3", "--rate", "100")
    assert ended.code == 0
    assert ended.output.startswith("connected     3 of 3")
    assert re.search(r"^handshake +p50 \S+ ms +p90 \S+ ms +p99 \S+ ms +max \S+ ms$", ended.output, re.MULTILINE)
    assert max(map(len, ended.output.splitlines())) <= 80


async def test_refused_tokens_are_told_by_their_reason(gateway: RunningGateway) -> None:
    ended = await run("connect", gateway.url(), "--connections", "3", secret=SECRET[::-1])
    assert ended.code == 1
    assert "failed        3  HTTP 401 UNAUTHENTICATED" in ended.output


async def test_tokens_of_others_are_taken_from_a_file(gateway: RunningGateway, tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text(f"{mint('ann')}\n{mint('bob')}\n{mint('eve', secret=SECRET[::-1])}\n")
    ended = await run("connect", gateway.url(), "--connections", "3", "--json", "--tokens", str(file))
    assert ended.code == 1
    assert ended.report["connect"]["opened"] == 2
    assert ended.report["connect"]["failed"] == {"HTTP 401 UNAUTHENTICATED": 1}
    assert file.read_text().split()[0] not in ended.output + ended.errors


async def test_nobody_there_is_told_at_once() -> None:
    async with server(lambda _: None) as url:
        pass
    ended = await run("connect", url, "--connections", "3")
    assert (ended.code, ended.output) == (1, "")
    assert ended.errors.startswith("error: can't connect to 127.0.0.1:")


async def test_connections_that_are_lost_and_pings_are_counted(tmp_path: Path) -> None:
    async def fickle(socket: ServerConnection) -> None:
        number = int(socket.request.headers["Authorization"][-1]) if socket.request else 0
        await socket.send('{"type": "error", "data": {"code": "OVERLOADED"}}' if number == 0 else WELCOME)
        await (await socket.ping())
        if number == 1:
            await socket.close(4509, "REPLACED")
        elif number == 2:
            socket.transport.abort()
        await socket.wait_closed()

    tokens = tmp_path / "tokens"
    tokens.write_text("0\n1\n2\n3\n")
    async with server(fickle) as url:
        ended = await run("connect", url, "--connections", "4", "--hold", "3", "--json", "--tokens", str(tokens))
    assert ended.code == 1
    assert ended.report["connect"]["failed"] == {"error OVERLOADED": 1}
    assert ended.report["lost"] == {"close 4509 REPLACED": 1, "close 1006, no close frame": 1}
    assert ended.report["pings_answered"] == 3


async def test_servers_that_are_no_gateway_are_told_apart() -> None:
    async def other(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            await stream.send(b"SSH-2.0-OpenSSH\r\n")

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, other)
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        ended = await run("connect", f"ws://127.0.0.1:{port}", "--connections", "2", "--json")
        tasks.cancel_scope.cancel()
    assert ended.code == 1
    assert ended.report["connect"]["failed"] == {"not HTTP": 2}


async def test_a_server_that_says_nothing_runs_into_the_timeout() -> None:
    async def silent(socket: ServerConnection) -> None:
        await socket.wait_closed()

    async with server(silent) as url:
        ended = await run("connect", url, "--connections", "2", "--json", "--timeout", "0.3")
    assert ended.code == 1
    assert ended.report["connect"]["failed"] == {"timeout": 2}


async def test_over_tls(tmp_path: Path) -> None:
    certificate, key = Authority(tmp_path, "authority").issue("server")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    async def greet(socket: ServerConnection) -> None:
        await socket.send(WELCOME)
        await socket.wait_closed()

    async with server(greet, ssl=context) as url:
        trusting = await run("connect", url, "--connections", "2", "--json", "--insecure")
        careful = await run("connect", url, "--connections", "2", "--json")
    assert (trusting.code, trusting.report["connect"]["opened"]) == (0, 2)
    assert careful.code == 1
    (reason,) = careful.report["connect"]["failed"]
    assert reason.startswith("TLS: ")


# --- up ---


async def test_messages_go_up_each_once(gateway: RunningGateway) -> None:
    ended = await run(
        "up", gateway.url(), "--connections", "5", "--window", "4", "--messages", "203", "--size", "50",
        "--conversations", "7", "--processes", "2", "--json",
    )  # fmt: skip
    assert ended.code == 0
    up = ended.report["up"]
    assert (up["sent"], up["accepted"], up["duplicates"], up["errors"], up["unanswered"]) == (203, 203, 0, {}, 0)
    assert up["latency_ms"]["count"] == 203
    records = gateway.upstream()
    assert len({record["client_msg_id"] for record in records}) == len(records) == 203
    assert {len(record["content"]) for record in records} == {50}
    assert len({record["conversation_id"] for record in records}) == 7
    assert {record["user_id"] for record in records} == {f"bench-{n}" for n in range(5)}


async def test_messages_go_up_at_a_rate(gateway: RunningGateway) -> None:
    ended = await run(
        "up", gateway.url(), "--connections", "3", "--rate", "400", "--duration", "0.5", "--processes", "2"
    )
    assert ended.code == 0
    assert "accepted      200 of 200" in ended.output
    assert len(gateway.upstream()) == 200


async def test_every_fate_of_a_message_is_counted() -> None:
    async def moody(socket: ServerConnection) -> None:
        await socket.send(WELCOME)
        for number in range(6):
            message = await socket.recv()
            if number == 0:
                await socket.send(answer(message, "message-ack", status="duplicate"))
            elif number == 1:
                await socket.send(answer(message, "error", code="RATE_LIMITED"))
            elif number == 2:
                await socket.send('{"type": "typing", "data": {"who": 1}}')
                await socket.send('{"type": "typing", "data": []}')
                await socket.send(answer(message, "message-ack", status="accepted"))
            elif number == 3:
                await socket.send(answer('{"data": {"client_msg_id": "not ours"}}', "message-ack"))
        await socket.close(1013, "OVERLOADED")

    async with server(moody) as url:
        ended = await run(
            "up", url, "--connections", "1", "--window", "6", "--messages", "9", "--json", "--timeout", "5"
        )
    assert ended.code == 1
    up = ended.report["up"]
    assert (up["accepted"], up["duplicates"], up["errors"]) == (1, 1, {"RATE_LIMITED": 1})
    assert (up["sent"], up["unanswered"]) == (9, 6)
    assert ended.report["lost"] == {"close 1013 OVERLOADED": 1}


async def test_latency_counts_from_when_a_message_was_due() -> None:
    async def stalls_once(socket: ServerConnection) -> None:
        await socket.send(WELCOME)
        first = await socket.recv()
        await anyio.sleep(0.5)
        await socket.send(answer(first, "message-ack", status="accepted"))
        async for message in socket:
            await socket.send(answer(message, "message-ack", status="accepted"))

    async with server(stalls_once) as url:
        # The last one is due 0.39 s after the beginning, and none but the first is sent before 0.5 s.
        options = ("--window", "1", "--rate", "100", "--messages", "40")
        ended = await run("up", url, "--connections", "1", *options, "--json")
    assert ended.code == 0
    assert ended.report["up"]["accepted"] == 40
    assert ended.report["up"]["latency_ms"]["min"] >= 100


async def test_a_gateway_that_stops_answering_does_not_hang_the_generator() -> None:
    async def deaf(socket: ServerConnection) -> None:
        await socket.send(WELCOME)
        await socket.wait_closed()

    async with server(deaf) as url:
        ended = await run("up", url, "--connections", "2", "--messages", "10", "--timeout", "2")
    assert ended.code == 1
    assert "unanswered    2" in ended.output


# --- the run itself ---


@asynccontextmanager
async def started(url: str, *options: str, **streams: Any) -> AsyncIterator[anyio.abc.Process]:
    environ = {**CLEAN, "IMGATEWAY_AUTH__SECRET": SECRET}
    command = [*IMGATEWAY, "bench", "up", url, "--connections", "2", "--duration", "60", "--processes", "2", *options]
    async with await anyio.open_process(command, env=environ, **streams) as process:
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()


async def everything(stream: anyio.abc.ByteReceiveStream | None) -> str:
    assert stream is not None
    return b"".join([chunk async for chunk in stream]).decode()


async def messages_in(gateway: RunningGateway) -> None:
    with anyio.fail_after(60):
        while len(gateway.upstream()) < 20:
            await anyio.sleep(0.02)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_ends_it_with_a_report(gateway: RunningGateway, number: signal.Signals) -> None:
    async with started(gateway.url(), "--rate", "200", "--json") as process:
        await messages_in(gateway)
        # As a terminal does it: to all of its processes.
        for child in psutil.Process(process.pid).children() if number == signal.SIGINT else ():
            child.send_signal(number)
        process.send_signal(number)
        with anyio.fail_after(60):
            report = json.loads(await everything(process.stdout))
            assert await process.wait() == 0
            assert await everything(process.stderr) == ""
    assert report["interrupted"] is True
    assert report["up"]["accepted"] == report["up"]["sent"] == len(gateway.upstream())


async def test_a_process_that_dies_is_an_error(gateway: RunningGateway) -> None:
    async with started(gateway.url(), "--rate", "200") as process:
        await messages_in(gateway)
        workers = [
            child for child in psutil.Process(process.pid).children() if "spawn_main" in " ".join(child.cmdline())
        ]
        workers[-1].kill()
        with anyio.fail_after(60):
            assert await process.wait() == 1
            assert re.search(r"^error: process \d of the load ended before its time", await everything(process.stderr))
        assert not [worker for worker in workers if worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE]


async def test_a_terminal_sees_how_far_it_is(gateway: RunningGateway) -> None:
    ours, theirs = pty.openpty()
    async with started(gateway.url(), "--rate", "200", stderr=theirs) as process:
        os.close(theirs)
        seen = ""
        with anyio.fail_after(60):
            while not re.search(r"sending +[█░]{20} +\d+% +\S+ s  [1-9]\d* accepted", seen):
                seen += (await anyio.to_thread.run_sync(os.read, ours, 65536)).decode(errors="replace")
            process.send_signal(signal.SIGINT)
            assert (await everything(process.stdout)).startswith("Ended early")
            assert await process.wait() == 0
        os.close(ours)


async def test_down_says_that_kafka_is_not_there() -> None:
    async with gateway_process() as gateway:
        url = await gateway.url()
        ended = await run("down", url, "--connections", "1", "--kafka", "127.0.0.1:1")
    assert ended.code == 1
    assert ended.errors.startswith("error: Kafka: 127.0.0.1:1: ")
