"""Everything a publisher has taken and not settled."""

from collections.abc import Iterator, Sequence

import anyio
import attrs

from imgateway.adapters.kafka.lanes import Entry, Lane, Topic, size_of
from imgateway.model import OutgoingRecord, PublishFailure, Receipt
from imgateway.ports import PublishTicket

MAX_TOPICS = 10_000


@attrs.define(eq=False)
class Backlog:
    """Bounded in records and in bytes.

    Attributes:
        topics: by name.
        max_records: how many may wait or be in flight.
        max_bytes: how many bytes of them; a single record larger than that is taken when nothing else is there.
    """

    max_records: int
    max_bytes: int
    topics: dict[str, Topic] = attrs.field(factory=dict)
    _taken: int = 0
    _records: int = 0
    _bytes: int = 0
    _progress: anyio.Event = attrs.field(factory=anyio.Event)

    def take(self, record: OutgoingRecord, ticket: PublishTicket) -> tuple[Topic, Lane | None] | None:
        """Take a record: its topic, and the lane it waits in if that is known. None: there is no room."""
        size = size_of(record)
        if self._records >= self.max_records or (self._bytes + size > self.max_bytes and self._records):
            return None
        topic = self.topics.get(record.topic)
        if topic is None:
            if len(self.topics) >= MAX_TOPICS and not self.forget_idle():
                return None
            topic = self.topics[record.topic] = Topic(record.topic)
        self._taken += 1
        self._records += 1
        self._bytes += size
        return topic, topic.put(Entry(self._taken, record, ticket, size))

    def forget_idle(self) -> int:
        """Forget topics that are not ours and have no records. How many that were."""
        idle = [topic.name for topic in self.topics.values() if topic.plan is None and topic.idle]
        for name in idle:
            del self.topics[name]
        return len(idle)

    def written(self, lane: Lane, offset: int) -> None:
        """What was in flight stands in the log from `offset` on."""
        entries, topic = lane.landed(), lane.topic.name
        self._forget(entries)
        for position, entry in enumerate(entries):
            entry.ticket.settled(Receipt(topic, lane.partition, offset + position))
        self._progressed()

    def failed(self, entries: Sequence[Entry], failure: PublishFailure) -> None:
        """These will not be written."""
        self._forget(entries)
        for entry in entries:
            entry.ticket.settled(failure)
        self._progressed()

    def lanes(self) -> Iterator[Lane]:
        """All there are."""
        for topic in self.topics.values():
            yield from topic.lanes

    def lanes_in_flight(self) -> list[Lane]:
        """Those with a batch in flight."""
        return [lane for lane in self.lanes() if lane.in_flight]

    async def landed(self) -> None:
        """Wait until nothing is in flight."""
        while self.lanes_in_flight():
            await self._progress.wait()

    async def settled(self) -> None:
        """Wait until everything taken by now is settled, whatever else is."""
        last = self._taken
        while self._oldest() <= last:
            await self._progress.wait()

    def _oldest(self) -> float:
        numbers = (number for topic in self.topics.values() for number in topic.unsettled())
        return min(numbers, default=float("inf"))

    def _forget(self, entries: Sequence[Entry]) -> None:
        # Before any ticket is told: what it does may be to offer the next record.
        self._records -= len(entries)
        self._bytes -= sum(entry.size for entry in entries)

    def _progressed(self) -> None:
        self._progress.set()
        self._progress = anyio.Event()
