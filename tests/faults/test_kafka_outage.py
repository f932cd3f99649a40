"""Publishing, reading and committing at once while the broker is killed or frozen."""

import logging
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping

import anyio
import anyio.to_thread
import attrs
import pytest
from servers import KafkaServer
from tests.integration.kafka_cluster import PATIENCE, Cluster

from imgateway.adapters.kafka import KafkaAccess, KafkaConsumer, KafkaPublisher, TopicPlan
from imgateway.errors import ServiceUnavailableError
from imgateway.model import ConsumedRecord, OutgoingRecord, Receipt
from imgateway.testing import RecordingTicket

pytestmark = pytest.mark.anyio

TOPIC, GROUP = "topic", "group"
PLAN = TopicPlan(TOPIC, 3)
KEYS = [b"key-%d" % number for number in range(40)]
QUICK_RESTART = {"broker_session_timeout_ms": "2000", "broker_heartbeat_interval_ms": "500"}
"""A broker that was killed may come back when its session has ended."""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def server() -> Iterator[KafkaServer]:
    with KafkaServer(**QUICK_RESTART) as server:
        yield server


@attrs.define(eq=False)
class Traffic:
    """Offers records of some keys, numbered for each; reads them; commits what it has read. Until it is stopped."""

    publisher: KafkaPublisher
    consumer: KafkaConsumer
    tickets: Mapping[bytes, list[RecordingTicket]] = attrs.field(factory=lambda: defaultdict(list))
    read: list[ConsumedRecord] = attrs.field(factory=list)
    offered: int = 0
    acked: int = 0
    commits: int = 0
    stopped: bool = False

    async def offer(self) -> None:
        while not self.stopped:
            for _ in range(20 if self.offered - self.acked < 2_000 else 0):
                key = KEYS[self.offered % len(KEYS)]
                tickets = self.tickets[key]
                tickets.append(RecordingTicket(self._settled))
                assert self.publisher.offer(OutgoingRecord(TOPIC, key, b"%d" % (len(tickets) - 1)), tickets[-1])
                self.offered += 1
            await anyio.sleep(0.002)

    def _settled(self) -> None:
        self.acked += 1

    async def take(self) -> None:
        while True:
            self.read += await self.consumer.take()

    async def commit(self) -> None:
        while True:
            positions = {record.partition: record.offset + 1 for record in self.read}
            try:
                await self.consumer.commit(positions)
                self.commits += 1
            except ServiceUnavailableError:
                pass
            await anyio.sleep(0.1)

    async def further(self, acked: int = 0, read: int = 0, commits: int = 0) -> None:
        """Wait until so much more has happened."""
        acked, read, commits = acked + self.acked, read + len(self.read), commits + self.commits
        with anyio.fail_after(PATIENCE):
            while self.acked < acked or len(self.read) < read or self.commits < commits:
                await anyio.sleep(0.02)

    async def end(self) -> None:
        """Offer no more, and wait until all is written, read and committed."""
        self.stopped = True
        with anyio.fail_after(PATIENCE):
            await self.publisher.flush()
            while len(self.read) < self.offered:
                await anyio.sleep(0.02)
        # The first may have begun before; the third only begins when the positions of the second can be read.
        await self.further(commits=3)


async def kill(server: KafkaServer, publisher: KafkaPublisher) -> None:
    server.kill()
    await anyio.to_thread.run_sync(server.start)


async def kill_for_longer_than_a_request(server: KafkaServer, publisher: KafkaPublisher) -> None:
    server.kill()
    await anyio.sleep(13)
    assert not publisher.available
    await anyio.to_thread.run_sync(server.start)


async def freeze(server: KafkaServer, publisher: KafkaPublisher) -> None:
    server.pause()
    await anyio.sleep(15)
    assert not publisher.available
    server.resume()


@pytest.mark.parametrize("harm", [kill, kill_for_longer_than_a_request, freeze])
async def test_nothing_is_lost_doubled_or_out_of_order(
    server: KafkaServer, harm: Callable[[KafkaServer, KafkaPublisher], object], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "imgateway")
    access = KafkaAccess((server.address,))
    consumer = KafkaConsumer(access, PLAN, GROUP, "imgateway-g1")
    async with KafkaPublisher(access, (PLAN,)) as publisher:
        try:
            await consumer.start()
            async with anyio.create_task_group() as tasks:
                traffic = Traffic(publisher, consumer)
                for work in (traffic.offer, traffic.take, traffic.commit):
                    tasks.start_soon(work)
                await traffic.further(5_000, 5_000, 3)
                await harm(server, publisher)  # type: ignore[misc]  # a coroutine function
                await traffic.further(5_000, 5_000, 3)
                await traffic.end()
                tasks.cancel_scope.cancel()
            with anyio.fail_after(PATIENCE):
                while not publisher.available:
                    await anyio.sleep(0.02)
        finally:
            await consumer.aclose()

    cluster = Cluster(server.address)
    written = await cluster.read(TOPIC)
    assert len(written) == len(traffic.read) == traffic.offered
    for key, tickets in traffic.tickets.items():
        of_key = [record for record in written if record.key == key]
        assert [record.value for record in of_key] == [b"%d" % number for number in range(len(tickets))]
        assert [ticket.outcomes for ticket in tickets] == [
            [Receipt(TOPIC, record.partition, record.offset)] for record in of_key
        ]
        assert [record.value for record in traffic.read if record.key == key] == [record.value for record in of_key]
    ends = {record.partition: record.offset + 1 for record in written}
    assert await cluster.committed(GROUP, TOPIC) == ends

    said = [
        (record.__dict__["part"], record.message)
        for record in caplog.records
        if record.name == "imgateway.adapters.kafka.reachability"
    ]
    for part in ("publisher", "consumer"):
        of_part = [message for whose, message in said if whose == part]
        # Once each, if it was noticed at all.
        assert of_part in ([], ["Kafka does not answer", "Kafka answers again"])
        assert of_part or harm is kill
