"""Presence in a real Redis follows the connections of two gateways, through whatever happens to the server."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from unittest import mock

import anyio
import attrs
import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError
from servers import RedisServer
from tests.gateways import GATEWAY_ID, Client, House, World, running_world, settings

from imgateway.adapters.redis import RedisAccess, RedisSessionStore, access
from imgateway.core import presence as presence_part
from imgateway.core.gateway import Gateway
from imgateway.core.parts import GatewayParts
from imgateway.core.settings import GatewaySettings
from imgateway.model import GatewayId

pytestmark = pytest.mark.anyio

PATIENCE = 20.0
SHORT_TTL = 6.0
"""Until an entry expires; one that is refreshed stays also where everything stands still for three seconds."""
OTHER = GatewayId("gw-2")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture(autouse=True)
def _patient() -> Iterator[None]:
    """Who is welcomed is present, also on a slow machine; and nothing is taken for an outage that is none."""
    with (
        mock.patch.object(access, "CALL_SECONDS", PATIENCE),
        mock.patch.object(presence_part, "ANNOUNCE_SECONDS", PATIENCE),
    ):
        yield


@asynccontextmanager
async def gateway_on(
    world: World, server: RedisServer, gateway_id: GatewayId = GATEWAY_ID, *, ttl_seconds: float = 3600.0
) -> AsyncIterator[House]:
    """A gateway whose presence is in Redis; refreshed hardly ever unless told otherwise."""

    @asynccontextmanager
    async def open_parts() -> AsyncIterator[GatewayParts]:
        sessions = RedisSessionStore(RedisAccess(server.url), ttl_seconds)
        parts = attrs.evolve(world.parts(session_ttl_seconds=ttl_seconds), sessions=sessions)
        try:
            yield parts
        finally:
            await parts.registrar.aclose()
            await sessions.aclose()

    chosen = attrs.evolve(settings(), gateway=GatewaySettings(id=gateway_id))
    async with Gateway(chosen, open_parts) as gateway:
        with anyio.fail_after(PATIENCE):
            await gateway.wait_ready()
        yield House(world, gateway)


async def presence(server: RedisServer) -> dict[str, tuple[str | None, set[str]]]:
    """All that is in Redis: for each key the gateway it names, and its connections."""
    found = {}
    async with Redis.from_url(server.url, decode_responses=True) as redis:
        async for key in redis.scan_iter("*"):
            fields = {str(field): str(value) for field, value in (await redis.hgetall(key)).items()}
            named = fields.pop("gateway_id", None)
            found[key.removeprefix("user_session:")] = (named, {field.removeprefix("conn:") for field in fields})
    return found


def expected(*houses: House) -> dict[str, tuple[str, set[str]]]:
    """What should be there: the latest connection of each user names the gateway."""
    found: dict[str, tuple[str, set[str]]] = {}
    everyone = [(house, each) for house in houses for each in house.gateway.connections]
    for house, each in sorted(everyone, key=lambda pair: pair[1].connected_at):
        _, connections = found.get(each.user_id, ("", set()))
        found[each.user_id] = (house.gateway.gateway_id, connections | {each.connection_id})
    return found


async def exact(server: RedisServer, *houses: House) -> None:
    """Return when presence is exactly that of the gateways' connections."""
    seen: object = None
    with anyio.move_on_after(PATIENCE):
        while True:
            try:
                seen = await presence(server)
            except RedisError as error:
                seen = error
            if seen == expected(*houses):
                return
            await anyio.sleep(0.02)
    assert seen == expected(*houses)


async def leave(*clients: Client) -> None:
    for client in clients:
        client.socket.leave()
        await client.ended()


def down(house: House) -> bool:
    return not house.gateway.readiness()["presence"]


async def until(house: House, *, is_down: bool) -> None:
    with anyio.fail_after(PATIENCE):
        while down(house) is not is_down:
            await anyio.sleep(0.01)


@pytest.mark.parametrize("newest_leaves_first", [True, False])
async def test_the_newest_connection_over_two_gateways(server: RedisServer, newest_leaves_first: bool) -> None:
    async with running_world() as world, gateway_on(world, server) as one, gateway_on(world, server, OTHER) as other:
        old = await one.connect("ann")
        assert (await presence(server))["ann"] == (GATEWAY_ID, {old.connection.connection_id})
        world.clock.advance(1.0)
        new = await other.connect("ann")
        # Written before the welcome, so no waiting.
        both = {old.connection.connection_id, new.connection.connection_id}
        assert (await presence(server))["ann"] == (OTHER, both)
        first, second = (new, old) if newest_leaves_first else (old, new)
        await leave(first)
        await exact(server, one, other)
        assert (await presence(server))["ann"][0] == (GATEWAY_ID if newest_leaves_first else OTHER)
        await leave(second)
        await exact(server, one, other)
        assert await presence(server) == {}


async def test_a_server_that_is_down_when_the_gateway_starts(server: RedisServer) -> None:
    server.kill()
    async with running_world() as world, gateway_on(world, server) as house:
        await until(house, is_down=True)
        with mock.patch.object(presence_part, "ANNOUNCE_SECONDS", 0.01):
            ann = await house.connect("ann")
        assert not ann.connection.closed
        server.start()
        await exact(server, house)
        await until(house, is_down=False)


async def test_a_server_that_freezes(server: RedisServer) -> None:
    with mock.patch.object(access, "CALL_SECONDS", 0.5), mock.patch.object(presence_part, "ANNOUNCE_SECONDS", 0.75):
        await through_a_freeze(server)


async def through_a_freeze(server: RedisServer) -> None:
    async with running_world() as world, gateway_on(world, server) as house:
        ann, ben = await house.connect("ann"), await house.connect("ben")
        server.pause()
        cid = await house.connect("cid")
        await until(house, is_down=True)
        await leave(ben)
        server.resume()
        await exact(server, house)
        await until(house, is_down=False)
        assert not ann.connection.closed
        assert not cid.connection.closed


@pytest.mark.parametrize("persistent", [True, False])
async def test_a_server_that_is_killed_and_comes_back(persistent: bool) -> None:
    with RedisServer("--appendfsync", "always", persistent=persistent) as server:
        async with running_world() as world, gateway_on(world, server) as one, gateway_on(world, server, OTHER) as two:
            clients = []
            for number in range(10):
                for house in (one, two):
                    world.clock.advance(1.0)
                    clients.append(await house.connect(f"u{number}"))
            await exact(server, one, two)
            server.kill()
            await leave(*clients[:6])
            with mock.patch.object(presence_part, "ANNOUNCE_SECONDS", 0.01):
                for number in (0, 15, 16):
                    world.clock.advance(1.0)
                    await one.connect(f"u{number}")
            # Whoever had nothing to write notices as well, with its next refresh: here with a connection's end.
            await leave(clients[7])
            await until(one, is_down=True)
            await until(two, is_down=True)
            server.start()
            await exact(server, one, two)
            await until(one, is_down=False)


async def test_a_server_that_loses_everything_is_filled_again_by_the_next_refresh(server: RedisServer) -> None:
    async with running_world() as world, gateway_on(world, server, ttl_seconds=SHORT_TTL) as house:
        for number in range(5):
            await house.connect(f"u{number}")
        await exact(server, house)
        async with Redis.from_url(server.url) as redis:
            await redis.flushall()
        await exact(server, house)


async def test_a_gateway_that_is_gone_without_a_word_expires_under_anothers_refresh(server: RedisServer) -> None:
    async with running_world() as world, gateway_on(world, server, ttl_seconds=SHORT_TTL) as house:
        async with gateway_on(world, server, OTHER, ttl_seconds=SHORT_TTL) as dying:
            ann = await house.connect("ann")
            world.clock.advance(1.0)
            await dying.connect("ann")
            await dying.connect("ben")
            await exact(server, house, dying)
            # As after kill -9: nothing of it is removed.
            sessions = mock.patch.object(RedisSessionStore, "remove")
            sessions.start()
        try:
            assert (await presence(server))["ann"][0] == OTHER
            await exact(server, house)
        finally:
            sessions.stop()
        assert (await presence(server))["ann"] == (GATEWAY_ID, {ann.connection.connection_id})


async def test_gateways_that_share_no_broker_learn_from_redis_who_was_replaced(server: RedisServer) -> None:
    async with (
        running_world() as world,
        running_world() as apart,
        gateway_on(world, server, ttl_seconds=SHORT_TTL) as one,
        gateway_on(apart, server, OTHER) as other,
    ):
        old, ben = await one.connect("ann", device="phone"), await one.connect("ben", device="phone")
        apart.clock.advance(1.0)
        new = await other.connect("ann", device="phone")
        assert (await old.ended(), ben.connection.closed, new.connection.closed) == (4509, False, False)
        await exact(server, one, other)


async def test_keys_of_a_wrong_kind_are_replaced(server: RedisServer) -> None:
    async with Redis.from_url(server.url) as redis:
        await redis.set("user_session:ann", "gw-9")
        await redis.rpush("user_session:ben", "gw-9")
        await redis.hset("user_session:cid", mapping={"gateway_id": "gw-9", "conn:x": "{", "conn:y": "7"})
    async with running_world() as world, gateway_on(world, server) as house:
        clients = [await house.connect(user) for user in ("ann", "ben", "cid", "dan")]
        await exact(server, house)
        assert not down(house)
        await leave(*clients)
        await exact(server, house)


async def test_a_replica_is_told_and_nobody_is_turned_away(
    server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    with RedisServer("--replicaof", f"127.0.0.1 {server.port}") as replica:
        async with running_world() as world, gateway_on(world, replica) as house:
            await until(house, is_down=True)
            with mock.patch.object(presence_part, "ANNOUNCE_SECONDS", 0.01):
                ann = await house.connect("ann")
            assert not ann.connection.closed
            (line,) = [each for each in caplog.records if each.name == "imgateway.core.presence"]
            assert "redis.url" in line.__dict__["why"]
            assert "read only replica" in line.__dict__["why"]
            async with Redis.from_url(replica.url) as redis:
                await redis.execute_command("REPLICAOF", "NO", "ONE")  # type: ignore[no-untyped-call]  # as redis-py has it
            await exact(replica, house)


async def test_a_gateway_that_may_have_lost_its_id_writes_nothing(server: RedisServer) -> None:
    async with running_world() as world, gateway_on(world, server, ttl_seconds=1.5) as house:
        ann = await house.connect("ann")
        await exact(server, house)
        world.services.revoke(GATEWAY_ID)
        await ann.ended()
        await exact(server, house)
        assert await presence(server) == {}
        with anyio.fail_after(PATIENCE):
            while not house.gateway.ready:
                await anyio.sleep(0.01)
        await house.connect("ann")
        await exact(server, house)


async def test_leaving_the_gateway_leaves_no_key_and_no_connection(server: RedisServer) -> None:
    async with running_world() as world:
        async with gateway_on(world, server) as house:
            for number in range(20):
                await house.connect(f"u{number}")
            await exact(server, house)
        assert await presence(server) == {}
        async with Redis.from_url(server.url) as redis:
            with anyio.fail_after(PATIENCE):
                while len(await redis.client_list()) > 1:
                    await anyio.sleep(0.01)
