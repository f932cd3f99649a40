"""Measures the Kafka adapters by themselves: records written with acks=all, records read, commits.

    python bench/kafka.py [--servers HOST:PORT] [--records 200000] [--size 200] [--rounds 3]

Without --servers it starts a broker of its own (`scripts/servers.py`) on the same machine.
Figures are medians over the rounds; each round has a topic of its own, which is deleted.
"""

import argparse
import asyncio
import logging
import statistics
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from uuid import uuid4

from aiokafka.admin import AIOKafkaAdminClient

from imgateway.adapters.kafka import KafkaAccess, KafkaConsumer, KafkaPublisher, TopicPlan
from imgateway.model import OutgoingRecord, PublishFailure, Receipt

sys.path.insert(0, str(Path(__file__).parent.parent / "scripts"))
from servers import KafkaServer

PARTITIONS = 10
KEYS = 1_000
WINDOW = 20_000
COMMITS = 50
COMMIT_PAUSE_SECONDS = 0.1
"""Less than that after another one, a commit waits for the broker to finish it."""


class Window:
    """Keeps so many records unsettled until all are written. A ticket for all of them."""

    def __init__(self, publisher: KafkaPublisher, records: Sequence[OutgoingRecord]) -> None:
        self._publisher = publisher
        self._records = iter(records)
        self._left = len(records)
        self.done = asyncio.Event()

    def offer(self) -> None:
        record = next(self._records, None)
        if record is not None and not self._publisher.offer(record, self):
            raise RuntimeError("the publisher is full")

    def settled(self, outcome: Receipt | PublishFailure, /) -> None:
        if not isinstance(outcome, Receipt):
            raise RuntimeError(f"not written: {outcome}")
        self._left -= 1
        if self._left == 0:
            self.done.set()
        self.offer()


async def measure(access: KafkaAccess, count: int, size: int, figures: dict[str, list[float]]) -> None:
    topic = f"bench-{uuid4().hex[:8]}"
    plan = TopicPlan(topic, PARTITIONS)
    value = b"x" * size
    records = [OutgoingRecord(topic, b"conversation-%d" % (n % KEYS), value) for n in range(count)]
    async with KafkaPublisher(access, (plan,)) as publisher:
        warm = Window(publisher, records[:KEYS])
        for _ in range(KEYS):
            warm.offer()
        await warm.done.wait()
        window = Window(publisher, records)
        start = time.perf_counter()
        for _ in range(WINDOW):
            window.offer()
        await window.done.wait()
        figures["records written/s (acks=all)"].append(count / (time.perf_counter() - start))

    consumer = KafkaConsumer(access, plan, f"{topic}-group", f"{topic}-fence")
    await consumer.start()
    start, read = time.perf_counter(), 0
    while read < count + KEYS:
        read += len(await consumer.take())
    figures["records read/s"].append(count / (time.perf_counter() - start))

    latencies = []
    for position in range(1, COMMITS + 1):
        await asyncio.sleep(COMMIT_PAUSE_SECONDS)
        start = time.perf_counter()
        await consumer.commit({0: position})
        latencies.append(1000 * (time.perf_counter() - start))
    figures["commit, ms (median)"].append(statistics.median(latencies))
    await consumer.aclose()
    await delete(access, topic)


async def delete(access: KafkaAccess, topic: str) -> None:
    admin = AIOKafkaAdminClient(**access.options())
    await admin.start()
    await admin.delete_topics([topic])
    await admin.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--servers")
    parser.add_argument("--records", type=int, default=200_000)
    parser.add_argument("--size", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    names = ("records written/s (acks=all)", "records read/s", "commit, ms (median)")
    figures: dict[str, list[float]] = {name: [] for name in names}
    with ExitStack() as stack:
        servers = options.servers or stack.enter_context(KafkaServer()).address
        for _ in range(options.rounds):
            asyncio.run(measure(KafkaAccess((servers,)), options.records, options.size, figures))
    print(" ".join(["python", *sys.argv]))
    for name, values in figures.items():
        print(f"{name:32} {statistics.median(values):12,.1f}")


if __name__ == "__main__":
    main()
