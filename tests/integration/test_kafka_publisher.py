"""Publishing while topics change, refuse, or are not there."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import anyio
import pytest
from servers import KafkaServer
from tests.integration.kafka_cluster import PATIENCE, Cluster, cluster_at, values

from imgateway.adapters.kafka import KafkaAccess, KafkaPublisher, TopicPlan
from imgateway.core.partitioning import partition_of
from imgateway.model import OutgoingRecord, PublishFailure, Receipt
from imgateway.testing import RecordingTicket

pytestmark = pytest.mark.anyio


@pytest.fixture
async def cluster(kafka_server: KafkaServer) -> AsyncIterator[Cluster]:
    async with cluster_at(kafka_server.address) as cluster:
        yield cluster


@asynccontextmanager
async def publishing(cluster: Cluster, *plans: TopicPlan) -> AsyncIterator[KafkaPublisher]:
    async with KafkaPublisher(KafkaAccess((cluster.address,)), plans) as publisher:
        with anyio.fail_after(PATIENCE):
            while not publisher.available:
                await anyio.sleep(0.01)
        yield publisher


@asynccontextmanager
async def waiting_for(cluster: Cluster, topic: str, *, max_bytes: int = 2**28) -> AsyncIterator[KafkaPublisher]:
    """A publisher one of whose topics is missing, and that may not make it."""
    access, plan = KafkaAccess((cluster.address,)), TopicPlan(topic, 3)
    async with KafkaPublisher(access, (plan,), create=False, max_bytes=max_bytes) as publisher:
        yield publisher


def offer(publisher: KafkaPublisher, topic: str, value: bytes | int, key: bytes = b"k") -> RecordingTicket:
    ticket = RecordingTicket()
    assert publisher.offer(OutgoingRecord(topic, key, value if isinstance(value, bytes) else b"%d" % value), ticket)
    return ticket


async def flush(publisher: KafkaPublisher) -> None:
    with anyio.fail_after(PATIENCE):
        await publisher.flush()


async def until(ticket: RecordingTicket) -> Receipt | PublishFailure:
    with anyio.fail_after(PATIENCE):
        while not ticket.outcomes:
            await anyio.sleep(0.01)
    return ticket.outcomes[0]


@contextmanager
def nothing_left() -> Iterator[None]:
    tasks, sockets = asyncio.all_tasks(), _sockets()
    yield
    assert asyncio.all_tasks() == tasks
    assert _sockets() == sockets


def _sockets() -> int:
    files = [f"/proc/self/fd/{fd}" for fd in os.listdir("/proc/self/fd")]
    return sum(os.readlink(file).startswith("socket:") for file in files if os.path.lexists(file))


async def test_a_topic_that_is_waited_for_holds_nobody_else_up(cluster: Cluster) -> None:
    missing, other = cluster.name("topic"), await cluster.create()
    async with waiting_for(cluster, missing) as publisher:
        held = [offer(publisher, missing, number, b"%d" % (number % 7)) for number in range(50)]
        flushed = anyio.Event()

        async def flush_held() -> None:
            await publisher.flush()
            flushed.set()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(flush_held)
            for number in range(200):
                assert isinstance(await until(offer(publisher, other, number)), Receipt)
            assert not any(ticket.outcomes for ticket in held)
            assert not flushed.is_set(), "flush waits for what was taken before it, not for as many of any kind"
            await cluster.create_as(missing)
            with anyio.fail_after(PATIENCE):
                await flushed.wait()
        assert all(isinstance(ticket.outcomes[0], Receipt) for ticket in held)
    found = await cluster.read(missing)
    for number in range(7):
        of_key = [int(record.value) for record in found if record.key == b"%d" % number]
        assert of_key == list(range(number, 50, 7))


async def test_a_topic_that_is_not_ours_is_looked_for(cluster: Cluster) -> None:
    topic = await cluster.create()
    async with publishing(cluster) as publisher:
        tickets = [offer(publisher, topic, number) for number in range(10)]
        await flush(publisher)
        assert all(isinstance(ticket.outcomes[0], Receipt) for ticket in tickets)
    assert values(await cluster.read(topic)) == [b"%d" % number for number in range(10)]


@pytest.mark.parametrize(
    "name", ["", "with/slash", "with:colon", "with*star", "new\nline", "\ud800", "x" * 250, "会话"]
)
async def test_a_topic_that_can_not_exist_is_refused(cluster: Cluster, name: str) -> None:
    async with publishing(cluster) as publisher:
        assert await until(offer(publisher, name, 1)) is PublishFailure.REFUSED


async def test_a_topic_that_does_not_exist_is_refused_and_not_made(cluster: Cluster) -> None:
    topic, other = cluster.name("topic"), await cluster.create()
    async with publishing(cluster) as publisher:
        tickets = [offer(publisher, topic, number) for number in range(10)]
        assert isinstance(await until(offer(publisher, other, 1)), Receipt)
        await flush(publisher)
        assert [ticket.outcomes for ticket in tickets] == [[PublishFailure.REFUSED]] * 10
        assert topic not in await cluster.topics()
        await cluster.create_as(topic)
        assert isinstance(await until(offer(publisher, topic, 11)), Receipt)
    assert values(await cluster.read(topic)) == [b"11"]


async def test_a_topic_of_ours_is_made(cluster: Cluster) -> None:
    topic = cluster.name("topic")
    async with KafkaPublisher(KafkaAccess((cluster.address,)), (TopicPlan(topic, 5, retention_hours=3),)) as publisher:
        # Offered before the cluster is reached.
        assert isinstance(await until(offer(publisher, topic, 1)), Receipt)
        assert publisher.available
    async with cluster.admin() as admin:
        (found,) = await admin.describe_topics([topic])
    assert len(found["partitions"]) == 5


async def test_a_topic_of_ours_that_may_not_be_made_is_waited_for(
    cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    topic = cluster.name("topic")
    async with waiting_for(cluster, topic) as publisher:
        ticket = offer(publisher, topic, 1)
        with anyio.fail_after(PATIENCE):
            while not caplog.records:
                await anyio.sleep(0.01)
        assert f"no topic {topic}, and kafka.create_topics is false" in caplog.records[0].__dict__["why"]
        assert not publisher.available
        assert not ticket.outcomes
        await cluster.create_as(topic)
        assert isinstance(await until(ticket), Receipt)
        assert publisher.available


async def test_a_limit_that_was_lowered_costs_no_record_that_is_small_enough(cluster: Cluster) -> None:
    topic = await cluster.create()
    async with publishing(cluster) as publisher:
        await until(offer(publisher, topic, 0))
        await cluster.alter(topic, max_message_bytes=20_000)
        # One batch of 150 kB, which the broker refuses as a whole; the 30 kB in its midst could never be written.
        tickets = [offer(publisher, topic, b"%d" % number + b"x" * 3_000) for number in range(1, 26)]
        huge = offer(publisher, topic, b"y" * 30_000)
        tickets += [offer(publisher, topic, b"%d" % number + b"x" * 3_000) for number in range(26, 51)]
        await flush(publisher)
        assert huge.outcomes == [PublishFailure.TOO_LARGE]
        offsets = [ticket.outcomes[0].offset for ticket in tickets if isinstance(ticket.outcomes[0], Receipt)]
        assert offsets == list(range(1, 51))
        # The gap that the refused batch left in the sequence numbers is gone with its producer.
        assert isinstance(await until(offer(publisher, topic, 51)), Receipt)
    found = [int(value.rstrip(b"x")) for value in values(await cluster.read(topic))]
    assert found == list(range(52))


async def test_a_single_record_beyond_a_lowered_limit_is_too_large(cluster: Cluster) -> None:
    topic = await cluster.create()
    async with publishing(cluster) as publisher:
        await until(offer(publisher, topic, 0))
        await cluster.alter(topic, max_message_bytes=20_000)
        assert await until(offer(publisher, topic, b"x" * 30_000)) is PublishFailure.TOO_LARGE
        assert isinstance(await until(offer(publisher, topic, 1)), Receipt)


async def test_a_limit_that_was_raised_counts(cluster: Cluster) -> None:
    topic = await cluster.create(max_message_bytes=20_000)
    async with publishing(cluster) as publisher:
        assert await until(offer(publisher, topic, b"x" * 30_000)) is PublishFailure.TOO_LARGE
        await cluster.alter(topic, max_message_bytes=2_000_000)
        assert isinstance(await until(offer(publisher, topic, b"x" * 1_500_000)), Receipt)


async def test_what_fits_by_a_byte_is_written(cluster: Cluster) -> None:
    topic = await cluster.create(max_message_bytes=20_000)
    async with publishing(cluster) as publisher:
        assert isinstance(await until(offer(publisher, topic, b"x" * (20_000 - 130))), Receipt)


async def test_a_deleted_topic_is_made_again_if_it_is_ours_and_refused_if_not(cluster: Cluster) -> None:
    ours, foreign, other = cluster.name("topic"), await cluster.create(), await cluster.create()
    async with publishing(cluster, TopicPlan(ours, 3)) as publisher:
        for topic in (ours, foreign):
            await until(offer(publisher, topic, 0))
        await cluster.delete(ours, foreign)
        in_between = [offer(publisher, topic, 1) for topic in (ours, foreign)]
        assert isinstance(await until(offer(publisher, other, 1)), Receipt)
        for ticket in in_between:
            await until(ticket)
        assert isinstance(await until(offer(publisher, ours, 2)), Receipt)
        assert await until(offer(publisher, foreign, 2)) is PublishFailure.REFUSED
        assert isinstance(await until(offer(publisher, other, 2)), Receipt)
    assert values(await cluster.read(ours))[-1:] == [b"2"]
    assert foreign not in await cluster.topics()


async def test_a_key_keeps_its_partition_when_others_are_added(cluster: Cluster) -> None:
    topic = await cluster.create(partitions=2)
    async with publishing(cluster) as publisher:
        before = {number: await until(offer(publisher, topic, 1, b"%d" % number)) for number in range(20)}
        await cluster.add_partitions(topic, 7)
        # A refused batch makes the producer look again.
        await cluster.alter(topic, max_message_bytes=20_000)
        await until(offer(publisher, topic, b"x" * 30_000))
        after = {number: await until(offer(publisher, topic, 1, b"%d" % number)) for number in range(20)}
        for number in range(20):
            first, second = before[number], after[number]
            assert isinstance(first, Receipt)
            assert isinstance(second, Receipt)
            assert first.partition == second.partition == partition_of(b"%d" % number, 2)
            assert first.offset < second.offset


async def test_what_waits_is_bounded_in_bytes(cluster: Cluster) -> None:
    missing = cluster.name("topic")
    async with waiting_for(cluster, missing, max_bytes=100_000) as publisher:
        ticket = RecordingTicket()
        while publisher.offer(OutgoingRecord(missing, b"k", b"x" * 10_000), ticket):
            pass
        assert publisher.offer(OutgoingRecord(missing, b"k", b"x"), ticket), "there is room for a small one"
        assert not publisher.offer(OutgoingRecord(missing, b"k", b"x" * 10_000), RecordingTicket())
        await cluster.create_as(missing)
        await flush(publisher)
        assert [type(outcome) for outcome in ticket.outcomes] == [Receipt] * 10
        assert isinstance(await until(offer(publisher, missing, b"x" * 200_000)), Receipt), "alone it may be larger"


async def test_closing_settles_what_still_waits(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imgateway.adapters.kafka.publisher.CLOSE_SECONDS", 0.2)
    missing = cluster.name("topic")
    with nothing_left():
        async with waiting_for(cluster, missing) as publisher:
            tickets = [offer(publisher, missing, number) for number in range(10)]
        assert [ticket.outcomes for ticket in tickets] == [[PublishFailure.UNKNOWN]] * 10


async def test_nothing_is_left_behind(cluster: Cluster) -> None:
    topic = cluster.name("topic")
    with nothing_left():
        for step in range(20):
            async with KafkaPublisher(KafkaAccess((cluster.address,)), (TopicPlan(topic, 3),)) as publisher:
                offer(publisher, topic, 1)
                with anyio.move_on_after(step * 0.005):
                    await publisher.flush()


async def test_an_exception_comes_out_as_it_is(cluster: Cluster) -> None:
    with pytest.raises(ZeroDivisionError):
        async with publishing(cluster):
            raise ZeroDivisionError
