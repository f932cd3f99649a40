"""A Redis that is down, frozen, closed to us or none at all: said with the setting's name, and within bounds."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from unittest import mock
from urllib.parse import quote

import anyio
import pytest
from redis.asyncio import Redis
from servers import RedisServer, free_port
from tests.faults.etcd_certificates import Authority

from imgateway.adapters.redis import RedisAccess, RedisSessionStore, access, probe
from imgateway.adapters.redis.access import MAX_CONNECTIONS
from imgateway.errors import ServiceUnavailableError
from imgateway.model import ConnectionId, GatewayId, SessionRecord, UserId

pytestmark = pytest.mark.anyio

PATIENCE = 20.0
PASSWORD = "9tJf:Xq2/mVw@8Lr#5Zc"
ANN = UserId("ann")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture(autouse=True)
def _patient() -> Iterator[None]:
    """A machine that stands still for a moment is no outage; where one is to be noticed, tests wait less."""
    with mock.patch.object(access, "CALL_SECONDS", PATIENCE / 2):
        yield


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[RedisSessionStore]:
    store = RedisSessionStore(RedisAccess(url))
    try:
        yield store
    finally:
        await store.aclose()


def record(user: str = ANN, connection: str = "a", *, at: int = 1) -> SessionRecord:
    return SessionRecord(UserId(user), ConnectionId(connection), GatewayId("gw"), None, None, connected_at=at)


async def refused(store: RedisSessionStore) -> str:
    """What the calls that change something say, each of which must fail."""
    said = set()
    with anyio.fail_after(PATIENCE):
        for call in (store.add, store.refresh, store.remove):
            with pytest.raises(ServiceUnavailableError) as caught:
                await call([record()])
            said.add(str(caught.value))
    return "; ".join(sorted(said))


async def soon(call: Callable[[], Awaitable[object]]) -> None:
    """Make a call until it succeeds."""
    with anyio.fail_after(PATIENCE):
        while True:
            try:
                await call()
            except ServiceUnavailableError:
                await anyio.sleep(0.01)
            else:
                return


async def test_nobody_listens() -> None:
    port = free_port()
    async with opened(f"redis://user:secret-word@127.0.0.1:{port}/3") as store:
        message = await refused(store)
        assert message.startswith(f"redis.url (redis://127.0.0.1:{port}): ConnectionError: ")
        assert "Connect call failed" in message
        assert "secret-word" not in message
        with pytest.raises(ServiceUnavailableError):
            await store.lookup(ANN)
        for call in (store.add, store.refresh, store.remove):
            await call([])  # nobody is asked


async def test_no_such_host() -> None:
    async with opened("redis://no-such-host.invalid:6379") as store:
        assert "redis.url (redis://no-such-host.invalid:6379): " in await refused(store)


async def test_a_frozen_server_is_noticed_and_used_again_when_it_thaws(server: RedisServer) -> None:
    async with opened(server.url) as before, opened(server.url) as later:
        await before.add([record()])
        server.pause()
        with mock.patch.object(access, "CALL_SECONDS", 0.3):
            # One with connections, and one that has none yet: the kernel accepts for the frozen process.
            assert "no answer within" in await refused(before)
            assert "no answer within" in await refused(later)
        server.resume()
        for store in (before, later):
            await store.refresh([record()])
            assert len(await store.lookup(ANN)) == 1


async def test_a_call_that_was_given_up_answers_no_other(server: RedisServer) -> None:
    async with opened(server.url) as store:
        users = [UserId(f"u{number}") for number in range(20)]
        await store.add([record(user) for user in users])
        for _ in range(3):
            server.pause()
            async with anyio.create_task_group() as tasks:
                for user in users:
                    tasks.start_soon(store.lookup, user)
                await anyio.sleep(0.05)
                tasks.cancel_scope.cancel()
            server.resume()
            with anyio.fail_after(PATIENCE):
                for user in users:
                    assert [each.user_id for each in await store.lookup(user)] == [user]


async def test_connections_are_bounded_and_end_with_the_store(server: RedisServer) -> None:
    async with Redis.from_url(server.url) as admin, opened(server.url) as store:
        async with anyio.create_task_group() as tasks:
            for _ in range(20 * MAX_CONNECTIONS):
                tasks.start_soon(store.lookup, ANN)
        others = len(await admin.client_list()) - 1
        assert 1 < others <= MAX_CONNECTIONS
        await store.aclose()
        await store.aclose()
        with anyio.fail_after(PATIENCE):
            while len(await admin.client_list()) > 1:
                await anyio.sleep(0.01)


async def test_connections_that_the_server_has_closed_are_opened_anew(server: RedisServer) -> None:
    async with Redis.from_url(server.url) as admin, opened(server.url) as store:
        await store.add([record()])
        await admin.client_kill_filter(_type="normal", skipme=True)
        await soon(partial(store.lookup, ANN))
        assert len(await store.lookup(ANN)) == 1


async def test_scripts_that_the_server_has_forgotten_are_sent_again_in_order(server: RedisServer) -> None:
    async with Redis.from_url(server.url) as admin, opened(server.url) as store:
        for round_number in range(3):
            await admin.script_flush()
            # The last one counts, however many of them were sent twice.
            await store.add([record(at=at) for at in range(round_number, 50)])
            assert [each.connected_at for each in await store.lookup(ANN)] == [49]
        server.kill()
        server.start()
        await soon(partial(store.add, [record()]))
        assert len(await store.lookup(ANN)) == 1


@pytest.mark.parametrize(
    ("credentials", "why"),
    [("", "Authentication required"), (":guess-word@", "invalid username-password pair")],
)
async def test_a_server_that_does_not_know_us(credentials: str, why: str) -> None:
    with RedisServer("--requirepass", PASSWORD) as server:
        async with opened(f"redis://{credentials}{server.address}/0") as store:
            message = await refused(store)
            assert message.startswith(f"redis.url (redis://{server.address}): AuthenticationError: ")
            assert why in message
            assert "guess-word" not in message
            with pytest.raises(ServiceUnavailableError, match=why):
                await store.lookup(ANN)
        async with opened(f"redis://:{quote(PASSWORD, safe='')}@{server.address}/0") as store:
            await store.add([record()])
            assert len(await store.lookup(ANN)) == 1
            server.kill()
            assert PASSWORD not in await refused(store)
            assert PASSWORD not in repr(store)


async def test_a_user_who_may_do_other_things(server: RedisServer) -> None:
    async with Redis.from_url(server.url) as admin:
        await admin.acl_setuser("gateway", enabled=True, passwords=["+pass-word"], keys=["other:*"], commands=["+@all"])
        async with opened(f"redis://gateway:pass-word@{server.address}/0") as store:
            message = await refused(store)
            assert message.startswith(f"redis.url (redis://{server.address}): NoPermissionError: ")
        await admin.acl_setuser("gateway", keys=["user_session:*"], commands=["+@all"], enabled=True, nopass=True)
        async with opened(f"redis://gateway:pass-word@{server.address}/0") as store:
            await store.add([record()])


async def test_a_replica_takes_no_changes(server: RedisServer) -> None:
    with RedisServer("--replicaof", f"127.0.0.1 {server.port}") as replica:
        async with opened(replica.url) as store:
            message = await refused(store)
            assert message.startswith(f"redis.url (redis://{replica.address}): ReadOnlyError: ")
            assert "read only replica" in message
            with pytest.raises(ServiceUnavailableError, match="read only replica"):
                await probe(replica.url)
        await probe(server.url)


async def test_a_server_without_memory_left_can_still_be_cleared(server: RedisServer) -> None:
    async with Redis.from_url(server.url) as admin, opened(server.url) as store:
        await store.add([record(), record("ben"), record("ben", "b", at=2)])
        await admin.config_set("maxmemory", "1")
        for call in (store.add, store.refresh):
            with pytest.raises(ServiceUnavailableError, match=r"OutOfMemoryError: .*maxmemory"):
                await call([record()])
        # Also where another entry is left.
        await store.remove([record(), record("ben")])
        await admin.config_set("maxmemory", "0")
        assert await store.lookup(ANN) == []
        assert [each.connection_id for each in await store.lookup(UserId("ben"))] == ["b"]
        await store.add([record()])


@asynccontextmanager
async def answering(answer: bytes) -> AsyncIterator[str]:
    """A server that says the same to everything, and its URL."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while asked := await reader.read(65536):
                writer.write(answer * len(re.findall(rb"(?:^|\r\n)\*\d+\r\n", asked)))
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    port = free_port()
    async with await asyncio.start_server(serve, "127.0.0.1", port):
        yield f"redis://127.0.0.1:{port}/0"


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"-LOADING Redis is loading the dataset in memory\r\n", "BusyLoadingError: .*loading"),
        (b"-TRYAGAIN Multiple keys request during rehashing of slot\r\n", "Multiple keys request"),
        (b"-CLUSTERDOWN The cluster is down\r\n", "The cluster is down"),
        (b"-MOVED 3999 127.0.0.1:6381\r\n", "redis\\+cluster://"),
        (b"-MASTERDOWN Link with MASTER is down\r\n", "Link with MASTER is down"),
        (b"-MISCONF Errors writing to disk\r\n", "Errors writing to disk"),
        (b"-BUSY Redis is busy running a script\r\n", "busy running a script"),
        (b"-ERR max number of clients reached\r\n", "max number of clients"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "HTTP"),
        (b"", "no answer within"),
    ],
)
async def test_whatever_a_server_says_is_told_and_survived(answer: bytes, why: str) -> None:
    patience = access.CALL_SECONDS if answer else 0.3
    async with answering(answer) as url, opened(url) as store:
        with mock.patch.object(access, "CALL_SECONDS", patience):
            with anyio.fail_after(PATIENCE), pytest.raises(ServiceUnavailableError, match=rf"redis\.url .*: .*{why}"):
                await store.add([record()])
            with anyio.fail_after(PATIENCE), pytest.raises(ServiceUnavailableError, match=r"redis\.url"):
                await store.lookup(ANN)


async def test_tls(tmp_path: Path) -> None:
    ours, theirs = Authority(tmp_path, "ours"), Authority(tmp_path, "theirs")
    certificate, key = ours.issue("redis")
    tls_port = free_port()
    files = ("--tls-cert-file", certificate, "--tls-key-file", key, "--tls-ca-cert-file", ours.file)
    with RedisServer("--tls-port", str(tls_port), *files, "--tls-auth-clients", "optional") as server:
        tls = f"rediss://127.0.0.1:{tls_port}/0"
        async with opened(f"{tls}?ssl_ca_certs={ours.file}") as store:
            await store.add([record()])
            assert len(await store.lookup(ANN)) == 1
        for url in (tls, f"{tls}?ssl_ca_certs={theirs.file}"):
            async with opened(url) as store:
                assert "certificate verify failed" in await refused(store)
        async with opened(f"{tls}?ssl_ca_certs={tmp_path}/nowhere.pem") as store:
            assert "No such file" in await refused(store)
        with mock.patch.object(access, "CALL_SECONDS", 0.3):
            for url in (f"redis://127.0.0.1:{tls_port}/0", f"rediss://{server.address}/0"):
                async with opened(url) as store:
                    said = await refused(store)
                    assert f"redis.url ({url.removesuffix('/0')}): " in said
                    assert ("a server without TLS is written redis://" in said) == url.startswith("rediss:")
