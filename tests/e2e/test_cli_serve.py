"""`imgateway serve` as a process: what it says, and what it never says."""

import json
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import attrs
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Subprotocol

from imgateway.adapters.jwt import mint_token

SECRET = "9tJfXq2mVw8Lr5Zc1Yk7Hb4Nd6Gs3Pa0"
SERVE = (sys.executable, "-m", "imgateway_cli", "serve", "--port", "0")
CLEAN = {name: value for name, value in os.environ.items() if not name.startswith("IMGATEWAY_")}

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"  # the websockets library's client is asyncio's


@attrs.define(eq=False)
class Running:
    url: str
    log: str


@asynccontextmanager
async def running(**environ: str) -> AsyncIterator[Running]:
    """A gateway process; `log` is complete after the block."""
    process = await anyio.open_process(SERVE, env={**CLEAN, "IMGATEWAY_SERVER__ADMIN_PORT": "0", **environ})
    assert process.stderr is not None
    assert process.stdout is not None
    async with process:
        log = ""
        with anyio.fail_after(60):
            while '"ready"' not in log:
                log += (await process.stderr.receive()).decode()
        gateway = Running(re.findall(r"ws://[^\"]+", log)[0], log)
        yield gateway
        process.terminate()
        with anyio.fail_after(60):
            async for chunk in process.stderr:
                gateway.log += chunk.decode()
            assert [chunk async for chunk in process.stdout] == []
            assert await process.wait() == 0


async def test_without_auth_it_says_that_the_secret_is_random_and_shows_none() -> None:
    async with running() as gateway:
        with pytest.raises(InvalidStatus) as refused:
            async with connect(f"{gateway.url}?token={mint_token('alice', secret=SECRET, ttl_seconds=60)}"):
                pass
    assert refused.value.response.status_code == 401
    warnings = [line for line in map(json.loads, gateway.log.splitlines()) if line["level"] == "warning"]
    assert len(warnings) == 1
    assert "No [auth] is configured" in warnings[0]["message"]
    assert "IMGATEWAY_AUTH__SECRET" in warnings[0]["message"]
    assert not re.search(r"[\w-]{43}", gateway.log), "something as long as a secret is in the log"


async def test_no_token_is_in_the_log_wherever_the_client_put_it() -> None:
    token = mint_token("alice", secret=SECRET, ttl_seconds=60)
    async with running(
        IMGATEWAY_AUTH__SECRET=SECRET,
        IMGATEWAY_OBSERVABILITY__LOG_LEVEL="debug",
    ) as gateway:
        protocols = [Subprotocol("imgateway.json.v1"), Subprotocol(f"bearer.{token}")]
        for url, options in (
            (f"{gateway.url}?token={token}", {}),
            (gateway.url, {"additional_headers": {"Authorization": f"Bearer {token}"}}),
            (gateway.url, {"subprotocols": protocols}),
        ):
            async with connect(url, **options) as socket:
                assert "welcome" in str(await socket.recv())
                await socket.send(json.dumps({"type": "refresh-token", "data": {"token": token}}))
                assert "token-refreshed" in str(await socket.recv())
        for bad in (f"{token}canary", "canary"):
            with pytest.raises(InvalidStatus):
                async with connect(f"{gateway.url}?token={bad}"):
                    pass
    assert gateway.log
    assert token.rpartition(".")[2] not in gateway.log
    assert "canary" not in gateway.log
    assert SECRET not in gateway.log


async def test_a_wrong_configuration_stops_it_before_a_port_opens(tmp_path: Path) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text("[server]\nport = 99999\n[degradation]\n")
    ended = await anyio.run_process([*SERVE[:-2], "--config", str(file)], check=False, env=CLEAN)
    assert ended.returncode == 2
    assert ended.stderr.decode().splitlines() == [
        "error: degradation: not available in this version: load is not shed by class",
        "error: server.port: expected a number from 0 to 65535, got 99999",
    ]


async def test_the_lines_that_name_a_port_name_the_gateway() -> None:
    async with running(IMGATEWAY_AUTH__SECRET=SECRET, IMGATEWAY_GATEWAY__ID="gateway-7") as gateway:
        pass
    lines = {line["message"]: line for line in map(json.loads, gateway.log.splitlines())}
    for message in ("listening", "metrics", "ready"):
        assert lines[message]["gateway_id"] == "gateway-7"


async def test_a_port_that_is_taken_is_one_line_and_exit_code_1() -> None:
    async with running(IMGATEWAY_AUTH__SECRET=SECRET) as gateway:
        port = gateway.url.removesuffix("/ws").rpartition(":")[2]
        ended: subprocess.CompletedProcess[bytes] = await anyio.run_process(
            [*SERVE[:-1], port], check=False, env={**CLEAN, "IMGATEWAY_SERVER__ADMIN_PORT": "0"}
        )
    assert ended.returncode == 1
    assert f"error: server.port: 127.0.0.1:{port} can't be bound: " in ended.stderr.decode()
    assert "Traceback" not in ended.stderr.decode()
