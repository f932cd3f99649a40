"""`imgateway bench rest` as a process, against the gateway and against servers that misbehave."""

import asyncio
import json
import os
import re
import signal
import ssl
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.abc
import attrs
import jwt
import pytest
from anyio.streams.tls import TLSListener
from click.testing import CliRunner, Result
from tests.e2e.running_gateway import SECRET, RunningGateway, Server, mint, running_gateway
from tests.faults.etcd_certificates import Authority
from tests.rest_back_end import BackEnd

from imgateway.core.settings_grpc import GrpcSettings
from imgateway_cli.main import cli

IMGATEWAY = (sys.executable, "-m", "imgateway_cli", "bench", "rest")
CLEAN = {name: value for name, value in os.environ.items() if not name.startswith("IMGATEWAY_") and name != "NO_COLOR"}
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def back_end() -> BackEnd:
    return BackEnd()


@pytest.fixture
async def gateway(back_end: BackEnd) -> AsyncIterator[RunningGateway]:
    async with running_gateway(Server.SOCKET, grpc=GrpcSettings(), transcoder=back_end.transcoder()) as running:
        yield running


@attrs.frozen
class Ended:
    code: int
    output: str
    errors: str

    @property
    def report(self) -> dict[str, Any]:
        return json.loads(self.output)  # type: ignore[no-any-return]  # an object, or the test fails

    @property
    def rest(self) -> dict[str, Any]:
        return self.report["rest"]  # type: ignore[no-any-return]  # the same


async def run(url: str, *options: str, **environ: str) -> Ended:
    with anyio.fail_after(60):
        ended = await anyio.run_process([*IMGATEWAY, url, *options], input=b"", check=False, env={**CLEAN, **environ})
    output, errors = ended.stdout.decode(), ended.stderr.decode()
    assert SECRET not in output + errors
    assert "Traceback" not in errors
    return Ended(ended.returncode, output, errors)


@attrs.define
class Seen:
    """What a server was asked: the requests' heads, and how many connections there were."""

    requests: list[str] = attrs.field(factory=list)
    connections: int = 0


Script = Callable[[anyio.abc.SocketStream, Seen], Awaitable[None]]


@asynccontextmanager
async def server(script: Script, tls: ssl.SSLContext | None = None) -> AsyncIterator[tuple[str, Seen]]:
    """A server that plays the gateway's part: `script` answers one request."""
    seen = Seen()

    async def serve(stream: Any) -> None:
        seen.connections += 1
        async with stream:
            rest = b""
            try:
                while True:
                    while b"\r\n\r\n" not in rest:
                        rest += await stream.receive()
                    head, _, rest = rest.partition(b"\r\n\r\n")
                    seen.requests.append(head.decode())
                    await script(stream, seen)
            except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
                pass

    listener: Any = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = listener.extra(anyio.abc.SocketAttribute.local_port)
    if tls is not None:
        listener = TLSListener(listener, tls, standard_compatible=False)
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, serve)
        yield f"{'http' if tls is None else 'https'}://127.0.0.1:{port}", seen
        tasks.cancel_scope.cancel()


async def fine(stream: anyio.abc.SocketStream, _: Seen) -> None:
    await stream.send(OK)


# --- against the gateway ---


async def test_each_request_is_made_once_and_answered(gateway: RunningGateway, back_end: BackEnd) -> None:
    ended = await run(
        gateway.http_url("/api/public?x=1"), "--connections", "5", "--requests", "203", "--processes", "2", "--json"
    )
    assert (ended.code, ended.errors) == (0, "")
    report, rest = ended.report, ended.rest
    assert (report["command"], report["connections"], report["processes"]) == ("rest", 5, 2)
    assert (report["connect"]["opened"], report["connect"]["failed"]) == (5, {})
    assert (rest["requests"], rest["succeeded"], rest["statuses"]) == (203, 203, {"200": 203})
    assert (rest["errors"], rest["unanswered"], rest["reconnects"]) == ({}, 0, 0)
    latency = rest["latency_ms"]
    assert latency["count"] == 203
    assert 0 < latency["min"] <= latency["p50"] <= latency["p90"] <= latency["p99"] <= latency["max"]
    assert len(back_end.requests) == 203
    assert {request.query for request in back_end.requests} == {"x=1"}


async def test_requests_are_made_at_a_rate(gateway: RunningGateway, back_end: BackEnd) -> None:
    ended = await run(
        gateway.http_url("/"), "--path", "/api/public", "--connections", "3", "--rate", "400", "--seconds", "0.5"
    )
    assert ended.code == 0
    assert re.search(r"^succeeded +200 of 200 +in \S+ s +\S+/s$", ended.output, re.MULTILINE)
    assert max(map(len, ended.output.splitlines())) <= 80
    assert len(back_end.requests) == 200


async def test_whoever_asks_is_known_by_a_token_signed_here(gateway: RunningGateway, back_end: BackEnd) -> None:
    url, few = gateway.http_url("/api/notes"), ("--requests", "3", "--connections", "1")
    ended = await run(url, *few, "--user-id", "ann", "--body", '{"text": "é"}', IMGATEWAY_AUTH__SECRET=SECRET)
    assert ended.code == 0, ended.output
    assert [(request.identity and request.identity.user_id) for request in back_end.requests] == ["ann"] * 3
    assert {request.body.decode() for request in back_end.requests} == {'{"text": "é"}'}


async def test_a_token_made_elsewhere_is_used_and_not_shown(gateway: RunningGateway, back_end: BackEnd) -> None:
    url, few = gateway.http_url("/api/me"), ("--requests", "3", "--connections", "1", "--json")
    token = mint("eve")
    for ended in (await run(url, *few, "--token", token), await run(url, *few, IMGATEWAY_TOKEN=token)):
        assert ended.code == 0
        assert token not in ended.output + ended.errors
    assert {request.identity and request.identity.user_id for request in back_end.requests} == {"eve"}


async def test_refusals_are_told_by_status_and_code(gateway: RunningGateway, back_end: BackEnd) -> None:
    few = ("--requests", "3", "--connections", "1", "--json")
    ended = await run(gateway.http_url("/api/me"), *few)
    assert ended.code == 1
    assert ended.rest["statuses"] == {"401": 3}
    assert ended.rest["errors"] == {"HTTP 401 UNAUTHENTICATED": 3}
    assert (ended.rest["succeeded"], ended.rest["latency_ms"]["count"]) == (0, 0)
    ended = await run(gateway.http_url("/nowhere"), *few[:-1], "--method", "delete")
    assert "errors        3  HTTP 404 NOT_FOUND" in ended.output


async def test_a_stream_is_an_answer_too(gateway: RunningGateway) -> None:
    ended = await run(gateway.http_url("/api/counts"), "--requests", "4", "--connections", "2", "--json")
    assert (ended.code, ended.rest["succeeded"]) == (0, 4)


# --- servers that misbehave ---


async def test_connections_are_kept_alive_and_every_request_is_the_same() -> None:
    async with server(fine) as (url, seen):
        ended = await run(f"{url}/a", "--connections", "2", "--requests", "20", "--processes", "1", "--json")
    assert (ended.code, ended.rest["reconnects"]) == (0, 0)
    assert seen.connections == 3  # one before all, to see whether anybody is there
    assert len(seen.requests) == 20
    assert set(seen.requests) == {
        f"GET /a HTTP/1.1\r\nHost: {url.removeprefix('http://')}\r\nAccept: */*\r\nUser-Agent: imgateway-bench"
    }


async def test_connections_that_the_server_ends_are_made_anew() -> None:
    async def closing(stream: anyio.abc.SocketStream, seen: Seen) -> None:
        if len(seen.requests) % 2:
            await stream.send(OK)
        else:
            await stream.send(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
            await stream.aclose()

    async with server(closing) as (url, seen):
        ended = await run(url, "--connections", "1", "--requests", "10", "--json")
    assert (ended.code, ended.rest["succeeded"], ended.rest["errors"]) == (0, 10, {})
    assert ended.rest["reconnects"] == 4
    assert len(seen.requests) == 10


async def test_every_fate_of_a_request_is_counted() -> None:
    async def moody(stream: anyio.abc.SocketStream, seen: Seen) -> None:
        number = len(seen.requests)
        if number == 1:
            await stream.send(OK)
        elif number == 2:
            await stream.aclose()
        elif number == 3:
            await stream.send(b"SSH-2.0-OpenSSH\r\n")
        elif number == 4:
            await anyio.sleep_forever()
        elif number == 5:
            await stream.send(b'HTTP/1.1 503 Busy\r\ncontent-length: 21\r\n\r\n{"code":"OVERLOADED"}')
        else:
            await stream.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n")

    async with server(moody) as (url, _):
        ended = await run(url, "--connections", "1", "--requests", "7", "--timeout", "3", "--json")
    assert ended.code == 1
    rest = ended.rest
    assert (rest["requests"], rest["succeeded"], rest["statuses"]) == (7, 3, {"200": 3, "503": 1})
    assert rest["errors"] == {"hung up": 1, "not HTTP": 1, "timeout": 1, "HTTP 503 OVERLOADED": 1}
    assert (rest["unanswered"], rest["reconnects"]) == (0, 3)


async def test_a_server_that_goes_away_is_counted() -> None:
    async def vanish(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if await reader.read(1):  # not the one that only looks whether anybody is there
            listening.close()
        writer.close()

    listening = await asyncio.start_server(vanish, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    ended = await run(f"http://127.0.0.1:{port}", "--connections", "1", "--requests", "5", "--json")
    assert ended.code == 1
    assert ended.rest["errors"] == {"connection refused": 4, "hung up": 1}


async def test_latency_counts_from_when_a_request_was_due() -> None:
    async def stalls_once(stream: anyio.abc.SocketStream, seen: Seen) -> None:
        if len(seen.requests) == 1:
            await anyio.sleep(0.5)
        await stream.send(OK)

    async with server(stalls_once) as (url, _):
        # The last one is due 0.39 s after the beginning, and none but the first is sent before 0.5 s.
        ended = await run(url, "--connections", "1", "--rate", "100", "--requests", "40", "--json")
    assert (ended.code, ended.rest["succeeded"]) == (0, 40)
    assert ended.rest["latency_ms"]["min"] >= 100


async def test_a_server_that_never_answers_does_not_hang_the_generator() -> None:
    async def deaf(_: anyio.abc.SocketStream, __: Seen) -> None:
        await anyio.sleep_forever()

    async with server(deaf) as (url, _):
        ended = await run(url, "--connections", "2", "--rate", "20", "--requests", "10", "--timeout", "0.3", "--json")
    assert ended.code == 1
    rest = ended.rest
    assert rest["requests"] == sum(rest["errors"].values()) + rest["unanswered"] == 10
    assert set(rest["errors"]) == {"timeout"}


async def test_nobody_there_is_told_at_once() -> None:
    async with server(fine) as (url, _):
        pass
    ended = await run(url)
    assert (ended.code, ended.output) == (1, "")
    assert ended.errors.startswith("error: can't connect to 127.0.0.1:")


async def test_over_tls(tmp_path: Path) -> None:
    certificate, key = Authority(tmp_path, "authority").issue("server")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    async with server(fine, context) as (url, _):
        trusting = await run(url, "--connections", "2", "--requests", "4", "--insecure", "--json")
        careful = await run(url, "--connections", "2", "--requests", "4", "--json")
    assert (trusting.code, trusting.rest["succeeded"]) == (0, 4)
    assert careful.code == 1
    (reason,) = careful.report["connect"]["failed"]
    assert reason.startswith("TLS: ")


async def test_a_signal_ends_it_with_a_report() -> None:
    async with server(fine) as (url, seen):
        command = [*IMGATEWAY, url, "--connections", "2", "--seconds", "60", "--rate", "200", "--json"]
        async with await anyio.open_process(command, env=CLEAN) as process:
            with anyio.fail_after(60):
                while len(seen.requests) < 20:
                    await anyio.sleep(0.02)
                process.send_signal(signal.SIGINT)
                assert process.stdout is not None
                report = json.loads(b"".join([chunk async for chunk in process.stdout]))
                assert await process.wait() == 0
    assert report["interrupted"] is True
    assert report["rest"]["succeeded"] == report["rest"]["requests"] == len(seen.requests)


# --- wrong usage ---


def invoke(*arguments: str, **environ: str) -> Result:
    clean = dict.fromkeys(name for name in os.environ if name.startswith("IMGATEWAY_"))
    return CliRunner(env={**clean, **environ}).invoke(cli, ["bench", "rest", *arguments])


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["ws://h"], "expected an address like"),
        (["http://"], "expected an address like"),
        (["http://h:port"], "expected an address like"),
        (["http://u:p@h"], "expected an address like"),
        (["http://h/a b"], "visible ASCII"),
        (["http://h/?é"], "visible ASCII"),
        (["http://h", "--path", "a"], "--path"),
        (["http://h", "--path", "/a\r\nb"], "--path"),
        (["http://h", "--method", "G T"], "--method"),
        (["http://h", "--method", "connect"], "--method"),
        (["http://h", "--body", "@nonesuch"], "can't be read"),
        (["http://h", "--rate", "0"], "--rate"),
        (["http://h", "--connections", "0"], "--connections"),
        (["http://h", "--token", "a b"], "--token"),
        (["http://h", "--token", "a", "--user-id", "u"], "--token excludes"),
        (["http://h", "--user-id", "u"], "no shared secret to sign with"),
        (["http://h", "--user-id", "", "--secret", SECRET], "--user-id"),
        (["http://h", "--secret", "short"], "auth.secret"),
    ],
)
def test_wrong_usage_is_named(arguments: list[str], says: str) -> None:
    result = invoke(*arguments)
    assert result.exit_code == 2
    assert says in " ".join(result.stderr.split())
    assert result.stdout == ""


async def test_what_is_signed_is_a_token_and_wins_over_the_variable(tmp_path: Path) -> None:
    async with server(fine) as (url, seen):
        await run(url, "--requests", "1", "--secret", SECRET, IMGATEWAY_TOKEN="other")
    (line,) = [line for line in seen.requests[0].splitlines() if line.startswith("Authorization: Bearer ")]
    assert jwt.decode(line.rpartition(" ")[2], SECRET, ["HS256"])["sub"] == "bench"
