"""What a gateway reads, with readers of it and those who write."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import anyio
import attrs
from tests.integration.kafka_cluster import PATIENCE, Cluster, cluster_at

from imgateway.adapters.kafka import KafkaAccess, KafkaConsumer, TopicPlan
from imgateway.model import ConsumedRecord


@attrs.define(eq=False)
class Downstream:
    """A topic and readers of it, all of one group and one gateway."""

    cluster: Cluster
    topic: str
    group: str

    def reader(self, *, stuck_seconds: float = 60.0, create: bool = True) -> KafkaConsumer:
        access, plan = KafkaAccess((self.cluster.address,)), TopicPlan(self.topic, 3)
        return KafkaConsumer(access, plan, self.group, f"fence-{self.group}", create, stuck_seconds)

    def reading(self, *, stuck_seconds: float = 60.0) -> AbstractAsyncContextManager[KafkaConsumer]:
        return started(self.reader(stuck_seconds=stuck_seconds))

    async def write(self, *values: int, partition: int = 0) -> None:
        async with self.cluster.producer() as producer:
            for value in values:
                await producer.send(self.topic, b"%d" % value, b"k", partition)

    async def committed(self) -> dict[int, int]:
        return await self.cluster.committed(self.group, self.topic)

    async def has_committed(self, reader: KafkaConsumer, expected: dict[int, int]) -> None:
        """Assert that these positions are committed; `reader` is the one that may commit."""
        # The broker answers before what was committed can be seen, but begins no other transaction before that.
        await reader.commit({})
        found: dict[int, int] = {}
        with anyio.move_on_after(PATIENCE):
            while not expected.items() <= (found := await self.committed()).items():
                await anyio.sleep(0.05)
        assert {partition: found.get(partition) for partition in expected} == expected


@asynccontextmanager
async def downstream_at(address: str) -> AsyncIterator[Downstream]:
    """A topic and a group of its own on that cluster."""
    async with cluster_at(address) as cluster:
        yield Downstream(cluster, await cluster.create("down"), cluster.group())


@asynccontextmanager
async def started(consumer: KafkaConsumer) -> AsyncIterator[KafkaConsumer]:
    """It, and closed in the end."""
    try:
        with anyio.fail_after(PATIENCE):
            await consumer.start()
        yield consumer
    finally:
        await consumer.aclose()


async def take(consumer: KafkaConsumer, count: int) -> list[ConsumedRecord]:
    found: list[ConsumedRecord] = []
    with anyio.fail_after(PATIENCE):
        while len(found) < count:
            found += await consumer.take()
    assert len(found) == count
    return found


def numbers(records: Sequence[ConsumedRecord]) -> list[int]:
    return [int(record.value) for record in records]
