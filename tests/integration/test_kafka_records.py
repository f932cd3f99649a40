"""Reading whatever a record may be made of, and however it was written."""

import random
from collections import defaultdict
from collections.abc import AsyncIterator

import anyio
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.record.util import calc_crc32c
from servers import KafkaServer
from tests.integration.kafka_cluster import PATIENCE
from tests.integration.kafka_downstream import Downstream, downstream_at, numbers, take

pytestmark = pytest.mark.anyio


@pytest.fixture
async def down(kafka_server: KafkaServer) -> AsyncIterator[Downstream]:
    async with downstream_at(kafka_server.address) as down:
        yield down


async def test_of_transactions_only_what_was_committed_is_read(down: Downstream) -> None:
    async with down.reading() as consumer, down.cluster.producer(transactional_id=down.group) as producer:

        async def write(*values: int, commit: bool) -> None:
            await producer.begin_transaction()
            for value in values:
                # Written before it is aborted: what still waits in the client would take no offset.
                await producer.send_and_wait(down.topic, b"%d" % value, b"k", 0)
            await (producer.commit_transaction() if commit else producer.abort_transaction())

        await write(0, 1, commit=True)
        await write(100, 101, commit=False)
        await down.write(2)
        await write(3, 4, commit=True)
        await write(102, commit=False)
        found = await take(consumer, 5)
        assert numbers(found) == [0, 1, 2, 3, 4]
        assert [record.offset for record in found] == [0, 1, 6, 7, 8], "markers take offsets"
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(consumer.take)
            with anyio.fail_after(PATIENCE):
                while consumer.lag():
                    await anyio.sleep(0.01)
            tasks.cancel_scope.cancel()
        await consumer.commit({0: 9})
    async with down.reading() as consumer:
        await down.write(5)
        assert numbers(await take(consumer, 1)) == [5]


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
async def test_every_codec_is_read(down: Downstream, codec: str) -> None:
    async with down.reading() as consumer, down.cluster.producer(compression_type=codec, linger_ms=20) as producer:
        value = random.randbytes(500) + b"x" * 5_000
        for number in range(100):
            await producer.send(down.topic, value + b"%d" % number, b"k%d" % number)
        found = await take(consumer, 100)
        assert {record.value for record in found} == {value + b"%d" % number for number in range(100)}


async def test_whatever_a_record_is_made_of_is_read(down: Downstream) -> None:
    large = random.randbytes(1_040_000)
    async with down.reading() as consumer, down.cluster.producer() as producer:
        await producer.send_and_wait(down.topic, None, b"key", 0)
        await producer.send_and_wait(down.topic, b"value", None, 0)
        await producer.send_and_wait(down.topic, b"", b"", 0, headers=[("", b""), ("名", b"\xff"), ("名", None)])
        await producer.send_and_wait(down.topic, large, b"k", 0)
        nothing, keyless, empty, huge = await take(consumer, 4)
        assert (nothing.key, nothing.value) == (b"key", b"")
        assert (keyless.key, keyless.value) == (b"", b"value")
        assert (empty.key, empty.value) == (b"", b"")
        assert empty.headers == (("", b""), ("名", b"\xff"), ("名", b""))
        assert huge.value == large


async def write_undecodable(producer: AIOKafkaProducer, topic: str, partition: int) -> None:
    """A record one of whose header names is no UTF-8, as clients in other languages can write it."""
    batch = producer.create_batch()
    batch.append(timestamp=None, key=b"k", value=b"bad", headers=[("undecodable", b"")])
    data = bytearray(batch._build()).replace(b"undecodable", b"\xff" * 11)
    # The checksum covers what follows it (offset 17, see DefaultRecordBatch in Kafka).
    data[17:21] = calc_crc32c(bytes(data[21:])).to_bytes(4, "big")
    batch._buffer = bytes(data)
    await (await producer.send_batch(batch, topic, partition=partition))


async def test_a_record_that_can_not_be_decoded_costs_no_other(
    down: Downstream, caplog: pytest.LogCaptureFixture
) -> None:
    good: dict[int, list[bytes]] = defaultdict(list)
    async with down.cluster.producer(enable_idempotence=False) as producer:
        for number in range(60):
            partition = number % 3
            good[partition].append(b"%d" % number)
            await producer.send_and_wait(down.topic, good[partition][-1], b"k", partition)
            if number in (10, 30, 31, 33):
                await write_undecodable(producer, down.topic, partition)
    async with down.reading() as consumer:
        found = await take(consumer, 64)
        for partition, expected in good.items():
            of_partition = [record for record in found if record.partition == partition]
            assert [record.offset for record in of_partition] == list(range(len(of_partition)))
            assert [record.value for record in of_partition if record.value] == expected
        stand_ins = sorted((record.partition, record.offset) for record in found if not record.value)
        assert stand_ins == [(0, 11), (0, 13), (1, 4), (1, 12)]
        said = [record for record in caplog.records if record.message == "a record can't be decoded"]
        assert sorted((record.__dict__["partition"], record.__dict__["offset"]) for record in said) == stand_ins
        await down.write(1)
        assert numbers(await take(consumer, 1)) == [1]
