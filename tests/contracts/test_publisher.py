"""Publishers: the memory publisher holds to the contract, broken ones do not."""

import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Self

import anyio.lowlevel
import attrs
import pytest

from imgateway.adapters.memory import MemoryBroker, MemoryPublisher
from imgateway.model import ConsumedRecord, OutgoingRecord, PublishFailure, Receipt
from imgateway.ports import PublishTicket, UpstreamPublisher
from imgateway.testing import (
    FaultyPublisher,
    PublisherUnderTest,
    RecordingTicket,
    UpstreamPublisherSuite,
    assert_caught,
)


@pytest.mark.anyio
class TestMemoryPublisher(UpstreamPublisherSuite):
    capacity = 200
    publisher: Callable[[MemoryBroker, int], MemoryPublisher] = MemoryPublisher

    @asynccontextmanager
    async def make(self) -> AsyncIterator[PublisherUnderTest]:
        broker = MemoryBroker()
        topic = self.unique("topic")
        broker.create_topic(topic)

        async def read() -> Sequence[ConsumedRecord]:
            return broker.records(topic)

        async with self.publisher(broker, self.capacity) as publisher:
            yield PublisherUnderTest(self.wrap(publisher), topic, read)

    def wrap(self, publisher: UpstreamPublisher) -> UpstreamPublisher:
        return publisher


class TestFaultyPublisherWithoutFaults(TestMemoryPublisher):
    def wrap(self, publisher: UpstreamPublisher) -> UpstreamPublisher:
        return FaultyPublisher(publisher)


@attrs.frozen
class Relay:
    """A ticket that does something else with the outcome."""

    settled: Callable[[Receipt | PublishFailure], None]


class SettlesTwice(MemoryPublisher):
    def offer(self, record: OutgoingRecord, ticket: PublishTicket, /) -> bool:
        def twice(outcome: Receipt | PublishFailure) -> None:
            ticket.settled(outcome)
            ticket.settled(outcome)

        return super().offer(record, Relay(twice))


class SettlesWithinOffer(MemoryPublisher):
    def offer(self, record: OutgoingRecord, ticket: PublishTicket, /) -> bool:
        taken = super().offer(record, ticket)
        self._settle(1)
        return taken


class SettlesInAThread(MemoryPublisher):
    def offer(self, record: OutgoingRecord, ticket: PublishTicket, /) -> bool:
        def elsewhere(outcome: Receipt | PublishFailure) -> None:
            def settle() -> None:
                # What a ticket does may well fail outside the event loop's thread.
                with suppress(RuntimeError):
                    ticket.settled(outcome)

            thread = threading.Thread(target=settle)
            thread.start()
            thread.join()

        return super().offer(record, Relay(elsewhere))


class WritesBackwards(MemoryPublisher):
    def _settle(self, limit: int) -> None:
        self._pending = deque(reversed(self._pending))
        super()._settle(limit)


class SpreadsKeys(MemoryPublisher):
    def offer(self, record: OutgoingRecord, ticket: PublishTicket, /) -> bool:
        return super().offer(attrs.evolve(record, key=record.key + record.value), ticket)


class AcksBeforeWriting(MemoryPublisher):
    def _settle(self, limit: int) -> None:
        early, self._pending = self._pending, deque()
        for _, ticket in early:
            ticket.settled(Receipt("topic", 0, self._settled))
        self.__dict__.setdefault("late", deque()).extend(early)

    async def flush(self) -> None:
        self._pending, late = self.__dict__.get("late", deque()), self._pending
        super()._settle(len(self._pending))
        self._pending = late


class ForgetsHeaders(MemoryPublisher):
    def offer(self, record: OutgoingRecord, ticket: PublishTicket, /) -> bool:
        return super().offer(attrs.evolve(record, headers=()), ticket)


class FlushReturnsAtOnce(MemoryPublisher):
    async def flush(self) -> None:
        pass


class FlushWaitsForSilence(MemoryPublisher):
    async def flush(self) -> None:
        while self._settled < self._taken:
            await self._progress.wait()


class CancelledFlushDrops(MemoryPublisher):
    async def flush(self) -> None:
        batch, self._pending = self._pending, deque()
        await anyio.lowlevel.checkpoint()
        self._pending.extendleft(reversed(batch))
        await super().flush()


class Unbounded(MemoryPublisher):
    async def __aenter__(self) -> Self:
        self.max_pending = 1_000_000
        return await super().__aenter__()


class RefusesAndTells(MemoryPublisher):
    def offer(self, record: OutgoingRecord, ticket: PublishTicket, /) -> bool:
        taken = super().offer(record, ticket)
        if not taken:
            ticket.settled(PublishFailure.UNKNOWN)
        return taken


class DropsTheOldest(MemoryPublisher):
    def offer(self, record: OutgoingRecord, ticket: PublishTicket, /) -> bool:
        if len(self._pending) >= self.max_pending:
            self._pending.popleft()
            self._settled += 1
        return super().offer(record, ticket)


class RetriesTheTooLarge(MemoryPublisher):
    def offer(self, record: OutgoingRecord, ticket: PublishTicket, /) -> bool:
        def unknown(outcome: Receipt | PublishFailure) -> None:
            ticket.settled(PublishFailure.UNKNOWN if isinstance(outcome, PublishFailure) else outcome)

        return super().offer(record, Relay(unknown))


class ClosingDrops(MemoryPublisher):
    async def aclose(self) -> None:
        self._pending.clear()
        await super().aclose()


class ClosingGivesUp(MemoryPublisher):
    async def aclose(self) -> None:
        for _, ticket in self._pending:
            ticket.settled(PublishFailure.UNKNOWN)
        self._pending.clear()
        await super().aclose()


class ClosedYetTaking(MemoryPublisher):
    def offer(self, record: OutgoingRecord, ticket: PublishTicket, /) -> bool:
        return super().offer(record, ticket) or len(self._pending) < self.max_pending


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("broken", "clauses"),
    [
        (SettlesTwice, "a_ticket_is_settled_once_and_later"),
        (SettlesWithinOffer, "a_ticket_is_settled_once_and_later"),
        (SettlesInAThread, "a_ticket_is_settled_once_and_later"),
        (WritesBackwards, "records_of_a_key_keep_their_order"),
        (SpreadsKeys, "records_of_a_key_keep_their_order"),
        (AcksBeforeWriting, "a_receipt_says_where_the_record_stands"),
        (ForgetsHeaders, "a_receipt_says_where_the_record_stands"),
        (FlushReturnsAtOnce, "flush_waits_for_what_was_taken"),
        (FlushWaitsForSilence, "flush_does_not_wait_for_what_comes_later"),
        (CancelledFlushDrops, "a_cancelled_flush_loses_nothing"),
        (Unbounded, "a_full_buffer_takes_nothing"),
        (RefusesAndTells, "a_full_buffer_takes_nothing a_closed_publisher_takes_nothing"),
        (DropsTheOldest, "a_full_buffer_takes_nothing"),
        (RetriesTheTooLarge, "a_record_too_large_hurts_nobody_else"),
        (ClosingDrops, "closing_writes_out_and_settles_everything"),
        (ClosingGivesUp, "closing_writes_out_and_settles_everything"),
        (ClosedYetTaking, "a_closed_publisher_takes_nothing"),
    ],
)
async def test_broken_publishers_are_caught(
    broken: Callable[[MemoryBroker, int], MemoryPublisher], clauses: str
) -> None:
    suite = TestMemoryPublisher()
    suite.publisher = broken
    await assert_caught(suite, *clauses.split())


@pytest.mark.anyio
async def test_the_fault_wrapper_holds_fails_and_refuses() -> None:
    broker = MemoryBroker()
    async with MemoryPublisher(broker) as inner:
        publisher = FaultyPublisher(inner)
        tickets = [RecordingTicket() for _ in range(5)]
        record = OutgoingRecord("t", b"k", b"v")
        publisher.full = True
        assert not publisher.offer(record, tickets[0])
        publisher.full = False
        publisher.hold()
        publisher.offer(record, tickets[1])
        publisher.fail_next(PublishFailure.REFUSED)
        publisher.fail_next(PublishFailure.UNKNOWN, written=True)
        publisher.offer(record, tickets[2])
        publisher.offer(record, tickets[3])
        publisher.offer(record, tickets[4])
        await inner.flush()
        assert publisher.held == 4
        assert not any(ticket.outcomes for ticket in tickets)
        publisher.release()
        await publisher.flush()
        partition = broker.records("t")[0].partition
        assert [ticket.outcomes for ticket in tickets] == [
            [],
            [Receipt("t", partition, 0)],
            [PublishFailure.REFUSED],
            [PublishFailure.UNKNOWN],
            [Receipt("t", partition, 2)],
        ]
        publisher.hold()
        last = RecordingTicket()
        publisher.offer(record, last)
        await publisher.aclose()
        assert last.outcomes == [PublishFailure.UNKNOWN]
        assert len(broker.records("t")) == 3
