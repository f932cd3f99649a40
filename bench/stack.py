"""Measures a gateway on real Kafka, Redis and etcd: messages up with acks=all, and from Kafka to users.

    python bench/stack.py [--rounds 3]

The gateway runs on one core; this generator, Kafka, Redis and etcd share the other. Each round starts all afresh.
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
import urllib.request
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from aiokafka import AIOKafkaProducer
from gateway import connect, measure_upstream
from server import SECRET

from imgateway_cli.bench.client import Client

sys.path.insert(0, str(Path(__file__).parent.parent / "scripts"))
from servers import EtcdServer, KafkaServer, RedisServer, free_port

USERS = 1000
TOPIC = "im-downstream-topic-bench"
PARTITIONS = 3
BATCH = 200


@contextmanager
def gateway() -> Iterator[tuple[int, int, str]]:
    """A gateway process on core 0 that is ready: its port, its admin port, Kafka's address."""
    with RedisServer() as redis, EtcdServer() as etcd, KafkaServer() as kafka:
        port, admin_port = free_port(), free_port()
        settings = {
            "AUTH__SECRET": SECRET,
            "GATEWAY__ID": "bench",
            "SERVER__PORT": str(port),
            "SERVER__ADMIN_PORT": str(admin_port),
            "KAFKA__BOOTSTRAP_SERVERS": kafka.address,
            "REDIS__URL": redis.url,
            "ETCD__ENDPOINTS": etcd.url,
            "OBSERVABILITY__LOG_LEVEL": "warning",
        }
        environment = os.environ | {f"IMGATEWAY_{name}": value for name, value in settings.items()}
        command = ["taskset", "-c", "0", sys.executable, "-m", "imgateway_cli", "serve"]
        with subprocess.Popen(command, env=environment) as process:
            try:
                while not ready(port):
                    time.sleep(0.1)
                yield port, admin_port, kafka.address
            finally:
                process.terminate()


def ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz"):
            return True
    except OSError:
        return False


def metric(admin_port: int, name: str) -> float:
    with urllib.request.urlopen(f"http://127.0.0.1:{admin_port}/metrics") as answer:
        for line in answer.read().decode().splitlines():
            if line.startswith(f"{name} "):
                return float(line.split()[1])
    raise RuntimeError(name)


class Writer:
    """A back end that writes one record a user in turn, in batches of its own."""

    def __init__(self, producer: AIOKafkaProducer) -> None:
        self._producer = producer
        self._number = 0

    async def write(self, count: int) -> None:
        batches = [self._producer.create_batch() for _ in range(PARTITIONS)]
        for _ in range(count):
            user = self._number % USERS
            record = {
                "target_user_id": f"user-{user}", "message_id": self._number, "conversation_id": f"c-{user}",
                "sender_id": "bench", "message_type": 1, "content": f"@t={time.time_ns()} {'x' * 100}",
                "seq_id": self._number, "timestamp": 0,
            }  # fmt: skip
            batches[user % PARTITIONS].append(key=None, value=json.dumps(record).encode(), timestamp=None)
            self._number += 1
        for partition, batch in enumerate(batches):
            batch.close()
            await self._producer.send_batch(batch, TOPIC, partition=partition)


async def measure_downstream(port: int, admin_port: int, kafka: str, figures: dict[str, float]) -> None:
    clients = await connect(port, USERS)
    latencies: list[float] = []

    def arrived(payload: bytes) -> None:
        if payload.startswith(b'{"type":"new-message"'):
            start = payload.index(b"@t=") + 3
            latencies.append((time.time_ns() - int(payload[start : payload.index(b" ", start)])) / 1e6)

    for client in clients:
        client.on_text = arrived
    producer = AIOKafkaProducer(bootstrap_servers=kafka, acks=1, max_batch_size=1 << 20)
    await producer.start()
    try:
        writer = Writer(producer)
        await burst(writer, latencies, figures)
        for rate in (2000, 8000):
            await paced(writer, rate, latencies, figures, lambda: asyncio.to_thread(metric, admin_port, LAG))
    finally:
        await producer.stop()
    hang_up(clients)


LAG = "imgateway_downstream_lag"


async def burst(writer: Writer, latencies: list[float], figures: dict[str, float]) -> None:
    """As fast as it goes."""
    count = 50_000
    start = time.perf_counter()
    for _ in range(count // BATCH):
        await writer.write(BATCH)
    while len(latencies) < count:
        await asyncio.sleep(0.01)
    figures[f"down, burst of {count:,} to {USERS} users: messages/s"] = count / (time.perf_counter() - start)


async def paced(
    writer: Writer,
    rate: int,
    latencies: list[float],
    figures: dict[str, float],
    lag: Callable[[], Awaitable[float]],
) -> None:
    """At a steady rate for five seconds."""
    latencies.clear()
    count, step = rate * 5, rate // 100
    start = time.perf_counter()
    most = 0.0
    for number in range(count // step):
        await writer.write(step)
        if number % 100 == 0:
            most = max(most, await lag())
        await asyncio.sleep(max(0.0, start + (number + 1) * 0.01 - time.perf_counter()))
    while len(latencies) < count // step * step:
        await asyncio.sleep(0.01)
    latencies.sort()
    name = f"down, {rate:,} messages/s"
    figures[f"{name}: p50 ms"] = latencies[len(latencies) // 2]
    figures[f"{name}: p99 ms"] = latencies[len(latencies) * 99 // 100]
    figures[f"{name}: most lag, records"] = most


def hang_up(clients: list[Client]) -> None:
    for client in clients:
        client.abort()


def one_round() -> dict[str, float]:
    figures: dict[str, float] = {}

    async def measure(port: int, admin_port: int, kafka: str) -> None:
        await measure_upstream(port, figures, connections=1, window=1, total=500)
        await measure_upstream(port, figures, connections=USERS, window=16, total=100_000)
        await measure_downstream(port, admin_port, kafka, figures)

    with gateway() as (port, admin_port, kafka):
        asyncio.run(measure(port, admin_port, kafka))
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    rounds = [one_round() for _ in range(arguments.rounds)]
    for name in rounds[0]:
        values = sorted(figures[name] for figures in rounds)
        print(f"{name:60} {statistics.median(values):12,.1f}   ({values[0]:,.1f} – {values[-1]:,.1f})")


if __name__ == "__main__":
    main()
