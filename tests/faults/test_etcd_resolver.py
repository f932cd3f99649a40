"""The resolver keeps the last good answer, catches up with whatever it missed, and ignores what is no instance."""

import json
import logging
import shutil
from collections.abc import AsyncIterator, Iterator, Sequence
from itertools import pairwise
from uuid import uuid4

import anyio
import pytest
from servers import EtcdServer
from tests.integration.etcd_gate import Admin, Gate, admin_of

from imgateway.adapters.etcd import EtcdAccess, EtcdResolver
from imgateway.adapters.etcd.keyspace import EtcdKeyspace
from imgateway.adapters.etcd.transport import EtcdTransport
from imgateway.errors import LifecycleError, ServiceUnavailableError
from imgateway.model import ServiceInstance

pytestmark = pytest.mark.anyio

PATIENCE = 30.0


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def running() -> Iterator[EtcdServer]:
    with EtcdServer() as server:
        yield server


@pytest.fixture
async def admin(running: EtcdServer) -> AsyncIterator[Admin]:
    async with admin_of(running.url) as admin:
        yield admin


@pytest.fixture
def name() -> str:
    return f"im-logic-{uuid4().hex[:8]}"


def access(server: EtcdServer) -> EtcdAccess:
    return EtcdAccess((server.url,))


def value(name: str, instance_id: str = "a", **changes: object) -> str:
    return json.dumps({"id": instance_id, "name": name, "address": "10.0.0.1", "port": 8080} | changes)


async def known(resolver: EtcdResolver, name: str, *ids: str) -> None:
    with anyio.fail_after(PATIENCE):
        while [instance.id for instance in await resolver.resolve(name)] != [*ids]:
            await anyio.sleep(0.02)


@pytest.mark.parametrize("compacted", [False, True])
async def test_changes_missed_while_disconnected_are_caught_up(
    running: EtcdServer, admin: Admin, name: str, compacted: bool
) -> None:
    async with Gate(running.port) as gate, EtcdResolver.open(EtcdAccess((gate.url,))) as resolver:
        for instance_id in "abc":
            await admin.put(f"/services/{name}/{instance_id}", value(name, instance_id))
        await known(resolver, name, "a", "b", "c")
        await gate.shut()
        await admin.delete(f"/services/{name}/b")
        await admin.put(f"/services/{name}/d", value(name, "d"))
        if compacted:
            await admin.compact()
        assert [instance.id for instance in await resolver.resolve(name)] == ["a", "b", "c"]
        await gate.open()
        await known(resolver, name, "a", "c", "d")
        await admin.put(f"/services/{name}/e", value(name, "e"))
        await known(resolver, name, "a", "c", "d", "e")


async def test_a_connection_that_died_without_a_sign_is_given_up(
    running: EtcdServer, admin: Admin, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imgateway.adapters.etcd.resolver.LIST_SECONDS", 1.0)
    async with Gate(running.port) as gate, EtcdResolver.open(EtcdAccess((gate.url,))) as resolver:
        await known(resolver, name)
        gate.strand()
        await admin.put(f"/services/{name}/a", value(name))
        await known(resolver, name, "a")


async def test_an_answer_too_large_changes_nothing(
    running: EtcdServer, admin: Admin, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with EtcdResolver.open(access(running)) as resolver, EtcdResolver.open(access(running)) as another:
        await admin.put(f"/services/{name}/a", value(name))
        await known(resolver, name, "a")
        monkeypatch.setattr("imgateway.adapters.etcd.transport.MAX_ANSWER_BYTES", 100_000)
        await admin.put(f"/services/{name}/b", "x" * 500_000)
        with pytest.raises(ServiceUnavailableError, match="too large"):
            await another.resolve(name)
        assert [instance.id for instance in await resolver.resolve(name)] == ["a"]
        await admin.delete(f"/services/{name}/b")
        await admin.put(f"/services/{name}/c", value(name, "c"))
        await known(resolver, name, "a", "c")
        await known(another, name, "a", "c")


async def test_a_compaction_under_the_watch_loses_nothing(running: EtcdServer, admin: Admin, name: str) -> None:
    async with EtcdResolver.open(access(running)) as resolver:
        await known(resolver, name)
        for turn in range(3):
            await admin.put(f"/services/{name}/{turn}", value(name, str(turn)))
            await admin.compact()
            await known(resolver, name, *(str(each) for each in range(turn + 1)))


async def test_a_watch_on_what_was_compacted_ends(running: EtcdServer, admin: Admin, name: str) -> None:
    await admin.put(f"/services/{name}/a", value(name))
    await admin.delete(f"/services/{name}/a")
    await admin.compact()
    async with (
        EtcdTransport(access(running)) as transport,
        EtcdKeyspace(transport).watching(b"/services/", after=1, prefix=True) as watch,
    ):
        with anyio.fail_after(PATIENCE), pytest.raises(ServiceUnavailableError, match="compacted"):
            await watch.next()


async def test_whoever_asks_waits_for_no_pause(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for pause in ("FIRST_PAUSE_SECONDS", "LONGEST_PAUSE_SECONDS"):
        monkeypatch.setattr(f"imgateway.adapters.etcd.resolver.{pause}", 10 * PATIENCE)
    server = EtcdServer()
    with anyio.fail_after(PATIENCE):
        async with EtcdResolver.open(access(server)) as resolver:
            for _ in range(3):
                with pytest.raises(ServiceUnavailableError):
                    await resolver.resolve(name)
            with server:
                await known(resolver, name)


async def test_two_hundred_changes_in_a_row_are_all_seen(running: EtcdServer, admin: Admin, name: str) -> None:
    heard: list[list[str]] = []
    async with EtcdResolver.open(access(running)) as resolver:
        resolver.watch(name, lambda instances: heard.append([each.id for each in instances]))
        await known(resolver, name)
        ids = [f"{number:03d}" for number in range(200)]
        for instance_id in ids:
            await admin.put(f"/services/{name}/{instance_id}", value(name, instance_id))
        await known(resolver, name, *ids)
        assert heard[-1] == ids
        assert all(before == after[: len(before)] for before, after in pairwise(heard))


@pytest.mark.parametrize("keeps_data", [True, False])
async def test_a_restarted_etcd(name: str, keeps_data: bool) -> None:
    with EtcdServer() as server:
        async with EtcdResolver.open(access(server)) as resolver, admin_of(server.url) as admin:
            for instance_id in "abc":
                await admin.put(f"/services/{name}/{instance_id}", value(name, instance_id))
            await known(resolver, name, "a", "b", "c")
            server.kill()
            await known(resolver, name, "a", "b", "c")
            with pytest.raises(ServiceUnavailableError, match=r"etcd\.endpoints"):
                await resolver.resolve("never-asked-about")
            if not keeps_data:
                shutil.rmtree(server.folder / "data")
            await anyio.to_thread.run_sync(server.start)
            # Without its data the revisions begin anew, far below those that were seen.
            await admin.put(f"/services/{name}/d", value(name, "d"))
            await known(resolver, name, *("abcd" if keeps_data else "d"))
            await known(resolver, "never-asked-about")


async def test_a_frozen_etcd(name: str) -> None:
    with EtcdServer() as server:
        async with EtcdResolver.open(access(server)) as resolver, admin_of(server.url) as admin:
            await admin.put(f"/services/{name}/a", value(name))
            await known(resolver, name, "a")
            server.pause()
            await known(resolver, name, "a")
            with anyio.fail_after(PATIENCE), pytest.raises(ServiceUnavailableError, match="no answer in time"):
                await resolver.resolve("never-asked-about")
            server.resume()
            await admin.put(f"/services/{name}/b", value(name, "b"))
            await known(resolver, name, "a", "b")


async def test_many_ask_at_once(running: EtcdServer, admin: Admin, name: str) -> None:
    await admin.put(f"/services/{name}/a", value(name))
    answers = []

    async def ask() -> None:
        answers.append([instance.id for instance in await resolver.resolve(name)])

    async with EtcdResolver.open(access(running)) as resolver:
        async with anyio.create_task_group() as tasks:
            for _ in range(50):
                tasks.start_soon(ask)
        assert answers == [["a"]] * 50


async def test_closing_tells_whoever_waits(name: str) -> None:
    with EtcdServer() as server:
        server.pause()
        async with EtcdResolver.open(access(server)) as resolver, anyio.create_task_group() as tasks:

            async def ask() -> None:
                with pytest.raises(ServiceUnavailableError, match="closed"):
                    await resolver.resolve(name)

            tasks.start_soon(ask)
            await anyio.wait_all_tasks_blocked()
            await resolver.aclose()
        with pytest.raises(LifecycleError):
            await resolver.resolve(name)


FOREIGN: dict[str, str | bytes] = {
    "empty": "",
    "text": "10.0.0.1:8080",
    "bytes": b"\xff\xfe\0",
    "list": "[]",
    "null": "null",
    "number": "1",
    "nan": '{"id": NaN}',
    "long-number": '{"id": ' + "9" * 10_000 + "}",
    "deep": "[" * 100_000 + "]" * 100_000,
    "huge": value("{name}", "huge", padding="x" * 700_000),
    "object": "{}",
    "another-id": value("{name}", "a"),
    "another-name": value("im-push", "another-name"),
    "address-type": value("{name}", "address-type", address=1),
    "address-empty": value("{name}", "address-empty", address=""),
    "address-url": value("{name}", "address-url", address="http://10.0.0.1"),
    "address-lines": value("{name}", "address-lines", address="10.0.0.1\n10.0.0.2"),
    "address-bracket": value("{name}", "address-bracket", address="[::1"),
    "port-text": value("{name}", "port-text", port="8080"),
    "port-boolean": value("{name}", "port-boolean", port=True),
    "port-range": value("{name}", "port-range", port=65_536),
    "port-zero": value("{name}", "port-zero", port=0),
    "sub/a": value("{name}", "sub/a"),
    "sub/go": '{"Op":0,"Addr":"10.0.0.1:1"}',
    "%61": value("{name}", "a"),
    "go-deleted": '{"Op":1,"Addr":"10.0.0.1:1"}',
    "go-type": '{"Op":0,"Addr":1}',
    "go-port": '{"Op":0,"Addr":"10.0.0.1"}',
    "go-port-range": '{"Op":0,"Addr":"10.0.0.1:70000"}',
    "go-surrogate": r'{"Op":0,"Addr":"\ud800:1"}',
    "address-surrogate": value("{name}", "address-surrogate", address="\ud800"),
    "go-empty": '{"Op":0,"Addr":":1"}',
}


@pytest.mark.parametrize("while_watching", [False, True])
async def test_what_is_no_instance_is_ignored(
    running: EtcdServer, admin: Admin, name: str, while_watching: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "imgateway")
    async with EtcdResolver.open(access(running)) as resolver:
        heard: list[Sequence[ServiceInstance]] = []
        resolver.watch(name, heard.append)
        if while_watching:
            await known(resolver, name)
        for key, foreign in FOREIGN.items():
            text = foreign.replace("{name}", name) if isinstance(foreign, str) else foreign
            await admin.put(f"/services/{name}/{key}", text)
        await admin.put(f"/services/{name}/".encode() + b"\xff\n", value(name))
        await admin.put(f"/services/{name}", value(name))
        await admin.put(f"/services/{name}/good", value(name, "good"))
        await known(resolver, name, "good")
        assert resolver.ignored == len(FOREIGN) + 1
        told = [record for record in caplog.records if record.message == "a key of a service holds no instance"]
        assert len(told) == len(FOREIGN) + 1
        assert "xxxxx" not in str([vars(record) for record in caplog.records])
        # One that becomes an instance counts, and one that stops being one doesn't.
        await admin.put(f"/services/{name}/empty", value(name, "empty"))
        await known(resolver, name, "empty", "good")
        assert resolver.ignored == len(FOREIGN)
        await admin.put(f"/services/{name}/good", "garbage")
        await known(resolver, name, "empty")
        await admin.delete(f"/services/{name}/good")
        await admin.put(f"/services/{name}/last", value(name, "last"))
        await known(resolver, name, "empty", "last")
        assert resolver.ignored == len(FOREIGN)
        assert all(before != after for before, after in pairwise(heard))


async def test_gos_endpoints_manager_is_understood(running: EtcdServer, admin: Admin, name: str) -> None:
    await admin.put(f"/services/{name}/1", '{"Op":0,"Addr":"10.0.0.1:50051","Metadata":null}')
    await admin.put(f"/services/{name}/2", '{"Addr":"[2001:db8::1]:50052","Metadata":{"zone":"b"}}')
    await admin.put(f"/services/{name}/3", '{"Op":0,"Addr":"logic.internal:50053","Metadata":["anything"]}')
    async with EtcdResolver.open(access(running)) as resolver:
        assert [*await resolver.resolve(name)] == [
            ServiceInstance(name, "1", "10.0.0.1", 50051),
            ServiceInstance(name, "2", "2001:db8::1", 50052, {"zone": "b"}),
            ServiceInstance(name, "3", "logic.internal", 50053),
        ]


@pytest.mark.parametrize(
    ("metadata", "kept"),
    [(None, {}), ([], {}), ("text", {}), ({"weight": 1, "zone": "b", "tags": None}, {"zone": "b"})],
)
async def test_no_instance_is_refused_for_its_metadata(
    running: EtcdServer, admin: Admin, name: str, metadata: object, kept: dict[str, str]
) -> None:
    await admin.put(f"/services/{name}/a", value(name, "a", metadata=metadata))
    async with EtcdResolver.open(access(running)) as resolver:
        assert [instance.metadata for instance in await resolver.resolve(name)] == [kept]


async def test_an_ipv6_address_may_stand_in_brackets(running: EtcdServer, admin: Admin, name: str) -> None:
    await admin.put(f"/services/{name}/a", value(name, "a", address="[2001:db8::1]"))
    async with EtcdResolver.open(access(running)) as resolver:
        assert [instance.address for instance in await resolver.resolve(name)] == ["2001:db8::1"]
