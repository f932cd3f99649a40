"""Two gateways on real Kafka, Redis and etcd agree on how many connections a user has, and which one a device has."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
from servers import EtcdServer, KafkaServer, RedisServer
from tests.e2e.gateway_process import GatewayProcess, gateway_process
from tests.e2e.running_gateway import mint
from tests.e2e.websocket_client import Client, refusal
from tests.stack.test_two_gateways import Servers, eventually, everything_in, presence

pytestmark = pytest.mark.anyio

REPLACED = 4509


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    with KafkaServer() as kafka, RedisServer() as redis, EtcdServer() as etcd:
        yield Servers(kafka, redis, etcd)


@asynccontextmanager
async def gateway(servers: Servers, gateway_id: str, on_excess: str) -> AsyncIterator[GatewayProcess]:
    """A gateway that refreshes hardly ever: that must not be what closes anyone."""
    async with gateway_process(
        GATEWAY__ID=gateway_id,
        CONNECTIONS__MAX_PER_USER=3,
        CONNECTIONS__ON_EXCESS=on_excess,
        KAFKA__BOOTSTRAP_SERVERS=servers.kafka.address,
        REDIS__URL=servers.redis.url,
        REDIS__SESSION_TTL_SECONDS=600,
        ETCD__ENDPOINTS=servers.etcd.url,
    ) as process:
        yield process


def places(*clients: Client) -> set[tuple[str, str]]:
    return {(client.welcome["gatewayId"], client.welcome["connectionId"]) for client in clients}


async def exactly(servers: Servers, user_id: str, *clients: Client) -> None:
    """Return when presence is that of these connections."""

    async def it_is() -> bool:
        return (await presence(servers)).get(user_id, set()) == places(*clients)

    await eventually(it_is)


async def open_still(*clients: Client) -> None:
    for client in clients:
        await client.nothing_came()


async def test_connections_in_excess_and_of_one_device_are_closed_on_whichever_gateway(servers: Servers) -> None:
    async with gateway(servers, "gw-1", "kick-oldest") as first, gateway(servers, "gw-2", "kick-oldest") as second:
        clients = [await (first, second)[number % 2].connect("ann") for number in range(5)]
        # Exact before the last welcome, unless Redis was slow just then; the sockets follow by way of Kafka.
        await exactly(servers, "ann", *clients[2:])
        assert [await client.ended() for client in clients[:2]] == [REPLACED, REPLACED]
        await open_still(*clients[2:])

        old = await first.connect("ben", "device_id=phone")
        tv = await first.connect("ben", "device_id=tv")
        new = await second.connect("ben", "device_id=phone")
        await exactly(servers, "ben", tv, new)
        assert await old.ended() == REPLACED
        again = await first.connect("ben", "device_id=phone")
        assert await new.ended() == REPLACED
        await exactly(servers, "ben", tv, again)
        await open_still(tv, again)

        servers.redis.pause()
        try:
            alone = [await process.connect("cid") for process in (first, second) for _ in range(4)]
            assert [await alone[index].ended() for index in (0, 4)] == [REPLACED, REPLACED]
            await open_still(*alone[1:4], *alone[5:])
        finally:
            servers.redis.resume()
        # The newest three stay when Redis is back, whatever came first into it.
        assert [await client.ended() for client in alone[1:4]] == [REPLACED] * 3
        await exactly(servers, "cid", *alone[5:])
        await open_still(*alone[5:], *clients[2:], tv, again)
        assert await everything_in(servers, "im-undelivered-topic") == []
        for process in (first, second):
            assert "unparsable" not in await process.metrics()


async def test_with_the_policy_refuse_the_fourth_is_turned_away_on_any_gateway(servers: Servers) -> None:
    async with gateway(servers, "gw-3", "refuse") as first, gateway(servers, "gw-4", "refuse") as second:
        phone = await first.connect("dan", "device_id=phone")
        others = [await process.connect("dan") for process in (first, second)]
        for process in (first, second):
            response = await refusal(await process.url(), headers={"Authorization": f"Bearer {mint('dan')}"})
            assert response.status_code == 429
            assert b"Too many connections of this user." in response.body
        replacing = await second.connect("dan", "device_id=phone")
        assert await phone.ended() == REPLACED
        await exactly(servers, "dan", replacing, *others)
        await open_still(replacing, *others)
