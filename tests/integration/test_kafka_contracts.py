"""Kafka's adapters hold to the same contracts as the memory broker's, and leave nothing behind."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import anyio
import pytest
from servers import KafkaServer
from tests.integration.kafka_cluster import cluster_at

from imgateway.adapters.kafka import KafkaAccess, KafkaConsumer, KafkaPublisher, TopicPlan
from imgateway.model import ConsumedRecord, OutgoingRecord, Receipt
from imgateway.testing import (
    ConsumerUnderTest,
    DownstreamConsumerSuite,
    PublisherUnderTest,
    RecordingTicket,
    UpstreamPublisherSuite,
)

pytestmark = pytest.mark.anyio


class TestKafkaPublisher(UpstreamPublisherSuite):
    patience = 20.0
    quiet_seconds = 0.2
    server: KafkaServer

    @pytest.fixture(autouse=True)
    def _server(self, kafka_server: KafkaServer) -> None:
        self.server = kafka_server

    @asynccontextmanager
    async def make(self) -> AsyncIterator[PublisherUnderTest]:
        async with cluster_at(self.server.address) as cluster:
            topic = cluster.name("contract")
            plan = TopicPlan(topic, 3)
            async with KafkaPublisher(KafkaAccess((cluster.address,)), (plan,), max_records=self.capacity) as publisher:
                await self.eventually(lambda: publisher.available, "the topic is made")

                async def read() -> Sequence[ConsumedRecord]:
                    return await cluster.read(topic)

                yield PublisherUnderTest(publisher, topic, read)


class TestKafkaConsumer(DownstreamConsumerSuite):
    patience = 20.0
    quiet_seconds = 0.2
    server: KafkaServer

    @pytest.fixture(autouse=True)
    def _server(self, kafka_server: KafkaServer) -> None:
        self.server = kafka_server

    @asynccontextmanager
    async def make(self) -> AsyncIterator[ConsumerUnderTest]:
        async with cluster_at(self.server.address) as cluster:
            topic, group = cluster.name("contract"), cluster.group()
            access, plan = KafkaAccess((cluster.address,)), TopicPlan(topic, 3)
            async with KafkaPublisher(access, (plan,)) as publisher:

                async def write(records: Sequence[OutgoingRecord]) -> Sequence[Receipt]:
                    tickets = [RecordingTicket() for _ in records]
                    for record, ticket in zip(records, tickets, strict=True):
                        assert publisher.offer(record, ticket)
                    with anyio.fail_after(self.patience):
                        await publisher.flush()
                    return [
                        receipt for ticket in tickets for receipt in ticket.outcomes if isinstance(receipt, Receipt)
                    ]

                yield ConsumerUnderTest(topic, write, lambda: KafkaConsumer(access, plan, group, f"fence-{group}"))
