"""Publishing while the broker is away, comes back, freezes, or is no broker."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import anyio
import anyio.to_thread
import pytest
from servers import KafkaServer
from tests.faults.kafka_proxy import ProxiedKafka, Proxy
from tests.integration.kafka_cluster import PATIENCE, Cluster, values
from tests.integration.test_kafka_publisher import nothing_left, offer, until

from imgateway.adapters.kafka import KafkaAccess, KafkaPublisher, TopicPlan
from imgateway.model import PublishFailure, Receipt
from imgateway.testing import RecordingTicket

pytestmark = pytest.mark.anyio

TOPIC = "up"
PLAN = TopicPlan(TOPIC, 3)
QUICK_RESTART = {"broker_session_timeout_ms": "2000", "broker_heartbeat_interval_ms": "500"}
"""A broker that was killed may come back when its session has ended."""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def server() -> Iterator[KafkaServer]:
    server = KafkaServer(**QUICK_RESTART)
    yield server
    server.close()


@asynccontextmanager
async def publishing(address: str, *, stuck_seconds: float = 60.0) -> AsyncIterator[KafkaPublisher]:
    async with KafkaPublisher(KafkaAccess((address,)), (PLAN,), stuck_seconds=stuck_seconds) as publisher:
        yield publisher


async def until_available(publisher: KafkaPublisher, expected: bool = True) -> None:
    with anyio.fail_after(PATIENCE):
        while publisher.available is not expected:
            await anyio.sleep(0.02)


async def test_a_broker_that_is_down_at_start_is_waited_for(server: KafkaServer) -> None:
    async with publishing(server.address) as publisher:
        ticket = offer(publisher, TOPIC, 1)
        assert not publisher.available
        await anyio.to_thread.run_sync(server.start)
        assert isinstance(await until(ticket), Receipt)
        await until_available(publisher)


async def unanswered(publisher: KafkaPublisher, value: bytes) -> RecordingTicket:
    """Of a record that the broker, which is going away, no longer acknowledges."""
    while True:
        ticket = offer(publisher, TOPIC, value)
        with anyio.move_on_after(0.5):
            await until(ticket)
        if not ticket.outcomes:
            return ticket


@pytest.mark.parametrize("killed", [True, False], ids=["killed", "frozen"])
async def test_closing_during_an_outage_writes_nothing_later(
    server: KafkaServer, killed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imgateway.adapters.kafka.publisher.CLOSE_SECONDS", 0.5)
    await anyio.to_thread.run_sync(server.start)
    with nothing_left():
        async with publishing(server.address) as publisher:
            await until(offer(publisher, TOPIC, b"before"))
            server.kill() if killed else server.pause()
            in_flight = await unanswered(publisher, b"in flight")
            behind_it = offer(publisher, TOPIC, b"behind it")
        assert in_flight.outcomes == behind_it.outcomes == [PublishFailure.UNKNOWN]
    await anyio.to_thread.run_sync(server.start if killed else server.resume)
    async with publishing(server.address) as publisher:
        await until(offer(publisher, TOPIC, b"after"))
    # What a frozen broker had received it may well write. What was never sent nobody may send any more.
    found = values(await Cluster(server.address).read(TOPIC))
    assert found[0] == b"before"
    assert found[-1] == b"after"
    assert b"behind it" not in found


async def test_a_producer_that_is_stuck_is_made_anew() -> None:
    async with Proxy() as proxy:
        server = ProxiedKafka(proxy)
        try:
            await anyio.to_thread.run_sync(server.start)
            # Longer than a batch is on its way where all goes well.
            async with publishing(proxy.address, stuck_seconds=5.0) as publisher:
                await until(offer(publisher, TOPIC, 0))
                proxy.swallow()
                ticket = offer(publisher, TOPIC, 1)
                assert await until(ticket) is PublishFailure.UNKNOWN
                assert isinstance(await until(offer(publisher, TOPIC, 2)), Receipt)
            assert values(await Cluster(proxy.address).read(TOPIC)) == [b"0", b"2"]
        finally:
            server.close()


def reasons(caplog: pytest.LogCaptureFixture, part: str) -> list[str]:
    """Why a part is not available; something else may be said of others, such as a producer that starts late."""
    return [str(record.__dict__["why"]) for record in caplog.records if record.__dict__.get("part") == part]


async def test_a_cluster_that_can_not_make_a_topic_says_why(
    server: KafkaServer, caplog: pytest.LogCaptureFixture
) -> None:
    await anyio.to_thread.run_sync(server.start)
    plans = {
        "kafka.replication_factor": TopicPlan("a", 3, replication_factor=3),
        "kafka.*_topic, kafka.downstream_topic_prefix, gateway.id": TopicPlan("a/b", 3),
        "kafka.upstream_partitions, kafka.downstream_partitions": TopicPlan("c", 0),
        "kafka.downstream_retention_hours": TopicPlan("d", 3, retention_hours=-5.0),
    }
    for setting, plan in plans.items():
        caplog.clear()
        async with KafkaPublisher(KafkaAccess((server.address,)), (plan,)) as publisher:
            with anyio.fail_after(PATIENCE):
                while not (of_topic := reasons(caplog, f"topic {plan.name}")):
                    await anyio.sleep(0.02)
            assert of_topic[0].startswith(f"topic {plan.name} can't be made ({setting})"), of_topic
            assert not publisher.available


async def test_a_broker_that_makes_topics_by_itself_is_not_led_to() -> None:
    with KafkaServer(auto_create_topics_enable="true") as server:
        async with publishing(server.address) as publisher:
            await until_available(publisher)
            assert await until(offer(publisher, "of-nobody", 1)) is PublishFailure.REFUSED
            await until(offer(publisher, TOPIC, 1))
        cluster = Cluster(server.address)
        assert await cluster.topics() == {TOPIC}
        async with cluster.admin() as admin:
            (found,) = await admin.describe_topics([TOPIC])
        assert len(found["partitions"]) == PLAN.partitions
