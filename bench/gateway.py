"""Measures the whole embedded gateway from outside: server on one core, this generator on another.

    python bench/gateway.py [--rounds 3] [--port 18700] [--json FILE]

Each round starts a fresh server. Figures are medians over the rounds.
"""

import argparse
import asyncio
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

from server import SECRET

from imgateway.adapters.jwt import mint_token
from imgateway_cli.bench.client import Client, Ended, upgrade_request

HERE = Path(__file__).parent


def resident_kib(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise RuntimeError("no VmRSS")


def message(content: str, identity: str) -> bytes:
    data = {"conversationId": "bench", "content": content, "messageType": 1, "client_msg_id": identity}
    return json.dumps({"type": "send-message", "data": data}).encode()


async def connect(port: int, count: int, at_a_time: int = 64, first: int = 0) -> list[Client]:
    """Open connections, each until its welcome."""
    loop = asyncio.get_running_loop()
    clients: list[Client] = []
    numbers = iter(range(first, first + count))

    async def opener() -> None:
        for n in numbers:
            token = mint_token(f"user-{n}", secret=SECRET, ttl_seconds=3600)
            # Several source addresses: one has only some 28,000 ports.
            local = (f"127.0.0.{2 + n // 20_000}", 0)
            request = upgrade_request("bench", "/ws", token)
            _, client = await loop.create_connection(partial(Client, request), "127.0.0.1", port, local_addr=local)
            clients.append(client)
            if isinstance(greeting := await client.greeted, Ended):
                raise ConnectionError(greeting.reason)

    await asyncio.gather(*(opener() for _ in range(at_a_time)))
    return clients


async def measure_connects(port: int, pid: int, figures: dict[str, float]) -> None:
    warm = await connect(port, 200, first=1_000_000)
    before, start = resident_kib(pid), time.perf_counter()
    clients = await connect(port, 5000)
    figures["connects/s"] = 5000 / (time.perf_counter() - start)
    await asyncio.sleep(2)
    figures["KiB per idle connection"] = (resident_kib(pid) - before) / 5000
    for client in [*warm, *clients]:
        client.abort()
    await asyncio.sleep(1)


async def measure_upstream(port: int, figures: dict[str, float], *, connections: int, window: int, total: int) -> None:
    """Closed loop: each connection keeps `window` messages unacknowledged."""
    clients = await connect(port, connections)
    done = asyncio.get_running_loop().create_future()
    sent = acked = 0
    latencies: list[float] = []

    def drive(client: Client, number: int) -> None:
        times: list[float] = []
        serial = 0

        def send() -> None:
            nonlocal sent, serial
            if sent < total:
                sent += 1
                serial += 1
                times.append(time.perf_counter())
                client.send(message("x" * 120, f"{number}-{serial}"))

        def acknowledged(payload: bytes) -> None:
            nonlocal acked
            if b'"accepted"' not in payload:
                raise RuntimeError(payload)
            latencies.append(time.perf_counter() - times.pop(0))
            acked += 1
            if acked == total:
                done.set_result(None)
            send()

        client.on_text = acknowledged
        for _ in range(window):
            send()

    start = time.perf_counter()
    for number, client in enumerate(clients):
        drive(client, number)
    await done
    name = f"up, {connections} connections, window {window}"
    figures[f"{name}: accepted/s"] = total / (time.perf_counter() - start)
    latencies.sort()
    figures[f"{name}: p50 ms"] = latencies[len(latencies) // 2] * 1000
    figures[f"{name}: p99 ms"] = latencies[len(latencies) * 99 // 100] * 1000
    for client in clients:
        client.abort()
    await asyncio.sleep(0.5)


async def measure_downstream(port: int, figures: dict[str, float], *, users: int, records: int, fan_out: bool) -> None:
    clients = await connect(port, users)
    expected = records * users if fan_out else records
    done = asyncio.get_running_loop().create_future()
    received = 0

    def count(payload: bytes) -> None:
        nonlocal received
        if payload.startswith(b'{"type":"error"'):
            done.set_exception(RuntimeError(payload))
        if payload.startswith(b'{"type":"new-message"'):
            received += 1
            if received == expected:
                done.set_result(None)

    for client in clients:
        client.on_text = count
    command = {"records": records, "users": users, "fan_out": fan_out}
    start = time.perf_counter()
    clients[0].send(message("!" + json.dumps(command), f"go-{fan_out}"))
    await done
    shape = f"down, {'fan-out to' if fan_out else 'one of'} {users} users"
    figures[f"{shape}: deliveries/s"] = expected / (time.perf_counter() - start)
    for client in clients:
        client.abort()
    await asyncio.sleep(0.5)


async def measure(port: int, pid: int) -> dict[str, float]:
    figures: dict[str, float] = {}
    await measure_connects(port, pid, figures)
    await measure_upstream(port, figures, connections=1, window=1, total=3000)
    await measure_upstream(port, figures, connections=200, window=16, total=100_000)
    await measure_downstream(port, figures, users=1000, records=300, fan_out=True)
    await measure_downstream(port, figures, users=1000, records=100_000, fan_out=False)
    return figures


def one_round(port: int) -> dict[str, float]:
    command = [sys.executable, str(HERE / "server.py"), "--port", str(port), "--core", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            if server.stdout.readline().strip() != "ready":
                raise RuntimeError("the server did not start")
            return asyncio.run(measure(port, server.pid))
        finally:
            server.terminate()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--port", type=int, default=18700)
    parser.add_argument("--json", type=Path, help="write all rounds here")
    arguments = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    rounds = [one_round(arguments.port) for _ in range(arguments.rounds)]
    for name in rounds[0]:
        values = sorted(figures[name] for figures in rounds)
        print(f"{name:60} {statistics.median(values):12,.1f}   ({values[0]:,.1f} – {values[-1]:,.1f})")
    if arguments.json:
        arguments.json.write_text(json.dumps(rounds, indent=1) + "\n")


if __name__ == "__main__":
    main()
