"""REST through the gateway against the same call made directly with grpc.aio, in one run on real processes."""

import argparse
import asyncio
import json
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import grpc
from tests.faults.test_grpc_balancing import instance
from tests.grpc_back_end import FILE, SERVICE
from tests.grpc_protos import descriptors

SECRET = "a-secret-of-this-run-alone-0123456789-abcdef"
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


def through_the_gateway(url: str, token: str, seconds: float, concurrency: int) -> float:
    command = [sys.executable, "-m", "imgateway_cli", "bench", "rest", url, "--path", "/api/things/1"]
    command += ["--token", token, "--connections", str(concurrency), "--seconds", str(seconds), "--json"]
    report = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    return float(report["rest"]["per_second"])


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as door:
        return int(door.getsockname()[1])


def main(seconds: float, concurrency: int, rounds: int) -> None:
    with ExitStack() as stack:
        _, address = stack.enter_context(instance())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        (folder / "back.binpb").write_bytes(descriptors(FILE).SerializeToString())
        port = free_port()
        (folder / "gateway.toml").write_text(
            f'[server]\nport = {port}\nadmin_port = 0\n[auth]\nsecret = "{SECRET}"\n'
            f'[grpc]\ndescriptor_set = "{folder}/back.binpb"\n[grpc.services."{SERVICE}"]\ntarget = "{address}"\n'
        )
        command = [sys.executable, "-m", "imgateway_cli"]
        gateway = subprocess.Popen([*command, "serve", "--config", str(folder / "gateway.toml")])
        stack.callback(gateway.wait)
        stack.callback(gateway.terminate)
        minted = subprocess.run(
            [*command, "token", "--user-id", "alice", "--secret", SECRET], check=True, stdout=subprocess.PIPE, text=True
        )
        while True:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                time.sleep(0.1)
        time.sleep(1.0)
        for _ in range(rounds):
            straight = asyncio.run(direct(address, seconds, concurrency))
            rest = through_the_gateway(f"http://127.0.0.1:{port}", minted.stdout.strip(), seconds, concurrency)
            print(f"direct {straight:.0f} calls/s, REST {rest:.0f} requests/s, ratio {rest / straight:.2f}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    main(chosen.seconds, chosen.concurrency, chosen.rounds)
