"""The contract of `ports.UpstreamPublisher`."""

import threading
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager

import anyio
import attrs

from imgateway.model import ConsumedRecord, OutgoingRecord, PublishFailure, Receipt
from imgateway.ports import UpstreamPublisher
from imgateway.testing.suite import ContractSuite


@attrs.define(eq=False)
class RecordingTicket:
    """Implements `ports.PublishTicket`: keeps what it was told.

    Attributes:
        outcomes: one entry for each call.
        then: called after each.
        threads: the threads that called.
    """

    then: Callable[[], object] | None = None
    outcomes: list[Receipt | PublishFailure] = attrs.field(factory=list, init=False)
    threads: set[int] = attrs.field(factory=set, init=False)

    def settled(self, outcome: Receipt | PublishFailure, /) -> None:
        """Keep the outcome."""
        self.outcomes.append(outcome)
        self.threads.add(threading.get_ident())
        if self.then is not None:
            self.then()


@attrs.frozen
class PublisherUnderTest:
    """A running publisher and a way to see what it wrote.

    Attributes:
        publisher: ready to take records.
        topic: a topic of this clause alone, which exists and is empty.
        read: everything a reader of the topic gets now; each partition's records in offset order.
    """

    publisher: UpstreamPublisher
    topic: str
    read: Callable[[], Awaitable[Sequence[ConsumedRecord]]]


class UpstreamPublisherSuite(ContractSuite):
    """Every publisher holds to this.

    Attributes:
        capacity: a number of small records that is more than the publisher's buffer takes at once.
        too_large_bytes: the size of a value that the broker refuses.
    """

    capacity: int = 1_000
    too_large_bytes: int = 2_000_000

    def make(self) -> AbstractAsyncContextManager[PublisherUnderTest]:
        """A running publisher on an empty topic; its buffer takes at least 200 small records."""
        raise NotImplementedError

    async def test_a_receipt_says_where_the_record_stands(self) -> None:
        """Once a ticket has its receipt, the record can be read there, with the key, value and headers it was given."""
        async with self.make() as under_test:
            headers = (("trace_id", b"1"), ("bytes", b"\x00\xff"), ("trace_id", b"2"))
            record = OutgoingRecord(under_test.topic, "会话/1".encode(), b'{"a": "\x00\xfe"}', headers)
            settled = anyio.Event()
            ticket = RecordingTicket(settled.set)
            assert under_test.publisher.offer(record, ticket) is True
            with anyio.fail_after(self.patience):
                await settled.wait()
            (found,) = await under_test.read()
            assert ticket.outcomes == [Receipt(under_test.topic, found.partition, found.offset)]
            assert (found.key, found.value, found.headers) == (record.key, record.value, record.headers)

    async def test_a_ticket_is_settled_once_and_later(self) -> None:
        """Every ticket is told exactly once: after `offer` has returned, in the event loop's thread."""
        async with self.make() as under_test:
            tickets = [RecordingTicket() for _ in range(50)]
            for number, ticket in enumerate(tickets):
                assert under_test.publisher.offer(self._record(under_test, b"k", number), ticket)
                assert ticket.outcomes == [], "settled within offer"
            await self._flush(under_test.publisher)
            await self.quiet()
            await under_test.publisher.aclose()
            assert [len(ticket.outcomes) for ticket in tickets] == [1] * 50
            assert set().union(*(ticket.threads for ticket in tickets)) == {threading.get_ident()}

    async def test_records_of_a_key_keep_their_order(self) -> None:
        """Records of one topic and key stand in one partition in the order offered, and their offsets ascend so."""
        keys = [f"conversation-{number}".encode() for number in range(7)]
        async with self.make() as under_test:
            tickets: dict[bytes, list[RecordingTicket]] = defaultdict(list)
            for number in range(140):
                key = keys[number % 7]
                tickets[key].append(RecordingTicket())
                assert under_test.publisher.offer(self._record(under_test, key, number), tickets[key][-1])
                if number % 50 == 49:
                    await self._flush(under_test.publisher)
            await self._flush(under_test.publisher)
            found = await under_test.read()
            at = {(record.partition, record.offset): record.value for record in found}
            for position, key in enumerate(keys):
                receipts = [self._receipt(ticket) for ticket in tickets[key]]
                assert len({receipt.partition for receipt in receipts}) == 1
                offsets = [receipt.offset for receipt in receipts]
                assert offsets == sorted(set(offsets)), "offsets do not ascend as offered"
                offered = [str(number).encode() for number in range(position, 140, 7)]
                assert [at[receipt.partition, receipt.offset] for receipt in receipts] == offered
            assert len(found) == 140

    async def test_flush_waits_for_what_was_taken(self) -> None:
        """When `flush` returns, everything taken before the call is settled; with nothing taken it returns."""
        async with self.make() as under_test:
            await self._flush(under_test.publisher)
            tickets = [RecordingTicket() for _ in range(100)]
            for number, ticket in enumerate(tickets):
                assert under_test.publisher.offer(self._record(under_test, str(number).encode(), number), ticket)
            await self._flush(under_test.publisher)
            for ticket in tickets:
                self._receipt(ticket)
            assert len(await under_test.read()) == 100

    async def test_flush_does_not_wait_for_what_comes_later(self) -> None:
        """`flush` returns though each record that is settled makes room for another one."""
        async with self.make() as under_test:
            to_come = 5_000

            def offer_another() -> None:
                nonlocal to_come
                if to_come:
                    to_come -= 1
                    under_test.publisher.offer(self._record(under_test, b"k", 1), RecordingTicket(offer_another))

            offer_another()
            await self._flush(under_test.publisher)
            waited_for, to_come = 5_000 - to_come, 0
            assert waited_for < 5_000

    async def test_a_cancelled_flush_loses_nothing(self) -> None:
        """Cancelling `flush` changes nothing for the records: they are written and their tickets told."""
        async with self.make() as under_test:
            tickets = [RecordingTicket() for _ in range(100)]
            for number, ticket in enumerate(tickets):
                assert under_test.publisher.offer(self._record(under_test, b"k", number), ticket)
            with anyio.CancelScope() as scope:
                scope.cancel()
                await under_test.publisher.flush()
            await self._flush(under_test.publisher)
            offsets = [self._receipt(ticket).offset for ticket in tickets]
            assert offsets == [record.offset for record in await under_test.read()]

    async def test_a_full_buffer_takes_nothing(self) -> None:
        """Where the buffer is full `offer` is False: not written, the ticket never told; room comes back with time."""
        async with self.make() as under_test:
            taken: list[RecordingTicket] = []
            refused: list[RecordingTicket] = []
            for number in range(self.capacity + 1):
                ticket = RecordingTicket()
                record = self._record(under_test, b"k", number)
                (taken if under_test.publisher.offer(record, ticket) else refused).append(ticket)
            assert refused, "the buffer has no bound"
            assert taken
            await self._flush(under_test.publisher)
            last = RecordingTicket()
            assert under_test.publisher.offer(self._record(under_test, b"k", 0), last) is True
            await self._flush(under_test.publisher)
            for ticket in (*taken, last):
                self._receipt(ticket)
            assert not any(ticket.outcomes for ticket in refused)
            assert len(await under_test.read()) == len(taken) + 1

    async def test_a_record_too_large_hurts_nobody_else(self) -> None:
        """A record that the broker never takes is settled `TOO_LARGE` and not written; those around it are."""
        async with self.make() as under_test:
            before, huge, after = RecordingTicket(), RecordingTicket(), RecordingTicket()
            value = b"x" * self.too_large_bytes
            assert under_test.publisher.offer(self._record(under_test, b"k", 1), before)
            assert under_test.publisher.offer(OutgoingRecord(under_test.topic, b"k", value), huge)
            assert under_test.publisher.offer(self._record(under_test, b"k", 2), after)
            await self._flush(under_test.publisher)
            assert huge.outcomes == [PublishFailure.TOO_LARGE]
            assert self._receipt(before).offset < self._receipt(after).offset
            assert [record.value for record in await under_test.read()] == [b"1", b"2"]

    async def test_closing_writes_out_and_settles_everything(self) -> None:
        """After `aclose` every ticket is told: a receipt and the record is there, or `UNKNOWN`. It is idempotent."""
        async with self.make() as under_test:
            tickets = [RecordingTicket() for _ in range(100)]
            for number, ticket in enumerate(tickets):
                assert under_test.publisher.offer(self._record(under_test, b"k", number), ticket)
            await under_test.publisher.aclose()
            outcomes = [ticket.outcomes for ticket in tickets]
            await under_test.publisher.aclose()
            assert all(len(told) == 1 for told in outcomes)
            there = {Receipt(under_test.topic, record.partition, record.offset) for record in await under_test.read()}
            assert there, "nothing was written though the broker was there"
            for (told,) in outcomes:
                assert told in there or told is PublishFailure.UNKNOWN

    async def test_a_closed_publisher_takes_nothing(self) -> None:
        """After `aclose` `offer` is False, nothing is written and no ticket is told; `flush` returns."""
        async with self.make() as under_test:
            await under_test.publisher.aclose()
            ticket = RecordingTicket()
            assert under_test.publisher.offer(self._record(under_test, b"k", 1), ticket) is False
            await self._flush(under_test.publisher)
            await self.quiet()
            assert ticket.outcomes == []
            assert await under_test.read() == []

    def _record(self, under_test: PublisherUnderTest, key: bytes, number: int) -> OutgoingRecord:
        return OutgoingRecord(under_test.topic, key, str(number).encode())

    def _receipt(self, ticket: RecordingTicket) -> Receipt:
        (outcome,) = ticket.outcomes
        assert isinstance(outcome, Receipt)
        return outcome

    async def _flush(self, publisher: UpstreamPublisher) -> None:
        with anyio.fail_after(self.patience):
            await publisher.flush()
