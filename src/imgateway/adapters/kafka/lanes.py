"""What waits to be written to one topic: a queue for each partition, in the order offered."""

from collections import deque
from collections.abc import Iterator
from typing import Any

import attrs

from imgateway.adapters.kafka.topics import TopicFacts, TopicPlan
from imgateway.core.partitioning import partition_of
from imgateway.model import OutgoingRecord
from imgateway.ports import PublishTicket

BATCH_BYTES = 512 * 1024
BATCH_OVERHEAD = 128
"""More than the header of a batch and the lengths within a record take (61 and at most 21 bytes)."""
HEADER_OVERHEAD = 10


def size_of(record: OutgoingRecord) -> int:
    """About what the broker compares with `max.message.bytes` when the record is alone in its batch."""
    size = len(record.key) + len(record.value) + BATCH_OVERHEAD
    for name, value in record.headers:
        size += len(name) + len(value) + HEADER_OVERHEAD
    return size


@attrs.define(eq=False)
class Entry:
    """A record that was taken. Not frozen, as there is one for each record and freezing triples the price.

    Attributes:
        number: ascends in the order offered, over all topics.
        size: see `size_of`.
    """

    number: int
    record: OutgoingRecord
    ticket: PublishTicket
    size: int


@attrs.define(eq=False)
class Lane:
    """What waits for one partition.

    Attributes:
        in_flight: the batch that is being written, in order; all of it stands before all that waits.
        since: when that batch was sent.
        busy: whether somebody writes.
    """

    topic: "Topic"
    partition: int
    waiting: deque[Entry] = attrs.field(factory=deque)
    in_flight: list[Entry] = attrs.field(factory=list)
    since: float = 0.0
    busy: bool = False

    def fill(self, batch: Any) -> None:
        """Move as much of what waits as the batch may hold; stops before a record that no batch can."""
        room = self.topic.batch_bytes
        while self.waiting:
            entry = self.waiting[0]
            room -= entry.size
            if entry.size > self.topic.max_record_bytes or (room < 0 and self.in_flight):
                break
            record = entry.record
            if batch.append(key=record.key, value=record.value, timestamp=None, headers=list(record.headers)) is None:
                break
            self.in_flight.append(self.waiting.popleft())
        batch.close()

    def landed(self) -> list[Entry]:
        """What was in flight, which it is no longer."""
        entries, self.in_flight = self.in_flight, []
        return entries

    def put_back(self) -> None:
        """The batch was certainly not written: it waits again, before everything else."""
        self.waiting.extendleft(reversed(self.landed()))

    @property
    def oldest(self) -> int | None:
        """The number of the first record that is not settled."""
        if self.in_flight:
            return self.in_flight[0].number
        return self.waiting[0].number if self.waiting else None


@attrs.define(eq=False)
class Topic:
    """A topic that records were offered for.

    Attributes:
        plan: how it is made, for one of ours.
        lanes: empty until its partitions are known for the first time.
        unplaced: what waits for that.
        ready: whether it may be written to.
        searching: whether somebody looks for it.
        max_record_bytes: see `size_of`.
    """

    name: str
    plan: TopicPlan | None = None
    lanes: list[Lane] = attrs.field(factory=list)
    unplaced: deque[Entry] = attrs.field(factory=deque)
    ready: bool = False
    searching: bool = False
    max_record_bytes: int = 0
    batch_bytes: int = BATCH_BYTES

    def put(self, entry: Entry) -> Lane | None:
        """Take a record; the lane it waits in, if that is known."""
        if not self.lanes:
            self.unplaced.append(entry)
            return None
        lane = self.lanes[partition_of(entry.record.key, len(self.lanes))]
        lane.waiting.append(entry)
        return lane

    def found(self, facts: TopicFacts) -> None:
        """It exists: place what waits. Nothing is in flight.

        Partitions that were added are not used, so that a key never changes its partition while this process lives.
        A topic with fewer of them than before is another one of the same name.
        """
        self.max_record_bytes = facts.max_message_bytes
        self.batch_bytes = min(self.batch_bytes, facts.max_message_bytes)
        if not self.lanes or len(self.lanes) > facts.partitions:
            self.unplaced = deque(self.waiting())
            self.lanes = [Lane(self, partition) for partition in range(facts.partitions)]
        waiting, self.unplaced = self.unplaced, deque()
        for entry in waiting:
            self.put(entry)
        self.ready, self.searching = True, False

    def begin_anew(self) -> None:
        """Nothing is in flight and nobody at work any more; the topic may have changed."""
        self.ready = self.searching = False
        for lane in self.lanes:
            lane.busy = False

    def waiting(self) -> list[Entry]:
        """Everything that waits, in the order offered."""
        entries = [*self.unplaced, *(entry for lane in self.lanes for entry in lane.waiting)]
        return sorted(entries, key=lambda entry: entry.number)

    def refused(self) -> list[Entry]:
        """Everything that waits, which it does no longer."""
        entries = self.waiting()
        self.unplaced.clear()
        for lane in self.lanes:
            lane.waiting.clear()
        return entries

    def smaller_batches(self, size: int) -> None:
        """A batch of several records and this size was too large for the broker."""
        self.batch_bytes = min(self.batch_bytes, size) // 2

    def unsettled(self) -> Iterator[int]:
        """The number of the first unsettled record of each queue."""
        if self.unplaced:
            yield self.unplaced[0].number
        for lane in self.lanes:
            number = lane.oldest
            if number is not None:
                yield number

    @property
    def idle(self) -> bool:
        """Whether nothing waits and nothing is in flight."""
        return next(self.unsettled(), None) is None
