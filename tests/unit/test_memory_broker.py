"""What the memory broker is beyond the ports: retention, partitioning, hand-over between writer and reader."""

import anyio
import pytest

from imgateway.adapters.memory import MemoryBroker, MemoryConsumer, MemoryPublisher
from imgateway.core.partitioning import murmur2, partition_of
from imgateway.errors import LifecycleError
from imgateway.model import OutgoingRecord, PublishFailure, Receipt


class Ticket:
    def __init__(self) -> None:
        self.outcomes: list[Receipt | PublishFailure] = []

    def settled(self, outcome: Receipt | PublishFailure, /) -> None:
        self.outcomes.append(outcome)


def record(value: bytes = b"v", key: bytes = b"k", topic: str = "t") -> OutgoingRecord:
    return OutgoingRecord(topic, key, value, (("h", b"1"),))


@pytest.mark.parametrize(
    ("key", "signed"),
    [
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_murmur2_gives_the_vectors_of_kafkas_own_test(key: bytes, signed: int) -> None:
    assert murmur2(key) == signed & 0xFFFFFFFF
    assert partition_of(key, 10) == (signed & 0x7FFFFFFF) % 10


def test_retention_drops_the_oldest_and_keeps_offsets() -> None:
    broker = MemoryBroker(partitions=1, retention_records=10)
    for number in range(25):
        receipt = broker.append(record(str(number).encode()))
        assert receipt == Receipt("t", 0, number)
        assert len(broker.records("t")) <= 10
    kept = broker.records("t")
    assert [int(r.value) for r in kept] == [r.offset for r in kept] == list(range(kept[0].offset, 25))
    assert broker.bounds("t") == [(kept[0].offset, 25)]


def test_a_record_beyond_the_limit_is_refused_and_writes_nothing() -> None:
    broker = MemoryBroker(max_record_bytes=4)
    assert broker.append(record(b"1234")) is PublishFailure.TOO_LARGE
    assert isinstance(broker.append(record(b"123")), Receipt)
    assert [r.value for r in broker.records("t")] == [b"123"]


def test_an_existing_topic_keeps_its_partitions() -> None:
    broker = MemoryBroker()
    broker.create_topic("t", 2)
    broker.create_topic("t", 5)
    assert len(broker.bounds("t")) == 2
    assert broker.records("unknown") == []


@pytest.mark.anyio
async def test_a_reader_outrun_by_retention_goes_on_with_the_oldest_record_kept() -> None:
    broker = MemoryBroker(partitions=1, retention_records=4)
    consumer = MemoryConsumer(broker, "t", "g")
    await consumer.start()
    for number in range(20):
        broker.append(record(str(number).encode()))
    kept = broker.records("t")
    assert consumer.lag() == len(kept)
    assert list(await consumer.take()) == list(kept)


@pytest.mark.anyio
async def test_a_position_that_retention_made_void_counts_as_none() -> None:
    broker = MemoryBroker(partitions=1, retention_records=4)
    for number in range(20):
        broker.append(record(str(number).encode()))
    broker.commit("g", "t", {0: 3})
    consumer = MemoryConsumer(broker, "t", "g")
    await consumer.start()
    taken = await consumer.take()
    assert [r.offset for r in taken] == [r.offset for r in broker.records("t")]
    assert all(r.redelivered for r in taken)


@pytest.mark.anyio
async def test_take_is_bounded_and_lets_every_partition_come_first() -> None:
    broker = MemoryBroker(partitions=2)
    keys = {partition_of(key, 2): key for key in (b"0", b"1", b"2", b"3", b"4", b"5")}
    for key in keys.values():
        for _ in range(6):
            broker.append(record(key=key))
    consumer = MemoryConsumer(broker, "t", "g", max_records=3)
    await consumer.start()
    first, second = await consumer.take(), await consumer.take()
    assert len(first) == len(second) == 3
    assert first[0].partition != second[0].partition


@pytest.mark.anyio
async def test_a_consumer_that_is_not_running_refuses_to_read() -> None:
    consumer = MemoryConsumer(MemoryBroker(), "t", "g")
    with pytest.raises(LifecycleError):
        await consumer.take()
    await consumer.start()
    await consumer.aclose()
    assert consumer.lag() == 0
    with pytest.raises(LifecycleError):
        await consumer.take()


@pytest.mark.anyio
async def test_a_waiting_reader_is_woken_and_leaves_nothing_behind() -> None:
    broker = MemoryBroker()
    consumer = MemoryConsumer(broker, "t", "g")
    await consumer.start()
    with anyio.move_on_after(60) as scope:
        async with anyio.create_task_group() as tasks:

            async def read() -> None:
                assert [r.value for r in await consumer.take()] == [b"late"]

            tasks.start_soon(read)
            await anyio.wait_all_tasks_blocked()
            broker.append(record(b"late"))
    assert not scope.cancelled_caught
    assert broker._topics["t"].waiting == set()


@pytest.mark.anyio
async def test_the_publisher_is_bounded_and_takes_again_once_written() -> None:
    broker, ticket = MemoryBroker(), Ticket()
    async with MemoryPublisher(broker, max_pending=2) as publisher:
        assert [publisher.offer(record(), ticket) for _ in range(3)] == [True, True, False]
        await publisher.flush()
        assert publisher.offer(record(), ticket)
    assert len(ticket.outcomes) == len(broker.records("t")) == 3


@pytest.mark.anyio
async def test_leaving_the_context_settles_the_rest_even_when_cancelled() -> None:
    broker, ticket = MemoryBroker(), Ticket()
    with anyio.CancelScope() as scope:
        async with MemoryPublisher(broker) as publisher:
            publisher.offer(record(), ticket)
            scope.cancel()
    assert len(ticket.outcomes) == 1
    assert not publisher.offer(record(), ticket)


@pytest.mark.anyio
async def test_a_publisher_that_is_not_entered_takes_nothing() -> None:
    publisher = MemoryPublisher(MemoryBroker())
    assert not publisher.offer(record(), Ticket())
    await publisher.aclose()
