"""Consumers: the memory consumer holds to the contract, broken ones do not."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager

import anyio.lowlevel
import attrs
import pytest

from imgateway.adapters.memory import MemoryBroker, MemoryConsumer
from imgateway.model import ConsumedRecord, OutgoingRecord, Receipt
from imgateway.ports import DownstreamConsumer
from imgateway.testing import ConsumerUnderTest, DownstreamConsumerSuite, assert_caught


@pytest.mark.anyio
class TestMemoryConsumer(DownstreamConsumerSuite):
    consumer: Callable[[MemoryBroker, str, str], DownstreamConsumer] = MemoryConsumer

    @asynccontextmanager
    async def make(self) -> AsyncIterator[ConsumerUnderTest]:
        broker = MemoryBroker(partitions=3)
        topic, group = self.unique("topic"), self.unique("group")

        async def write(records: Sequence[OutgoingRecord]) -> Sequence[Receipt]:
            receipts = [broker.append(record) for record in records]
            return [receipt for receipt in receipts if isinstance(receipt, Receipt)]

        yield ConsumerUnderTest(topic, write, lambda: self.consumer(broker, topic, group))


class StartsAtTheEnd(MemoryConsumer):
    async def start(self) -> None:
        await super().start()
        if not self.broker.committed(self.group, self.topic):
            self._positions = [end for _, end in self.broker.bounds(self.topic)]


class StartsAtTheEndLate(MemoryConsumer):
    """Positions are looked up by the first `take`, as a subscription does."""

    async def take(self) -> Sequence[ConsumedRecord]:
        if not self.__dict__.setdefault("looked_up", False):
            self.__dict__["looked_up"] = True
            self._positions = [end for _, end in self.broker.bounds(self.topic)]
        return await super().take()


class IgnoresCommits(MemoryConsumer):
    async def commit(self, positions: Mapping[int, int], /) -> None:
        pass


class CommitsBack(MemoryConsumer):
    async def commit(self, positions: Mapping[int, int], /) -> None:
        self.broker._committed.setdefault((self.group, self.topic), {}).update(positions)


class CommitsWhatItTakes(MemoryConsumer):
    async def take(self) -> Sequence[ConsumedRecord]:
        records = await super().take()
        await self.commit(dict(enumerate(self._positions)))
        return records


class CommitsAtClose(MemoryConsumer):
    async def aclose(self) -> None:
        self.broker.commit(self.group, self.topic, dict(enumerate(self._positions)))
        await super().aclose()


class ReadsTheCommittedAgain(MemoryConsumer):
    async def start(self) -> None:
        await super().start()
        self._positions = [max(0, position - 1) for position in self._positions]


class NeverMarksRepeats(MemoryConsumer):
    def _collect(self) -> list[ConsumedRecord]:
        return [attrs.evolve(record, redelivered=False) for record in super()._collect()]


class MarksEverything(MemoryConsumer):
    def _collect(self) -> list[ConsumedRecord]:
        return [attrs.evolve(record, redelivered=True) for record in super()._collect()]


class MixesUpTheOrder(MemoryConsumer):
    def _collect(self) -> list[ConsumedRecord]:
        return super()._collect()[::-1]


class TakesNothingAtOnce(MemoryConsumer):
    async def take(self) -> Sequence[ConsumedRecord]:
        await anyio.lowlevel.checkpoint()
        return self._collect()


async def _linger() -> None:
    """Longer than one turn of the event loop, so that a cancellation surely finds it."""
    for _ in range(3):
        await anyio.lowlevel.checkpoint()


class LosesWhenCancelled(MemoryConsumer):
    async def take(self) -> Sequence[ConsumedRecord]:
        records = await super().take()
        await _linger()
        return records


class GivesAgainWhenCancelled(MemoryConsumer):
    async def take(self) -> Sequence[ConsumedRecord]:
        positions = [*self._positions]
        records = await super().take()
        try:
            await _linger()
        except anyio.get_cancelled_exc_class():
            self._positions = positions
        return records


class LagIsTheTopic(MemoryConsumer):
    def lag(self) -> int:
        return sum(end for _, end in self.broker.bounds(self.topic))


class ForgetsHeaders(MemoryConsumer):
    def _collect(self) -> list[ConsumedRecord]:
        return [attrs.evolve(record, headers=()) for record in super()._collect()]


class SkipsARecord(MemoryConsumer):
    def _collect(self) -> list[ConsumedRecord]:
        return [record for record in super()._collect() if record.offset != 15]


class ClosesOnce(MemoryConsumer):
    async def aclose(self) -> None:
        self._fresh_from.clear()
        del self._fresh_from
        await super().aclose()


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("broken", "clauses"),
    [
        (StartsAtTheEnd, "an_existing_topic_is_read_from_the_start_as_repeats"),
        (StartsAtTheEndLate, "everything_written_after_start_is_read"),
        (IgnoresCommits, "reading_goes_on_after_the_committed_position a_committed_position_never_goes_back"),
        (CommitsBack, "a_committed_position_never_goes_back"),
        (CommitsWhatItTakes, "what_is_not_committed_comes_again reading_goes_on_after_the_committed_position"),
        (CommitsAtClose, "what_is_not_committed_comes_again"),
        (ReadsTheCommittedAgain, "reading_goes_on_after_the_committed_position"),
        (NeverMarksRepeats, "an_existing_topic_is_read_from_the_start_as_repeats what_is_not_committed_comes_again"),
        (MarksEverything, "everything_written_after_start_is_read"),
        (MixesUpTheOrder, "each_partition_comes_in_order_and_once"),
        (TakesNothingAtOnce, "take_waits_for_records"),
        (LosesWhenCancelled, "cancelling_take_loses_nothing"),
        (GivesAgainWhenCancelled, "cancelling_take_loses_nothing"),
        (LagIsTheTopic, "lag_counts_what_take_has_not_handed_out"),
        (ForgetsHeaders, "everything_written_after_start_is_read"),
        (SkipsARecord, "each_partition_comes_in_order_and_once"),
        (ClosesOnce, "closing_twice_is_closing_once"),
    ],
)
async def test_broken_consumers_are_caught(
    broken: Callable[[MemoryBroker, str, str], DownstreamConsumer], clauses: str
) -> None:
    suite = TestMemoryConsumer()
    suite.consumer = broken
    await assert_caught(suite, *clauses.split())
