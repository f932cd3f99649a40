"""`imgateway serve` as a process of its own, as operators run it."""

import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.abc
import attrs
import httpx
from tests.e2e.running_gateway import SECRET, mint
from tests.e2e.websocket_client import PATIENCE_SECONDS, Client, Data, open_socket

_CLEAN = {name: value for name, value in os.environ.items() if not name.startswith("IMGATEWAY_")}


@attrs.define(eq=False)
class GatewayProcess:
    """A running process.

    Attributes:
        output: what it wrote to stdout and stderr so far; complete once it has ended.
        seconds_to_end: from the first signal to its end.
    """

    process: anyio.abc.Process
    output: bytearray = attrs.field(factory=bytearray)
    seconds_to_end: float = 0.0
    _signalled_at: float | None = None
    _ended: anyio.Event = attrs.field(factory=anyio.Event)
    _news: anyio.Event = attrs.field(factory=anyio.Event)

    def log(self) -> list[Data]:
        """Its log lines, parsed; lines that are no JSON as `{"text": …}`."""
        lines = self.output.decode().splitlines()
        return [json.loads(line) if line.startswith("{") else {"text": line} for line in lines]

    async def logged(self, message: str, times: int = 1) -> Data:
        """The first log line with `message`, or the one that says it so many times, as soon as it is there."""
        with anyio.fail_after(PATIENCE_SECONDS):
            while True:
                news = self._news
                whole_lines, _, _ = self.output.rpartition(b"\n")
                entries = (json.loads(line) for line in whole_lines.splitlines() if line.startswith(b"{"))
                if len(found := [entry for entry in entries if entry["message"] == message]) >= times:
                    return found[times - 1]  # type: ignore[no-any-return]  # JSON
                assert not self._ended.is_set(), f"ended without saying {message!r}: {self.output.decode()}"
                await news.wait()

    async def url(self, query: str = "") -> str:
        """The WebSocket's URL."""
        return f"{(await self.logged('listening'))['url']}{'?' if query else ''}{query}"

    async def connect(self, user_id: str = "alice", /, query: str = "", **options: Any) -> Client:
        """A client that was welcomed."""
        headers = {"Authorization": f"Bearer {mint(user_id)}"}
        client = Client(await open_socket(await self.url(query), headers=headers, **options))
        client.welcome = await client.expect("welcome")
        return client

    async def get(self, path: str) -> httpx.Response:
        """The answer of the clients' port."""
        base = (await self.url()).replace("ws", "http", 1).removesuffix("/ws")
        async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE_SECONDS) as http:
            return await http.get(f"{base}{path}")

    async def metrics(self) -> str:
        """What Prometheus would read."""
        async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE_SECONDS) as http:
            return (await http.get((await self.logged("metrics"))["url"])).text

    def send_signal(self, number: signal.Signals) -> None:
        """Signal it."""
        if self._signalled_at is None:
            self._signalled_at = time.monotonic()
        self.process.send_signal(number)

    async def ended(self) -> int:
        """Its exit code."""
        with anyio.fail_after(60):
            await self._ended.wait()
            return await self.process.wait()

    async def _read(self, stream: anyio.abc.ByteReceiveStream) -> None:
        async for chunk in stream:
            self.output += chunk
            self._news.set()
            self._news = anyio.Event()

    async def _watch(self) -> None:
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._read, self.process.stdout)
            tasks.start_soon(self._read, self.process.stderr)
        await self.process.wait()
        if self._signalled_at is not None:
            self.seconds_to_end = time.monotonic() - self._signalled_at
        self._ended.set()
        self._news.set()


@asynccontextmanager
async def gateway_process(*arguments: str, ready: bool = True, **settings: object) -> AsyncIterator[GatewayProcess]:
    """A process with free ports; each of `settings` is an environment variable without its prefix.

    It is killed at the end of the block if it still runs.
    """
    if "SERVER__PORT" not in settings:
        # Nobody is sent there, but with etcd there must be some address.
        settings = {"GATEWAY__ADVERTISE": "127.0.0.1:1", **settings}
    environ = {
        **_CLEAN,
        "IMGATEWAY_SERVER__PORT": "0",
        "IMGATEWAY_SERVER__ADMIN_PORT": "0",
        "IMGATEWAY_AUTH__SECRET": SECRET,
        **{f"IMGATEWAY_{name}": str(value) for name, value in settings.items()},
    }
    command = [sys.executable, "-m", "imgateway_cli", "serve", *arguments]
    process = await anyio.open_process(command, stdin=None, env=environ)
    running = GatewayProcess(process)
    async with process, anyio.create_task_group() as tasks:
        tasks.start_soon(running._watch)
        try:
            if ready:
                await running.logged("ready")
            yield running
        finally:
            if process.returncode is None:
                process.kill()
