"""REST on real processes: against the same call made with grpc.aio, and the codec against protobuf's json_format."""

import argparse
import asyncio
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import grpc
import httpx
from tests.grpc_back_end import FILE, SERVICE
from tests.grpc_instances import instance
from tests.grpc_protos import descriptors

from imgateway_im_logic.server import descriptor_set_path

SECRET = "a-secret-of-this-run-alone-0123456789-abcdef"
SERVER_CORE = "1"
"""Gateways run on it, and nothing else; everything else may run on both."""
REQUEST = b"\x0a\x011"


async def direct(address: str, seconds: float, concurrency: int) -> float:
    """Calls a second of one Python process."""
    done = 0
    async with grpc.aio.insecure_channel(address) as channel:
        call: Any = channel.unary_unary(f"/{SERVICE}/Lookup")
        await call(REQUEST)
        ends_at = time.monotonic() + seconds

        async def ask() -> None:
            nonlocal done
            while time.monotonic() < ends_at:
                await call(REQUEST, timeout=10.0)
                done += 1

        begun = time.monotonic()
        async with asyncio.TaskGroup() as tasks:
            for _ in range(concurrency):
                tasks.create_task(ask())
        return done / (time.monotonic() - begun)


@attrs.frozen
class Speed:
    per_second: float
    cpu_microseconds: float
    """Of the gateway's process, for one request."""


def through(gateway: "Gateway", path: str, seconds: float, concurrency: int) -> Speed:
    """How fast a gateway answers."""
    command = [sys.executable, "-m", "imgateway_cli", "bench", "rest", gateway.url, "--path", path]
    command += ["--token", gateway.token, "--connections", str(concurrency), "--seconds", str(seconds), "--json"]
    before = gateway.cpu_seconds()
    report = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)["rest"]
    return Speed(report["per_second"], 1e6 * (gateway.cpu_seconds() - before) / report["succeeded"])


@attrs.frozen
class Gateway:
    """A running one."""

    url: str
    token: str
    pid: int

    def cpu_seconds(self) -> float:
        """Of the process, until now."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def serving(descriptor_set: bytes, target: str, program: Sequence[str] = ("-m", "imgateway_cli")) -> Iterator[Gateway]:
    """A gateway as a process of its own, ready."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "services.binpb").write_bytes(descriptor_set)
        with socket.create_server(("127.0.0.1", 0)) as door:
            port = int(door.getsockname()[1])
        (folder / "gateway.toml").write_text(
            f'[server]\nport = {port}\nadmin_port = 0\n[auth]\nsecret = "{SECRET}"\n'
            f'[grpc]\ndescriptor_set = "{folder}/services.binpb"\n[grpc.services."*"]\ntarget = "{target}"\n'
        )
        command = [sys.executable, *program, "serve", "--config", str(folder / "gateway.toml")]
        process = subprocess.Popen(["taskset", "-c", SERVER_CORE, *command], stderr=subprocess.DEVNULL)
        try:
            command = [sys.executable, "-m", "imgateway_cli", "token", "--user-id", "alice", "--secret", SECRET]
            minted = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            while not is_ready(f"http://127.0.0.1:{port}/readyz"):
                time.sleep(0.1)
            yield Gateway(f"http://127.0.0.1:{port}", minted.stdout.strip(), process.pid)
        finally:
            process.terminate()
            process.wait()


def is_ready(url: str) -> bool:
    try:
        return httpx.get(url, trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


@contextmanager
def messages_back_end() -> Iterator[str]:
    program = Path(__file__).with_name("messages_back_end.py")
    process = subprocess.Popen([sys.executable, str(program)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        process.wait()


def small_get(seconds: float, concurrency: int, rounds: int) -> None:
    with instance() as (_, address), serving(descriptors(FILE).SerializeToString(), address) as gateway:
        ratios = []
        for _ in range(rounds):
            straight = asyncio.run(direct(address, seconds, concurrency))
            rest = through(gateway, "/api/things/1", seconds, concurrency)
            ratios.append(rest.per_second / straight)
            print(
                f"direct {straight:.0f} calls/s, REST {rest.per_second:.0f} requests/s, "
                f"ratio {ratios[-1]:.2f}; {rest.cpu_microseconds:.0f} µs CPU a request",
                flush=True,
            )
        print(f"small GET: {spread(ratios)} of direct calls")


def spread(ratios: Sequence[float]) -> str:
    """The median, the least and the most."""
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} – {max(ratios):.2f})"


def list_of_messages(seconds: float, concurrency: int, rounds: int) -> None:
    """The same gateway, back end, and requests; only what makes JSON of the answer differs."""
    described = Path(descriptor_set_path()).read_bytes()
    oracle = (str(Path(__file__).with_name("json_format_gateway.py")),)
    path = "/api/conversations/dm:alice:bob/messages"
    with (
        messages_back_end() as target,
        serving(described, target) as compiled,
        serving(described, target, oracle) as plain,
    ):
        sizes = {
            len(httpx.get(f"{gateway.url}{path}", headers={"Authorization": f"Bearer {gateway.token}"}).content)
            for gateway in (compiled, plain)
        }
        ratios = []
        for _ in range(rounds):
            slow = through(plain, path, seconds, concurrency)
            fast = through(compiled, path, seconds, concurrency)
            ratios.append(fast.per_second / slow.per_second)
            print(
                f"20 messages ({sizes} bytes): json_format {slow.per_second:.0f} requests/s, compiled codec "
                f"{fast.per_second:.0f}, ratio {ratios[-1]:.2f}; CPU a request "
                f"{slow.cpu_microseconds:.0f} and {fast.cpu_microseconds:.0f} µs",
                flush=True,
            )
        print(f"20 messages: {spread(ratios)} of json_format")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    small_get(chosen.seconds, chosen.concurrency, chosen.rounds)
    list_of_messages(chosen.seconds, chosen.concurrency, chosen.rounds)
