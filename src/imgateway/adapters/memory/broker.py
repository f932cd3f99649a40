"""A message broker within the process: topics, partitions, retention and committed positions as Kafka has them."""

from collections.abc import Mapping, Sequence

import anyio
import attrs

from imgateway.core.partitioning import partition_of
from imgateway.model import ConsumedRecord, OutgoingRecord, PublishFailure, Receipt


@attrs.define(eq=False)
class _Log:
    """One partition: the records that are still kept, and the offset of the first of them."""

    base: int = 0
    records: list[ConsumedRecord] = attrs.field(factory=list)

    @property
    def end(self) -> int:
        """The offset that the next record gets."""
        return self.base + len(self.records)


@attrs.define(eq=False)
class _Topic:
    logs: tuple[_Log, ...]
    waiting: set[anyio.Event] = attrs.field(factory=set)


@attrs.define(eq=False)
class MemoryBroker:
    """Holds every topic of the process. Synchronous, for one event loop's thread; nothing survives the process.

    Attributes:
        partitions: how many a topic gets that is made by its first record or reader.
        retention_records: how many records a partition keeps; beyond that the oldest are dropped, read or not, as a
            broker's retention does.
        max_record_bytes: longest key and value together (Kafka's default `message.max.bytes`).
    """

    partitions: int = 3
    retention_records: int = 20_000
    max_record_bytes: int = 1_048_588
    _topics: dict[str, _Topic] = attrs.field(factory=dict, init=False)
    _committed: dict[tuple[str, str], dict[int, int]] = attrs.field(factory=dict, init=False)

    def create_topic(self, topic: str, partitions: int | None = None, /) -> None:
        """Make the topic exist; one that does keeps its partitions."""
        if topic not in self._topics:
            self._topics[topic] = _Topic(tuple(_Log() for _ in range(partitions or self.partitions)))

    def append(self, record: OutgoingRecord, /) -> Receipt | PublishFailure:
        """Write a record to the partition of its key; readable when this returns."""
        if len(record.key) + len(record.value) > self.max_record_bytes:
            return PublishFailure.TOO_LARGE
        self.create_topic(record.topic)
        topic = self._topics[record.topic]
        partition = partition_of(record.key, len(topic.logs))
        log = topic.logs[partition]
        offset = log.end
        log.records.append(ConsumedRecord(partition, offset, record.key, record.value, record.headers))
        if len(log.records) > self.retention_records:
            # Dropping from the front of a list moves all the rest, so several go at once.
            dropped = max(1, self.retention_records // 8)
            del log.records[:dropped]
            log.base += dropped
        for event in topic.waiting:
            event.set()
        return Receipt(record.topic, partition, offset)

    def read(self, topic: str, partition: int, offset: int, limit: int, /) -> Sequence[ConsumedRecord]:
        """At most `limit` records of an existing topic from `offset` on, or from the oldest one kept."""
        log = self._topics[topic].logs[partition]
        first = max(0, offset - log.base)
        return log.records[first : first + limit]

    def records(self, topic: str, /) -> Sequence[ConsumedRecord]:
        """Everything a topic keeps, partition by partition; nothing if there is no such topic."""
        found = self._topics.get(topic)
        return [record for log in found.logs for record in log.records] if found else []

    def bounds(self, topic: str, /) -> Sequence[tuple[int, int]]:
        """For each partition of an existing topic: the offset of the oldest record kept, and that of the next one."""
        return [(log.base, log.end) for log in self._topics[topic].logs]

    async def appended(self, topic: str, /) -> None:
        """Return after the next record is written to an existing topic. What was written before the call is missed."""
        event = anyio.Event()
        waiting = self._topics[topic].waiting
        waiting.add(event)
        try:
            await event.wait()
        finally:
            waiting.discard(event)

    def commit(self, group: str, topic: str, positions: Mapping[int, int], /) -> None:
        """Keep the positions of a group of readers, by partition. None goes back."""
        committed = self._committed.setdefault((group, topic), {})
        for partition, position in positions.items():
            committed[partition] = max(position, committed.get(partition, 0))

    def committed(self, group: str, topic: str, /) -> Mapping[int, int]:
        """A group's positions by partition; a partition it never committed is absent."""
        return dict(self._committed.get((group, topic), {}))
