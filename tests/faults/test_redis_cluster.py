"""The session store over a Redis Cluster: every script has one key, so each finds the node that has it."""

import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from unittest import mock

import anyio
import pytest
from redis.asyncio import Redis
from servers import RedisServer, free_port

from imgateway.adapters.redis import RedisAccess, RedisSessionStore, access
from imgateway.errors import ServiceUnavailableError
from imgateway.model import ConnectionId, GatewayId, SessionRecord, UserId

pytestmark = pytest.mark.anyio

PATIENCE = 30.0


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def nodes() -> Iterator[list[RedisServer]]:
    """A cluster of three."""
    with ExitStack() as stack:
        nodes = [RedisServer("--cluster-enabled", "yes", "--cluster-port", str(free_port())) for _ in range(3)]
        for node in nodes:
            stack.enter_context(node)
        addresses = [node.address for node in nodes]
        # Gossip may take longer than this waits for; each test waits for what it needs.
        command = ["redis-cli", "--cluster", "create", *addresses, "--cluster-replicas", "0", "--cluster-yes"]
        subprocess.run(command, check=True, capture_output=True, timeout=60)
        yield nodes


@pytest.fixture(autouse=True)
def _patient() -> Iterator[None]:
    """A machine that stands still for a moment is no outage."""
    with mock.patch.object(access, "CALL_SECONDS", PATIENCE / 2):
        yield


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[RedisSessionStore]:
    store = RedisSessionStore(RedisAccess(url))
    try:
        yield store
    finally:
        await store.aclose()


def record(user: str, connection: str, *, at: int = 1) -> SessionRecord:
    return SessionRecord(UserId(user), ConnectionId(connection), GatewayId("gw"), None, None, connected_at=at)


async def complete(store: RedisSessionStore, user: str = "ann") -> None:
    """Return when the node that has the user answers."""
    with anyio.fail_after(PATIENCE):
        while True:
            try:
                await store.lookup(UserId(user))
            except ServiceUnavailableError:
                await anyio.sleep(0.05)
            else:
                return


async def sizes(nodes: list[RedisServer]) -> list[int]:
    found = []
    for node in nodes:
        async with Redis.from_url(node.url) as redis:
            found.append(await redis.dbsize())
    return found


async def test_users_are_spread_over_the_nodes_and_changes_stay_in_order(nodes: list[RedisServer]) -> None:
    async with opened(nodes[0].url.replace("redis://", "redis+cluster://")) as store:
        users = [f"u{number}" for number in range(100)] + ["{}", "{u1}", "a}{b", "{u1}:{u2}"]
        for user in users:
            await complete(store, user)
        await store.add([record(user, name, at=at) for user in users for at, name in enumerate(("old", "new", "new"))])
        for user in users:
            assert [(each.connection_id, each.connected_at) for each in await store.lookup(UserId(user))] == [
                ("new", 2),
                ("old", 0),
            ]
        assert sum(await sizes(nodes)) == len(users)
        assert all(await sizes(nodes))
        await store.remove([record(user, "new") for user in users])
        assert [each.connection_id for each in await store.lookup(UserId("{u1}"))] == ["old"]
        await store.remove([record(user, "old") for user in users])
        assert await sizes(nodes) == [0, 0, 0]
        await store.aclose()


async def test_a_node_that_freezes_is_noticed_and_the_others_go_on(nodes: list[RedisServer]) -> None:
    async with opened(nodes[0].url.replace("redis://", "redis+cluster://")) as store:
        users = [f"u{number}" for number in range(30)]
        for user in users:
            await complete(store, user)
        nodes[2].pause()
        try:
            with (
                mock.patch.object(access, "CALL_SECONDS", 0.5),
                pytest.raises(ServiceUnavailableError, match=r"redis\.url \(redis\+cluster://127\.0\.0\.1:\d+\): "),
            ):
                await store.add([record(user, "a") for user in users])
        finally:
            nodes[2].resume()
        for user in users:
            await complete(store, user)
        await store.add([record(user, "a") for user in users])
        assert sum(await sizes(nodes)) == len(users)
        await store.remove([record(user, "a") for user in users])


async def test_a_plain_address_of_a_node_is_told_what_to_write_instead(nodes: list[RedisServer]) -> None:
    async with opened(nodes[0].url) as store:
        with pytest.raises(ServiceUnavailableError, match=r"redis\.url .* redis\+cluster://"):
            await store.remove([record(f"u{number}", "a") for number in range(100)])


async def test_a_cluster_that_is_none() -> None:
    with RedisServer() as server:
        async with opened(server.url.replace("redis://", "redis+cluster://")) as store:
            with pytest.raises(ServiceUnavailableError, match=r"redis\.url"):
                await store.add([record("ann", "a")])
    async with opened(f"redis+cluster://:secret-word@127.0.0.1:{free_port()}") as store:
        with pytest.raises(ServiceUnavailableError, match=r"redis\.url") as caught:
            await store.add([record("ann", "a")])
        assert "secret-word" not in str(caught.value)
