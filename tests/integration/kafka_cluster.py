"""A cluster as seen by someone else than the gateway: makes, alters and deletes topics, writes and reads records."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import anyio
import attrs
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.protocol.admin import DeleteGroupsRequest

from imgateway.model import ConsumedRecord

PATIENCE = 60.0


@attrs.define(eq=False)
class Cluster:
    """Whatever is made through it is deleted when it is left, and so is what a test names in `made` and `groups`."""

    address: str
    made: set[str] = attrs.field(factory=set)
    groups: set[str] = attrs.field(factory=set)

    def name(self, what: str) -> str:
        """A topic that nobody else uses, deleted in the end whoever makes it."""
        topic = f"{what}-{uuid4().hex[:12]}"
        self.made.add(topic)
        return topic

    def group(self, what: str = "group") -> str:
        group = f"{what}-{uuid4().hex[:12]}"
        self.groups.add(group)
        return group

    @asynccontextmanager
    async def admin(self) -> AsyncIterator[AIOKafkaAdminClient]:
        admin = AIOKafkaAdminClient(bootstrap_servers=self.address, request_timeout_ms=10_000)
        await admin.start()
        try:
            yield admin
        finally:
            await admin.close()

    async def create(self, what: str = "topic", partitions: int = 3, **configs: object) -> str:
        """A new topic; settings with `_` for `.`."""
        topic = self.name(what)
        await self.create_as(topic, partitions, **configs)
        return topic

    async def create_as(self, topic: str, partitions: int = 3, **configs: object) -> None:
        async with self.admin() as admin:
            response = await admin.create_topics([NewTopic(topic, partitions, 1, topic_configs=_dotted(configs))])
            assert [code for _, code, *_ in response.topic_errors] == [0], response
            await _partitions(admin, topic, partitions)

    async def alter(self, topic: str, **configs: object) -> None:
        """Set these and no other settings of a topic."""
        async with self.admin() as admin:
            resource = ConfigResource(ConfigResourceType.TOPIC, topic, _dotted(configs))
            (response,) = await admin.alter_configs([resource])
            assert [code for code, *_ in response.resources] == [0], response
            asked = ConfigResource(ConfigResourceType.TOPIC, topic, dict.fromkeys(_dotted(configs)))
            with anyio.fail_after(PATIENCE):
                while True:
                    (described,) = await admin.describe_configs([asked])
                    ((_, _, _, _, entries),) = described.resources
                    if _dotted(configs).items() <= {name: value for name, value, *_ in entries}.items():
                        break
                    await anyio.sleep(0.05)
        # The broker takes its metadata's changes one after the other: with a later one the log has the settings.
        await self.create("later", 1)

    async def add_partitions(self, topic: str, total: int) -> None:
        async with self.admin() as admin:
            await admin.create_partitions({topic: NewPartitions(total)})
            await _partitions(admin, topic, total)

    async def delete(self, *topics: str) -> None:
        async with self.admin() as admin:
            await admin.delete_topics(list(topics))
            with anyio.fail_after(PATIENCE):
                while set(topics) & set(await admin.list_topics()):
                    await anyio.sleep(0.05)

    async def topics(self) -> set[str]:
        async with self.admin() as admin:
            return {topic for topic in await admin.list_topics() if not topic.startswith("__")}

    async def committed(self, group: str, topic: str) -> dict[int, int]:
        async with self.admin() as admin:
            offsets = await admin.list_consumer_group_offsets(group)
        return {place.partition: found.offset for place, found in offsets.items() if place.topic == topic}

    @asynccontextmanager
    async def producer(self, **options: Any) -> AsyncIterator[AIOKafkaProducer]:
        producer = AIOKafkaProducer(
            bootstrap_servers=self.address, **{"acks": "all", "max_request_size": 8_000_000} | options
        )
        await producer.start()
        try:
            yield producer
        finally:
            await producer.stop()

    async def read(self, topic: str, *, isolation_level: str = "read_uncommitted") -> list[ConsumedRecord]:
        """Every record that stands in the topic now, partition by partition, by a reader that commits nothing."""
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self.address, auto_offset_reset="earliest", isolation_level=isolation_level
        )
        await consumer.start()
        try:
            await consumer.topics()
            async with self.admin() as admin:
                places = await _partitions(admin, topic)
            consumer.assign(places)
            await consumer.seek_to_beginning(*places)
            ends = await consumer.end_offsets(places)
            records: dict[TopicPartition, list[ConsumedRecord]] = {place: [] for place in sorted(places)}
            with anyio.fail_after(PATIENCE):
                while any([await consumer.position(place) < end for place, end in ends.items()]):
                    for place, batch in (await consumer.getmany(timeout_ms=200)).items():
                        records[place] += [
                            ConsumedRecord(r.partition, r.offset, r.key or b"", r.value or b"", tuple(r.headers))
                            for r in batch
                        ]
            return [record for batch in records.values() for record in batch]
        finally:
            await consumer.stop()

    async def clean_up(self) -> None:
        """Delete what was made, and see that it is gone."""
        async with self.admin() as admin:
            made = sorted(self.made & set(await admin.list_topics()))
        if made:
            await self.delete(*made)
        async with self.admin() as admin:
            for group in sorted(self.groups):
                coordinator = await admin.find_coordinator(group)
                await admin._send_request(DeleteGroupsRequest([group]), coordinator)
            assert not self.groups & {group for group, *_ in await admin.list_consumer_groups()}


@asynccontextmanager
async def cluster_at(address: str) -> AsyncIterator[Cluster]:
    cluster = Cluster(address)
    try:
        yield cluster
    finally:
        with anyio.CancelScope(shield=True):
            await cluster.clean_up()


def values(records: Sequence[ConsumedRecord]) -> list[bytes]:
    return [record.value for record in records]


async def _partitions(admin: AIOKafkaAdminClient, topic: str, at_least: int = 1) -> list[TopicPartition]:
    """Those of a topic, once the broker knows so many and who leads them, which is a moment after they were made."""
    with anyio.fail_after(PATIENCE):
        while True:
            (found,) = await admin.describe_topics([topic])
            led = [part["leader"] >= 0 for part in found["partitions"]]
            if found["error_code"] == 0 and all(led) and len(led) >= at_least:
                return [TopicPartition(topic, part["partition"]) for part in found["partitions"]]
            await anyio.sleep(0.05)


def _dotted(configs: dict[str, object]) -> dict[str, str]:
    return {key.replace("_", "."): str(value) for key, value in configs.items()}
