"""Reading what back ends write, whoever else writes, reads or commits."""

import gc
import random
from collections.abc import AsyncIterator

import anyio
import anyio.lowlevel
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import RecordsToDelete
from aiokafka.protocol.admin import DeleteGroupsRequest
from servers import KafkaServer
from tests.integration.kafka_cluster import PATIENCE
from tests.integration.kafka_downstream import Downstream, downstream_at, numbers, take
from tests.integration.test_kafka_publisher import nothing_left

from imgateway.adapters.kafka import KafkaConsumer
from imgateway.errors import FencedError, LifecycleError, ServiceUnavailableError
from imgateway.model import ConsumedRecord

pytestmark = pytest.mark.anyio


@pytest.fixture
async def down(kafka_server: KafkaServer) -> AsyncIterator[Downstream]:
    async with downstream_at(kafka_server.address) as down:
        yield down


@pytest.fixture
def probes_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imgateway.adapters.kafka.reading.PROBE_SECONDS", 0.2)


async def test_a_committed_position_that_retention_overtook_means_the_beginning(down: Downstream) -> None:
    await down.write(*range(10))
    async with down.reading() as consumer:
        await take(consumer, 10)
        await consumer.commit({0: 3})
    async with down.cluster.admin() as admin:
        await admin.delete_records({TopicPartition(down.topic, 0): RecordsToDelete(before_offset=6)})
    async with down.reading() as consumer:
        found = await take(consumer, 4)
        assert numbers(found) == [6, 7, 8, 9]
        assert all(record.redelivered for record in found)


async def test_retention_that_overtakes_reading_asks_for_a_new_consumer(down: Downstream) -> None:
    async with down.reading() as consumer:
        with anyio.move_on_after(0.3):
            await consumer.take()
        # More than was fetched already, so that the rest is deleted before it is read.
        async with down.cluster.producer() as producer:
            for number in range(12):
                await producer.send_and_wait(down.topic, b"%d" % number + b" " * 900_000, b"k", 0)
        async with down.cluster.admin() as admin:
            await admin.delete_records({TopicPartition(down.topic, 0): RecordsToDelete(before_offset=11)})
        with pytest.raises(ServiceUnavailableError, match="OffsetOutOfRange"):
            await take(consumer, 13)
    async with down.reading() as consumer:
        (last,) = await take(consumer, 1)
        assert (last.offset, last.redelivered) == (11, True)


async def test_a_committed_position_beyond_the_end_means_the_beginning(down: Downstream) -> None:
    await down.write(*range(10))
    async with down.reading() as consumer:
        await take(consumer, 10)
        await consumer.commit({0: 10})
    await down.cluster.delete(down.topic)
    await down.cluster.create_as(down.topic)
    await down.write(1, 2)
    async with down.cluster.producer(transactional_id=down.group) as producer, producer.transaction():
        # A back-up brought the old position back.
        await producer.send_offsets_to_transaction({TopicPartition(down.topic, 0): 10}, down.group)
    async with down.reading() as consumer:
        found = await take(consumer, 2)
        assert numbers(found) == [1, 2]
        assert all(record.redelivered for record in found)


async def test_an_open_transaction_holds_back_what_is_behind_it(down: Downstream, probes_often: None) -> None:
    async with (
        down.reading(stuck_seconds=0.5) as consumer,
        down.cluster.producer(transactional_id=down.group) as producer,
    ):
        await producer.begin_transaction()
        await producer.send_and_wait(down.topic, b"1", b"k", 0)
        await down.write(2)
        with anyio.move_on_after(2.0):
            assert not await consumer.take(), "not before it ends, and that is not taken for being stuck"
        await producer.commit_transaction()
        assert numbers(await take(consumer, 2)) == [1, 2]


async def test_a_newer_reader_fences_an_older_one(down: Downstream, caplog: pytest.LogCaptureFixture) -> None:
    await down.write(*range(10))
    async with down.reading() as older:
        await take(older, 10)
        await older.commit({0: 2})
        async with down.reading() as newer:
            assert numbers(await take(newer, 8)) == list(range(2, 10))
            await newer.commit({0: 7})
            with pytest.raises(FencedError, match=f"fence-{down.group} was taken by another process"):
                await older.commit({0: 4})
            await down.has_committed(newer, {0: 7})
            with anyio.fail_after(PATIENCE), pytest.raises(FencedError):
                await older.take()
            with pytest.raises(FencedError):
                await older.commit({0: 9})
            await newer.commit({0: 8})
            await down.has_committed(newer, {0: 8})
        # It does not fence back by itself, but it may begin anew.
        await older.start()
        assert numbers(await take(older, 2)) == [8, 9]
        await older.commit({0: 9})
        await down.has_committed(older, {0: 9})
    gc.collect()
    assert not [record for record in caplog.records if record.name == "asyncio"], "no exception was left unseen"


async def test_a_foreign_member_of_the_group_breaks_no_commit_and_is_reported(
    down: Downstream, caplog: pytest.LogCaptureFixture
) -> None:
    await down.write(*range(10))
    foreign = AIOKafkaConsumer(
        down.topic,
        bootstrap_servers=down.cluster.address,
        group_id=down.group,
        client_id="intruder",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    async with down.reading() as before:
        await foreign.start()
        try:
            await foreign.getone()
            assert foreign.assignment()
            await take(before, 10)
            await before.commit({0: 5})
            await down.has_committed(before, {0: 5})
            async with down.reading() as consumer:
                (said,) = [record for record in caplog.records if "clients" in vars(record)]
                assert said.__dict__["group"] == down.group
                assert said.__dict__["clients"] == "intruder at 127.0.0.1"
                assert numbers(await take(consumer, 5)) == [5, 6, 7, 8, 9]
                await consumer.commit({0: 9})
                await down.has_committed(consumer, {0: 9})
        finally:
            await foreign.stop()


async def test_committing_renews_every_partition(down: Downstream) -> None:
    async with down.reading() as consumer:
        await consumer.commit({1: 4})
        await down.has_committed(consumer, {1: 4})
        async with down.cluster.admin() as admin:
            coordinator = await admin.find_coordinator(down.group)
            await admin._send_request(DeleteGroupsRequest([down.group]), coordinator)
        assert not await down.committed(), "forgotten, as after seven idle days"
        await consumer.commit({})
        await down.has_committed(consumer, {0: 0, 1: 4, 2: 0})


async def test_concurrent_commits_never_go_back(down: Downstream) -> None:
    async with down.reading() as consumer:
        async with anyio.create_task_group() as tasks:
            for position in [5, 3, 9, 1, 8, 9, 2]:
                tasks.start_soon(consumer.commit, {0: position})
        await down.has_committed(consumer, {0: 9})


async def test_cancelled_commits_leave_committing_intact(down: Downstream) -> None:
    async with down.reading() as consumer:
        for position in range(1, 20):
            with anyio.move_on_after(random.random() * 0.01):
                await consumer.commit({0: position})
        await consumer.commit({0: 20})
        await down.has_committed(consumer, {0: 20})


async def test_cancelling_take_anywhere_loses_nothing(down: Downstream) -> None:
    async with down.reading() as consumer, anyio.create_task_group() as tasks:
        found: list[ConsumedRecord] = []

        async def write() -> None:
            async with down.cluster.producer() as producer:
                for number in range(2_000):
                    await producer.send(down.topic, b"%d" % number, b"k", number % 3)
                    if number % 50 == 0:
                        await anyio.sleep(0.005)

        tasks.start_soon(write)
        with anyio.fail_after(PATIENCE):
            while len(found) < 2_000:
                with anyio.move_on_after(random.random() * 0.004):
                    found += await consumer.take()
        for partition in range(3):
            of_partition = [int(record.value) for record in found if record.partition == partition]
            assert of_partition == list(range(partition, 2_000, 3))


async def test_added_partitions_ask_for_a_new_consumer(
    down: Downstream, probes_often: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imgateway.adapters.kafka.access.METADATA_MAX_AGE_MS", 300)
    async with down.reading() as consumer:
        await down.cluster.add_partitions(down.topic, 5)
        await down.write(7, partition=4)
        with anyio.fail_after(PATIENCE), pytest.raises(ServiceUnavailableError, match="other partitions"):
            await consumer.take()
    async with down.reading() as consumer:
        assert numbers(await take(consumer, 1)) == [7]


async def test_a_deleted_topic_asks_for_a_new_consumer(down: Downstream, probes_often: None) -> None:
    async with down.reading() as consumer:
        await down.cluster.delete(down.topic)
        with anyio.fail_after(PATIENCE), pytest.raises(ServiceUnavailableError, match="is gone"):
            await consumer.take()
        with pytest.raises(ServiceUnavailableError, match=r"kafka\.create_topics is false"):
            await down.reader(create=False).start()
        await consumer.start()
        await down.write(3)
        assert numbers(await take(consumer, 1)) == [3]


async def test_records_that_do_not_come_ask_for_a_new_consumer(down: Downstream, probes_often: None) -> None:
    async with down.reading(stuck_seconds=0.5) as consumer:
        assert consumer._consumer is not None
        consumer._consumer.pause(TopicPartition(down.topic, 0))  # whatever else may keep the library from fetching
        await down.write(1)
        with anyio.fail_after(PATIENCE), pytest.raises(ServiceUnavailableError, match="has records but none arrive"):
            await consumer.take()


async def test_nothing_is_left_behind(down: Downstream) -> None:
    async def use(consumer: KafkaConsumer) -> None:
        await consumer.start()
        await consumer.commit({0: 1})
        await consumer.take()

    with nothing_left():
        for step in range(30):
            consumer = down.reader()
            with anyio.move_on_after(step * 0.005):
                await use(consumer)
            await consumer.aclose()
            await consumer.aclose()
        with pytest.raises(LifecycleError):
            await consumer.take()
        with pytest.raises(LifecycleError):
            await consumer.commit({0: 1})
        # The last of the sockets are closed by the loop.
        await anyio.lowlevel.checkpoint()
