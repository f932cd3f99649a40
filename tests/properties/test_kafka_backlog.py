"""What a publisher has taken keeps its order, whatever becomes of topics and batches."""

from collections import defaultdict

import anyio
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from imgateway.adapters.kafka import backlog as backlog_module
from imgateway.adapters.kafka.backlog import Backlog
from imgateway.adapters.kafka.lanes import Entry, size_of
from imgateway.adapters.kafka.topics import TopicFacts
from imgateway.model import OutgoingRecord, PublishFailure, Receipt
from imgateway.testing import RecordingTicket

MAX_RECORDS, MAX_BYTES = 40, 8_000


class Batch:
    """Takes so many records."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity

    def append(self, **record: object) -> object | None:
        self.capacity -= 1
        return None if self.capacity < 0 else self

    def close(self) -> None:
        pass


class BacklogMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.backlog = Backlog(MAX_RECORDS, MAX_BYTES)
        self.open: dict[int, tuple[OutgoingRecord, RecordingTicket]] = {}
        self.done: dict[tuple[str, bytes], list[int]] = defaultdict(list)
        self.taken = 0

    topics = st.sampled_from(["a", "b"])

    @rule(topic=topics, key=st.sampled_from([b"1", b"2", b"3", b"4"]), size=st.sampled_from([0, 10, 1_000]))
    def offer(self, topic: str, key: bytes, size: int) -> None:
        record, ticket = OutgoingRecord(topic, key, b"x" * size), RecordingTicket()
        waiting = sum(size_of(other) for other, _ in self.open.values())
        fits = len(self.open) < MAX_RECORDS and (not self.open or waiting + size_of(record) <= MAX_BYTES)
        assert (self.backlog.take(record, ticket) is not None) == fits
        if fits:
            self.taken += 1
            self.open[self.taken] = (record, ticket)

    @rule(topic=topics, partitions=st.sampled_from([1, 2, 4]), limit=st.integers(300, 2_000))
    def found(self, topic: str, partitions: int, limit: int) -> None:
        known = self.backlog.topics.get(topic)
        if known is not None and not any(lane.in_flight for lane in known.lanes):
            known.begin_anew()
            known.found(TopicFacts(partitions, limit))

    @rule(data=st.data(), capacity=st.integers(1, 9))
    def send(self, data: st.DataObject, capacity: int) -> None:
        lanes = [lane for lane in self.backlog.lanes() if lane.waiting and not lane.in_flight]
        if lanes:
            lane = data.draw(st.sampled_from(lanes))
            first = lane.waiting[0]
            lane.fill(Batch(capacity))
            if not lane.in_flight:
                assert first.size > lane.topic.max_record_bytes
                self.settle([lane.waiting.popleft()], PublishFailure.TOO_LARGE)

    @rule(data=st.data(), outcome=st.sampled_from(["written", "unknown", "too large", "not sent"]))
    def answer(self, data: st.DataObject, outcome: str) -> None:
        lanes = self.backlog.lanes_in_flight()
        if not lanes:
            return
        lane = data.draw(st.sampled_from(lanes))
        numbers = [entry.number for entry in lane.in_flight]
        if outcome == "written":
            self.backlog.written(lane, 100)
            for position, number in enumerate(numbers):
                record, ticket = self.open.pop(number)
                assert ticket.outcomes == [Receipt(lane.topic.name, lane.partition, 100 + position)]
                self.done[record.topic, record.key].append(number)
        elif outcome == "unknown":
            self.settle(lane.landed(), PublishFailure.UNKNOWN)
        else:
            if outcome == "too large":
                lane.topic.smaller_batches(sum(entry.size for entry in lane.in_flight))
            lane.put_back()

    def settle(self, entries: list[Entry], failure: PublishFailure) -> None:
        self.backlog.failed(entries, failure)
        for entry in entries:
            record, ticket = self.open.pop(entry.number)
            assert ticket.outcomes == [failure]
            self.done[record.topic, record.key].append(entry.number)

    @rule(topic=topics)
    def refuse(self, topic: str) -> None:
        known = self.backlog.topics.get(topic)
        if known is not None and not any(lane.in_flight for lane in known.lanes):
            self.settle(known.refused(), PublishFailure.REFUSED)
            assert known.idle

    @invariant()
    def each_key_is_settled_in_the_order_offered(self) -> None:
        for numbers in self.done.values():
            assert numbers == sorted(numbers)

    @invariant()
    def what_is_open_was_not_told(self) -> None:
        assert not any(ticket.outcomes for _, ticket in self.open.values())

    @invariant()
    def the_oldest_is_known(self) -> None:
        assert self.backlog._oldest() == min(self.open, default=float("inf"))


TestBacklog = BacklogMachine.TestCase


@pytest.mark.anyio
async def test_waiting_ends_with_what_was_taken_before() -> None:
    backlog = Backlog(100, 10_000)
    for topic in ("a", "b"):
        assert backlog.take(OutgoingRecord(topic, b"k", b"v"), RecordingTicket())
        backlog.topics[topic].found(TopicFacts(1))
    waited: list[str] = []

    async def wait(what: str) -> None:
        await backlog.settled()
        waited.append(what)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait, "both")
        await anyio.wait_all_tasks_blocked()
        for _ in range(5):
            backlog.take(OutgoingRecord("b", b"k", b"v"), RecordingTicket())
        backlog.failed(backlog.topics["b"].refused(), PublishFailure.REFUSED)
        await anyio.wait_all_tasks_blocked()
        assert not waited, "the first one is not settled, however many others are"
        backlog.take(OutgoingRecord("b", b"k", b"v"), RecordingTicket())
        backlog.failed(backlog.topics["a"].refused(), PublishFailure.REFUSED)
    assert waited == ["both"]


def test_topics_are_bounded_by_forgetting_idle_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backlog_module, "MAX_TOPICS", 3)
    backlog = Backlog(100, 10_000)
    for topic in ("a", "b", "c"):
        assert backlog.take(OutgoingRecord(topic, b"k", b"v"), RecordingTicket())
    assert backlog.take(OutgoingRecord("d", b"k", b"v"), RecordingTicket()) is None
    backlog.failed(backlog.topics["b"].refused(), PublishFailure.REFUSED)
    assert backlog.take(OutgoingRecord("d", b"k", b"v"), RecordingTicket())
    assert set(backlog.topics) == {"a", "c", "d"}


def test_a_topic_made_anew_with_fewer_partitions_keeps_the_order_offered() -> None:
    backlog = Backlog(100, 10_000)
    keys = [b"%d" % (number * 7 % 13) for number in range(30)]
    for key in keys[:20]:
        backlog.take(OutgoingRecord("a", key, b""), RecordingTicket())
    topic = backlog.topics["a"]
    topic.found(TopicFacts(4))
    for key in keys[20:]:
        backlog.take(OutgoingRecord("a", key, b""), RecordingTicket())
    topic.begin_anew()
    topic.found(TopicFacts(1))
    (lane,) = topic.lanes
    assert [entry.record.key for entry in lane.waiting] == keys
