"""Downstream routers: the local router holds to the contract, broken ones do not."""

import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import anyio
import attrs
import pytest

from imgateway.adapters.memory import CountingObserver, MemoryBroker, MemoryPublisher
from imgateway.codes import Code
from imgateway.core.registry import ConnectionRegistry
from imgateway.core.router import LocalRouter
from imgateway.model import CloseReason, ConsumedRecord, GatewayId, OutgoingRecord, PublishFailure, Receipt
from imgateway.ports import DownstreamRouter, PublishTicket, UpstreamPublisher
from imgateway.testing import (
    DownstreamRouterSuite,
    FaultyPublisher,
    RecordingConnection,
    RecordingTicket,
    RouterUnderTest,
    VirtualClock,
    assert_caught,
)
from imgateway.wire.records import evicted_by

OnSettled = Callable[[], None]


def _as_it_is(publisher: UpstreamPublisher) -> UpstreamPublisher:
    return publisher


@pytest.mark.anyio
class TestLocalRouter(DownstreamRouterSuite):
    around_router: Callable[[DownstreamRouter], DownstreamRouter] = staticmethod(lambda router: router)
    around_publisher: Callable[[UpstreamPublisher], UpstreamPublisher] = staticmethod(_as_it_is)

    @asynccontextmanager
    async def make(self) -> AsyncIterator[RouterUnderTest]:
        broker, registry = MemoryBroker(partitions=1), ConnectionRegistry()
        async with MemoryPublisher(broker) as inner:
            publisher = FaultyPublisher(inner)
            router = LocalRouter(
                registry,
                self.around_publisher(publisher),
                CountingObserver(),
                VirtualClock(),
                GatewayId("gw-1"),
                "undelivered",
            )

            def connect(connection: RecordingConnection) -> None:
                registry.add(connection)
                connection.registry = registry

            async def undelivered() -> Sequence[ConsumedRecord]:
                return broker.records("undelivered")

            def publishing(works: bool) -> None:
                self.publishing(publisher, works)
                if works:
                    router.retry()

            yield RouterUnderTest(
                self.around_router(router), connect, undelivered, publishing, anyio.wait_all_tasks_blocked
            )

    def publishing(self, publisher: FaultyPublisher, works: bool) -> None:
        publisher.full = not works


class TestLocalRouterWithABrokerThatRefuses(TestLocalRouter):
    """The topic can't be written for another reason: the record is taken, but then the broker refuses it."""

    def publishing(self, publisher: FaultyPublisher, works: bool) -> None:
        if not works:
            publisher.fail_next(PublishFailure.REFUSED)


@attrs.define(eq=False)
class Broken:
    """Does as the router does, but for one thing."""

    router: DownstreamRouter

    def route(self, record: ConsumedRecord, on_settled: OnSettled, /) -> None:
        self.router.route(record, on_settled)


def _edit(record: ConsumedRecord, edit: Callable[[dict[str, Any]], object]) -> ConsumedRecord:
    try:
        value = json.loads(record.value)
        edit(value)
        return attrs.evolve(record, value=json.dumps(value).encode())
    except (ValueError, RecursionError, TypeError, KeyError, AttributeError):
        return record


class SettlesAtOnce(Broken):
    def route(self, record: ConsumedRecord, on_settled: OnSettled, /) -> None:
        super().route(record, lambda: None)
        on_settled()


class SettlesTwice(Broken):
    def route(self, record: ConsumedRecord, on_settled: OnSettled, /) -> None:
        def twice() -> None:
            on_settled()
            on_settled()

        super().route(record, twice)


class SettlesInOrder(Broken):
    """A record waits for all before it."""

    def route(self, record: ConsumedRecord, on_settled: OnSettled, /) -> None:
        waiting: list[list[Any]] = self.__dict__.setdefault("waiting", [])
        entry = [on_settled, False]
        waiting.append(entry)

        def settled() -> None:
            entry[1] = True
            while waiting and waiting[0][1]:
                waiting.pop(0)[0]()

        super().route(record, settled)


class FirstTargetOnly(Broken):
    def route(self, record: ConsumedRecord, on_settled: OnSettled, /) -> None:
        super().route(
            _edit(record, lambda value: value.update(target_user_ids=value["target_user_ids"][:1])), on_settled
        )


class AThousandTargets(Broken):
    def route(self, record: ConsumedRecord, on_settled: OnSettled, /) -> None:
        super().route(
            _edit(record, lambda value: value.update(target_user_ids=value["target_user_ids"][:1000])), on_settled
        )


class IgnoresTheDevice(Broken):
    def route(self, record: ConsumedRecord, on_settled: OnSettled, /) -> None:
        super().route(_edit(record, lambda value: value.pop("target_device_id")), on_settled)


class ForgetsTheExtra(Broken):
    def route(self, record: ConsumedRecord, on_settled: OnSettled, /) -> None:
        super().route(_edit(record, lambda value: value.pop("extra")), on_settled)


class MarksNoRepeats(Broken):
    def route(self, record: ConsumedRecord, on_settled: OnSettled, /) -> None:
        super().route(attrs.evolve(record, redelivered=False), on_settled)


class SignalsFirst(Broken):
    """Messages wait for the next record; signals overtake them."""

    def route(self, record: ConsumedRecord, on_settled: OnSettled, /) -> None:
        waiting: list[tuple[ConsumedRecord, OnSettled]] = self.__dict__.setdefault("waiting", [])
        if b"signal_type" in record.value:
            super().route(record, on_settled)
        for each in waiting:
            super().route(*each)
        waiting.clear()
        if b"signal_type" not in record.value:
            if record.offset % 3 == 2:
                waiting.append((record, on_settled))
            else:
                super().route(record, on_settled)


class KeepsSignals(Broken):
    def route(self, record: ConsumedRecord, on_settled: OnSettled, /) -> None:
        as_message = {"message_id": 1, "conversation_id": "c", "sender_id": "s", "message_type": 1, "content": ""}
        try:
            kept = _edit(record, lambda value: value.update(as_message, seq_id=1, signal_type=value.pop("signal_type")))
        finally:
            super().route(record, on_settled)
        if kept is not record:
            kept = _edit(kept, lambda value: value.pop("signal_type"))
            super().route(attrs.evolve(kept, offset=-1), lambda: None)


class EveryDeviceCounts(Broken):
    """Whoever has a device that reads too slowly counts as not reached."""

    def route(self, record: ConsumedRecord, on_settled: OnSettled, /) -> None:
        assert isinstance(self.router, LocalRouter)
        slow = [each for each in self.router.registry if isinstance(each, RecordingConnection) and not each.capacity]
        super().route(record, on_settled)
        for connection in slow:
            outgoing = OutgoingRecord("undelivered", record.key, json.dumps(connection.user_id).encode())
            self.router.publisher.offer(outgoing, RecordingTicket())


class KnowsNoEvictions(Broken):
    def route(self, record: ConsumedRecord, on_settled: OnSettled, /) -> None:
        super().route(attrs.evolve(record, headers=()), on_settled)


class EvictsTheUser(Broken):
    def route(self, record: ConsumedRecord, on_settled: OnSettled, /) -> None:
        assert isinstance(self.router, LocalRouter)
        if evicted := evicted_by(record):
            for connection in self.router.registry.of_user(evicted[0]):
                connection.close(CloseReason.of(Code.REPLACED))
        super().route(record, on_settled)


class RaisesOnGarbage(Broken):
    def route(self, record: ConsumedRecord, on_settled: OnSettled, /) -> None:
        json.loads(record.value)
        super().route(record, on_settled)


class StopsAtGarbage(Broken):
    def route(self, record: ConsumedRecord, on_settled: OnSettled, /) -> None:
        try:
            json.loads(record.value)
        except (ValueError, RecursionError):
            return
        super().route(record, on_settled)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("broken", "clauses"),
    [
        (SettlesAtOnce, "a_record_is_settled_when_all_have_it nothing_is_settled_before_it_is_durable"),
        (SettlesTwice, "a_record_is_settled_when_all_have_it"),
        (SettlesInOrder, "records_are_settled_each_for_itself"),
        (FirstTargetOnly, "every_connection_of_every_target_gets_the_record"),
        (AThousandTargets, "a_record_may_be_for_very_many"),
        (IgnoresTheDevice, "one_device_may_be_meant"),
        (ForgetsTheExtra, "every_connection_of_every_target_gets_the_record"),
        (MarksNoRepeats, "possible_repeats_are_marked"),
        (SignalsFirst, "each_connection_gets_records_in_order"),
        (KeepsSignals, "signals_are_transient"),
        (EveryDeviceCounts, "one_of_several_devices_is_enough"),
        (KnowsNoEvictions, "another_gateways_word_closes_a_connection"),
        (EvictsTheUser, "another_gateways_word_closes_a_connection"),
        (RaisesOnGarbage, "what_is_no_record_hinders_nothing"),
        (StopsAtGarbage, "what_is_no_record_hinders_nothing"),
    ],
)
async def test_broken_routers_are_caught(broken: Callable[[DownstreamRouter], DownstreamRouter], clauses: str) -> None:
    suite = TestLocalRouter()
    suite.around_router = broken
    await assert_caught(suite, *clauses.split())


@attrs.define(eq=False)
class BrokenUndelivered:
    """Changes what becomes of undelivered records."""

    inner: UpstreamPublisher

    def offer(self, record: OutgoingRecord, ticket: PublishTicket, /) -> bool:
        return self.inner.offer(record, ticket)

    async def flush(self) -> None:
        await self.inner.flush()

    async def aclose(self) -> None:
        await self.inner.aclose()


class WritesNothing(BrokenUndelivered):
    def offer(self, record: OutgoingRecord, ticket: PublishTicket, /) -> bool:
        ticket.settled(Receipt(record.topic, 0, 0))
        return True


class NamesEverybody(BrokenUndelivered):
    def offer(self, record: OutgoingRecord, ticket: PublishTicket, /) -> bool:
        value = json.loads(record.value)
        value["target_user_ids"] = value["record"]["target_user_ids"]
        return super().offer(attrs.evolve(record, value=json.dumps(value).encode()), ticket)


class KnowsOneReason(BrokenUndelivered):
    def offer(self, record: OutgoingRecord, ticket: PublishTicket, /) -> bool:
        value = record.value.replace(b"slow-consumer", b"no-connection")
        return super().offer(attrs.evolve(record, value=value), ticket)


class LosesTheKey(BrokenUndelivered):
    def offer(self, record: OutgoingRecord, ticket: PublishTicket, /) -> bool:
        return super().offer(attrs.evolve(record, key=b""), ticket)


class DropsWhatIsRefused(BrokenUndelivered):
    def offer(self, record: OutgoingRecord, ticket: PublishTicket, /) -> bool:
        if not super().offer(record, ticket):
            ticket.settled(Receipt(record.topic, 0, 0))
        return True


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("broken", "clauses"),
    [
        (WritesNothing, "whoever_has_no_connection_is_undelivered"),
        (NamesEverybody, "whoever_has_no_connection_is_undelivered"),
        (KnowsOneReason, "whom_the_record_did_not_reach_is_undelivered"),
        (LosesTheKey, "whoever_has_no_connection_is_undelivered"),
        (DropsWhatIsRefused, "nothing_is_settled_before_it_is_durable"),
    ],
)
async def test_routers_that_fail_the_undelivered_are_caught(
    broken: Callable[[UpstreamPublisher], UpstreamPublisher], clauses: str
) -> None:
    suite = TestLocalRouter()
    suite.around_publisher = broken
    await assert_caught(suite, *clauses.split())
