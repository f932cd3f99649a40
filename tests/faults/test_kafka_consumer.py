"""Reading while the broker is away, comes back, or keeps quiet."""

import signal
import sys
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import anyio
import anyio.to_thread
import pytest
from anyio.streams.text import TextReceiveStream
from servers import START_SECONDS, KafkaServer
from tests.faults.kafka_proxy import ProxiedKafka, Proxy
from tests.integration.kafka_cluster import PATIENCE, Cluster
from tests.integration.kafka_downstream import started
from tests.integration.test_kafka_publisher import nothing_left

from imgateway.adapters.kafka import KafkaAccess, KafkaConsumer, KafkaPublisher, TopicPlan
from imgateway.adapters.kafka.positions import committed_positions
from imgateway.adapters.kafka.topics import asking
from imgateway.errors import ServiceUnavailableError
from imgateway.model import OutgoingRecord
from imgateway.testing import RecordingTicket

pytestmark = pytest.mark.anyio

TOPIC, GROUP = "down", "gateway-g1-group"
PLAN = TopicPlan(TOPIC, 3)
READER = Path(__file__).with_name("kafka_reader.py")
QUICK_RESTART = {"broker_session_timeout_ms": "2000", "broker_heartbeat_interval_ms": "500"}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def server() -> Iterator[KafkaServer]:
    server = KafkaServer(**QUICK_RESTART)
    yield server
    server.close()


def reader(address: str, *, stuck_seconds: float = 60.0) -> KafkaConsumer:
    return KafkaConsumer(KafkaAccess((address,)), PLAN, GROUP, "imgateway-g1", stuck_seconds=stuck_seconds)


def reading(address: str, *, stuck_seconds: float = 60.0) -> AbstractAsyncContextManager[KafkaConsumer]:
    return started(reader(address, stuck_seconds=stuck_seconds))


async def test_offsets_that_are_not_loaded_yet_are_not_taken_for_none(server: KafkaServer) -> None:
    await anyio.to_thread.run_sync(server.start)
    async with KafkaPublisher(KafkaAccess((server.address,)), (PLAN,)) as publisher:
        for number in range(50):
            publisher.offer(OutgoingRecord(TOPIC, b"k", b"%d" % number), RecordingTicket())
        await publisher.flush()
    async with reading(server.address) as consumer:
        first = await consumer.take()
        partition = first[0].partition
        await consumer.commit({partition: 20})
    server.kill()
    access = KafkaAccess((server.address,))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(anyio.to_thread.run_sync, server.start)
        # As early as it can be: for a moment the broker answers but has not loaded what was committed.
        with anyio.fail_after(START_SECONDS + PATIENCE):
            while True:
                try:
                    async with access.attempt("looking for positions"), asking(access) as client:
                        positions = await committed_positions(client, GROUP, TOPIC, range(3))
                    break
                except ServiceUnavailableError:
                    await anyio.sleep(0.005)
    # The last commit may not be completed yet; only a new reader's fence waits for that.
    assert positions[partition] in (0, 20)
    async with reading(server.address) as consumer:
        assert (await consumer.take())[0].offset == 20


async def test_a_broker_that_is_down_at_start_is_named(server: KafkaServer) -> None:
    consumer = reader(server.address)
    unreachable = rf"{server.address}: .*\(kafka\.bootstrap_servers\)"
    with nothing_left(), pytest.raises(ServiceUnavailableError, match=unreachable):
        await consumer.start()
    await anyio.to_thread.run_sync(server.start)
    with anyio.fail_after(PATIENCE):
        await consumer.start()
    await consumer.aclose()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imgateway.adapters.kafka.reading.PROBE_SECONDS", 0.2)
    monkeypatch.setattr("imgateway.adapters.kafka.reading.ANSWER_SECONDS", 0.5)


async def test_a_cluster_that_keeps_quiet_asks_for_a_new_consumer(impatient: None) -> None:
    async with Proxy() as proxy:
        server = ProxiedKafka(proxy)
        try:
            await anyio.to_thread.run_sync(server.start)
            async with reading(proxy.address, stuck_seconds=1.0) as consumer:
                proxy.swallow()
                with anyio.fail_after(PATIENCE), pytest.raises(ServiceUnavailableError, match=f"reading {TOPIC}"):
                    await consumer.take()
                # New connections work.
                with anyio.fail_after(PATIENCE):
                    await consumer.start()
        finally:
            server.close()


async def test_a_long_outage_asks_for_a_new_consumer(server: KafkaServer, impatient: None) -> None:
    await anyio.to_thread.run_sync(server.start)
    with nothing_left():
        async with reading(server.address, stuck_seconds=1.0) as consumer:
            server.kill()
            with anyio.fail_after(PATIENCE), pytest.raises(ServiceUnavailableError, match=server.address):
                await consumer.take()
            with pytest.raises(ServiceUnavailableError, match=server.address):
                await consumer.start()


@pytest.mark.parametrize("killed", [True, False], ids=["killed", "frozen"])
async def test_closing_during_an_outage_takes_seconds_and_leaves_nothing(server: KafkaServer, killed: bool) -> None:
    await anyio.to_thread.run_sync(server.start)
    with nothing_left():
        consumer = reader(server.address)
        await consumer.start()
        server.kill() if killed else server.pause()
        with anyio.move_on_after(1.0):
            await consumer.take()

        async def commit() -> None:
            with pytest.raises(ServiceUnavailableError, match="closed"):
                await consumer.commit({0: 1})

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(commit)
            await anyio.sleep(0.5)
            with anyio.fail_after(8.0):
                await consumer.aclose()


async def test_a_process_that_was_frozen_comes_back_fenced(server: KafkaServer) -> None:
    await anyio.to_thread.run_sync(server.start)
    arguments = [sys.executable, str(READER), server.address, TOPIC, GROUP, "imgateway-g1"]
    async with await anyio.open_process(arguments, stderr=None) as process:
        assert process.stdout is not None
        lines = TextReceiveStream(process.stdout)
        with anyio.fail_after(2 * PATIENCE):
            said = ""
            while "committed 3\n" not in said:
                said += await lines.receive()
            process.send_signal(signal.SIGSTOP)
            async with reading(server.address) as consumer:
                # Higher than any the other one has come to.
                await consumer.commit({0: 1_000_000})
                process.send_signal(signal.SIGCONT)
                await process.wait()
                async for more in lines:
                    said += more
                assert said.endswith("FencedError\n")
                await consumer.commit({1: 7})
        # A commit is acknowledged before its positions can be read.
        with anyio.fail_after(PATIENCE):
            while await Cluster(server.address).committed(GROUP, TOPIC) != {0: 1_000_000, 1: 7, 2: 0}:
                await anyio.sleep(0.05)
