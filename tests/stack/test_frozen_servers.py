"""A gateway that is told to end while what it stands on does not answer."""

import signal
from collections.abc import Iterator

import anyio
import pytest
from servers import EtcdServer, KafkaServer, RedisServer, Server
from tests.e2e.gateway_process import gateway_process
from tests.stack.test_two_gateways import Servers

from imgateway.adapters.etcd import EtcdAccess, EtcdOwnership
from imgateway.model import GatewayId
from imgateway_cli.serving import OVERTIME_SECONDS

pytestmark = pytest.mark.anyio

DRAIN_SECONDS = 2
LEASE_SECONDS = 30
SLACK_SECONDS = 3.0
"""For what is seen of a process on a busy machine; without its own clock it would take six seconds more."""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    with KafkaServer() as kafka, RedisServer() as redis, EtcdServer() as etcd:
        yield Servers(kafka, redis, etcd)


@pytest.mark.parametrize("frozen", ["kafka", "kafka redis etcd"])
async def test_it_ends_with_0_in_its_time_whatever_is_frozen(servers: Servers, frozen: str) -> None:
    gateway_id = GatewayId(f"gateway-{frozen.replace(' ', '-')}")
    async with gateway_process(
        GATEWAY__ID=gateway_id,
        GATEWAY__DRAIN_SECONDS=DRAIN_SECONDS,
        KAFKA__BOOTSTRAP_SERVERS=servers.kafka.address,
        REDIS__URL=servers.redis.url,
        ETCD__ENDPOINTS=servers.etcd.url,
        ETCD__LEASE_SECONDS=LEASE_SECONDS,
    ) as gateway:
        client = await gateway.connect("alice")
        await client.send_message("written")
        await client.expect("message-ack")
        victims: list[Server] = [getattr(servers, name) for name in frozen.split()]
        for victim in victims:
            victim.pause()
        try:
            await client.send_message("on its way")
            gateway.send_signal(signal.SIGTERM)
            assert await gateway.ended() == 0
        finally:
            for victim in victims:
                victim.resume()
        assert gateway.seconds_to_end < DRAIN_SECONDS + OVERTIME_SECONDS + SLACK_SECONDS
        assert "Traceback" not in gateway.output.decode()
        if "etcd" not in frozen:
            # Given up, and not only left to its lease's end.
            async with EtcdOwnership.open(EtcdAccess((servers.etcd.url,)), lease_seconds=LEASE_SECONDS) as next_owner:
                with anyio.fail_after(LEASE_SECONDS / 3):
                    await next_owner.acquire(gateway_id)
