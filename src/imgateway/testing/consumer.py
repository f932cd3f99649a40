"""The contract of `ports.DownstreamConsumer`."""

from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import anyio
import anyio.lowlevel
import attrs

from imgateway.model import ConsumedRecord, OutgoingRecord, Receipt
from imgateway.ports import DownstreamConsumer
from imgateway.testing.suite import ContractSuite

At = tuple[int, int]
"""Partition and offset."""


@attrs.frozen
class ConsumerUnderTest:
    """A topic of this clause alone, which does not exist yet, and what writes and reads it.

    Attributes:
        topic: its name.
        write: write records durably, making the topic if need be; where they stand, in the order given.
        reader: a new consumer of the topic, always for the same group; not started. The suite closes it.
    """

    topic: str
    write: Callable[[Sequence[OutgoingRecord]], Awaitable[Sequence[Receipt]]]
    reader: Callable[[], DownstreamConsumer]


class DownstreamConsumerSuite(ContractSuite):
    """Every consumer holds to this."""

    def make(self) -> AbstractAsyncContextManager[ConsumerUnderTest]:
        """A topic that does not exist, with several partitions once it does."""
        raise NotImplementedError

    async def test_everything_written_after_start_is_read(self) -> None:
        """`start` makes the topic; from then on every record comes as it was written, and is no repeat."""
        async with self.make() as under_test, self._reading(under_test) as consumer:
            headers = (("trace_id", b"1"), ("bytes", b"\x00\xff"), ("trace_id", b"2"))
            records = [
                OutgoingRecord(under_test.topic, f"键{number}".encode(), b"\x00\xfe", headers) for number in range(20)
            ]
            receipts = await under_test.write(records)
            found = {(record.partition, record.offset): record for record in await self._read(consumer, 20)}
            for record, receipt in zip(records, receipts, strict=True):
                read = found.pop((receipt.partition, receipt.offset))
                assert (read.key, read.value, read.headers) == (record.key, record.value, record.headers)
                assert not read.redelivered
            assert not found

    async def test_each_partition_comes_in_order_and_once(self) -> None:
        """Each partition's records come in offset order, over all calls of `take`, each record once."""
        async with self.make() as under_test, self._reading(under_test) as consumer:
            written: list[At] = []
            found: list[ConsumedRecord] = []
            for _ in range(3):
                written += await self._write(under_test, 40)
                found += await self._read(consumer, 40)
            order: dict[int, list[int]] = defaultdict(list)
            for record in found:
                order[record.partition].append(record.offset)
            for offsets in order.values():
                assert offsets == sorted(offsets)
            assert _places(found) == sorted(written)

    async def test_an_existing_topic_is_read_from_the_start_as_repeats(self) -> None:
        """Without a committed position an existing topic is read from the start, its records marked `redelivered`."""
        async with self.make() as under_test:
            written = await self._write(under_test, 20)
            async with self._reading(under_test) as consumer:
                found = await self._read(consumer, 20)
                assert _places(found) == sorted(written)
                assert all(record.redelivered for record in found)
                later = await self._write(under_test, 1)
                (fresh,) = await self._read(consumer, 1)
                assert _places([fresh]) == later
                assert not fresh.redelivered

    async def test_reading_goes_on_after_the_committed_position(self) -> None:
        """A later reader of the group starts at each partition's committed position."""
        async with self.make() as under_test:
            async with self._reading(under_test) as consumer:
                written = await self._write(under_test, 30)
                first = [record for record in await self._read(consumer, 30) if record.offset < 2]
                await consumer.commit(_after(first))
            async with self._reading(under_test) as consumer:
                rest = await self._read(consumer, 30 - len(first))
                assert sorted(_places(first) + _places(rest)) == sorted(written)
                await consumer.commit(_after(rest))
            async with self._reading(under_test) as consumer:
                later = await self._write(under_test, 1)
                assert _places(await self._read(consumer, 1)) == later

    async def test_what_is_not_committed_comes_again(self) -> None:
        """Handed out is not committed, closing commits nothing: it comes again after a restart, as a repeat."""
        async with self.make() as under_test:
            async with self._reading(under_test) as consumer:
                written = await self._write(under_test, 30)
                first = await self._read(consumer, 30)
                partition = first[0].partition
                done = [record for record in first if record.partition == partition]
                await consumer.commit(_after(done))
            async with self._reading(under_test) as consumer:
                again = await self._read(consumer, 30 - len(done))
                assert _places(again) == [at for at in sorted(written) if at[0] != partition]
                assert all(record.redelivered for record in again)

    async def test_a_committed_position_never_goes_back(self) -> None:
        """Committing an earlier position, or nothing, changes nothing."""
        async with self.make() as under_test:
            async with self._reading(under_test) as consumer:
                await self._write(under_test, 30)
                first = await self._read(consumer, 30)
                await consumer.commit(_after(first))
                await consumer.commit(dict.fromkeys(_after(first), 1))
                await consumer.commit({})
            async with self._reading(under_test) as consumer:
                await consumer.commit(dict.fromkeys(_after(first), 0))
            async with self._reading(under_test) as consumer:
                later = await self._write(under_test, 1)
                assert _places(await self._read(consumer, 1)) == later

    async def test_take_waits_for_records(self) -> None:
        """`take` returns when there is a record, never without one."""
        async with self.make() as under_test, self._reading(under_test) as consumer:
            found: list[ConsumedRecord] = []

            async def take() -> None:
                found.extend(await self._take(consumer))

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(take)
                await self.quiet()
                assert not found
                written = await self._write(under_test, 1)
            assert _places(found) == written

    async def test_cancelling_take_loses_nothing(self) -> None:
        """However `take` is cancelled, each record is handed out by exactly one finished call."""
        async with self.make() as under_test, self._reading(under_test) as consumer:
            found: list[ConsumedRecord] = []
            written: list[At] = []

            async def take(scope: anyio.CancelScope) -> None:
                with scope:
                    found.extend(await self._take(consumer))

            for steps in range(8):
                async with anyio.create_task_group() as tasks:
                    # Cancelled while it waits, just as the records come, and a few steps later.
                    scope = anyio.CancelScope()
                    tasks.start_soon(take, scope)
                    await self.quiet()
                    written += await self._write(under_test, 3)
                    for _ in range(steps):
                        await anyio.lowlevel.checkpoint()
                    scope.cancel()
                written += await self._write(under_test, 1)
                with anyio.CancelScope() as scope:
                    # Cancelled before it begins, with records at hand.
                    scope.cancel()
                    found.extend(await consumer.take())
                found += await self._read(consumer, len(written) - len(found))
            assert _places(found) == sorted(written)

    async def test_lag_counts_what_take_has_not_handed_out(self) -> None:
        """`lag` is what is written and not taken, soon; nothing once all is taken."""
        async with self.make() as under_test:
            await self._write(under_test, 10)
            async with self._reading(under_test) as consumer:
                await self.eventually(lambda: consumer.lag() == 10, "the lag is what stands in the topic")
                await self._read(consumer, 10)
                await self.eventually(lambda: consumer.lag() == 0, "no lag when all is taken")
                await self._write(under_test, 5)
                await self._read(consumer, 5)
                await self.eventually(lambda: consumer.lag() == 0, "no lag when all is taken")

    async def test_closing_twice_is_closing_once(self) -> None:
        """`aclose` is idempotent, also on a consumer that was never started; the committed positions stay."""
        async with self.make() as under_test:
            await under_test.reader().aclose()
            async with self._reading(under_test) as consumer:
                await self._write(under_test, 5)
                await consumer.commit(_after(await self._read(consumer, 5)))
                await consumer.aclose()
            async with self._reading(under_test) as consumer:
                later = await self._write(under_test, 1)
                assert _places(await self._read(consumer, 1)) == later

    @asynccontextmanager
    async def _reading(self, under_test: ConsumerUnderTest) -> AsyncIterator[DownstreamConsumer]:
        consumer = under_test.reader()
        try:
            with anyio.fail_after(self.patience):
                await consumer.start()
            yield consumer
        finally:
            await consumer.aclose()

    async def _write(self, under_test: ConsumerUnderTest, count: int) -> list[At]:
        records = [
            OutgoingRecord(under_test.topic, f"conversation-{number}".encode(), str(number).encode())
            for number in range(count)
        ]
        return [(receipt.partition, receipt.offset) for receipt in await under_test.write(records)]

    async def _take(self, consumer: DownstreamConsumer) -> Sequence[ConsumedRecord]:
        with anyio.fail_after(self.patience):
            records = await consumer.take()
        assert records, "take gave nothing"
        return records

    async def _read(self, consumer: DownstreamConsumer, count: int) -> list[ConsumedRecord]:
        """Exactly `count` records: one more than expected shows as well."""
        found: list[ConsumedRecord] = []
        while len(found) < count:
            found.extend(await self._take(consumer))
        assert len(found) == count
        return found


def _places(records: Sequence[ConsumedRecord]) -> list[At]:
    return sorted((record.partition, record.offset) for record in records)


def _after(records: Sequence[ConsumedRecord]) -> dict[int, int]:
    positions: dict[int, int] = {}
    for record in records:
        positions[record.partition] = max(record.offset + 1, positions.get(record.partition, 0))
    return positions
