"""A gateway that is stopped for longer than its lease comes back and does no harm."""

import json
import signal
from collections.abc import Iterator
from typing import Any

import anyio
import pytest
from aiokafka import AIOKafkaProducer
from servers import EtcdServer, KafkaServer, RedisServer
from tests.e2e.gateway_process import GatewayProcess, gateway_process
from tests.stack.test_two_gateways import Servers, eventually, presence

pytestmark = pytest.mark.anyio

GATEWAY_ID = "gateway-p"
TTL_SECONDS = 6
LEASE_SECONDS = 8
"""Not so short that a gateway loses its id where the machine stands still for three seconds."""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def servers() -> Iterator[Servers]:
    with KafkaServer() as kafka, RedisServer() as redis, EtcdServer() as etcd:
        yield Servers(kafka, redis, etcd)


async def times_ready(process: GatewayProcess) -> int:
    return sum(entry.get("message") == "ready" for entry in process.log())


async def test_the_paused_one_gives_way_to_the_one_that_took_its_id(servers: Servers) -> None:
    settings: dict[str, Any] = {
        "GATEWAY__ID": GATEWAY_ID,
        "KAFKA__BOOTSTRAP_SERVERS": servers.kafka.address,
        "REDIS__URL": servers.redis.url,
        "REDIS__SESSION_TTL_SECONDS": TTL_SECONDS,
        "ETCD__ENDPOINTS": servers.etcd.url,
        "ETCD__LEASE_SECONDS": LEASE_SECONDS,
    }
    producer = AIOKafkaProducer(bootstrap_servers=servers.kafka.address)
    await producer.start()
    numbers = iter(range(1000))

    async def write(user_id: str) -> str:
        number = next(numbers)
        record = {
            "target_user_id": user_id, "message_id": number, "conversation_id": "c", "sender_id": "back-end",
            "message_type": 1, "content": "x", "seq_id": number, "timestamp": 1,
        }  # fmt: skip
        await producer.send_and_wait(f"im-downstream-topic-{GATEWAY_ID}", json.dumps(record).encode(), key=b"c")
        return str(number)

    try:
        async with gateway_process(**settings) as first, gateway_process(ready=False, **settings) as second:
            alice = await first.connect("alice")
            expected = await write("alice")
            assert (await alice.expect("new-message"))["id"] == expected
            assert (await second.get("/readyz")).status_code == 503
            assert (await second.get("/healthz")).status_code == 200

            first.process.send_signal(signal.SIGSTOP)

            async def taken_over() -> bool:
                return await times_ready(second) == 1

            await eventually(taken_over)
            bob = await second.connect("bob")
            expected = await write("bob")
            assert (await bob.expect("new-message"))["id"] == expected

            first.process.send_signal(signal.SIGCONT)
            assert await alice.ended() == 1012
            readiness = await first.get("/readyz")
            assert readiness.status_code == 503
            assert "ownership" in readiness.json()["failing"]

            async def only_bob() -> bool:
                found = await presence(servers)
                return found == {"bob": {(GATEWAY_ID, bob.welcome["connectionId"])}}

            await eventually(only_bob, 3 * TTL_SECONDS)
            expected = await write("bob")
            assert (await bob.expect("new-message"))["id"] == expected
            # Long enough for the first one to do what it must not: it had a lease, presence and positions to renew.
            with anyio.move_on_after(LEASE_SECONDS):
                await bob.ended()
                pytest.fail("the paused gateway disturbed the one that took over")
            assert await only_bob()

            second.send_signal(signal.SIGTERM)
            assert await second.ended() == 0

            async def ready_again() -> bool:
                return await times_ready(first) == 2

            await eventually(ready_again)
            alice = await first.connect("alice")
            expected = await write("alice")
            message = await alice.expect("new-message")
            assert message["id"] == expected
            assert not message.get("redelivered")
    finally:
        await producer.stop()
