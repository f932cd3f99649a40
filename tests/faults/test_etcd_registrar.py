"""Registrations in etcd come back after any loss, and harm nobody else's."""

import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from uuid import uuid4

import anyio
import attrs
import pytest
from servers import EtcdServer
from tests.integration.etcd_gate import Admin, Gate, admin_of

from imgateway.adapters.etcd import EtcdAccess, EtcdRegistrar, EtcdResolver
from imgateway.adapters.etcd.keyspace import Entry
from imgateway.errors import LifecycleError, ServiceUnavailableError
from imgateway.model import ServiceInstance

pytestmark = pytest.mark.anyio

PATIENCE = 30.0
LEASE = 3.0
KEPT = 8.0
"""Of what must not lapse: so long that it is kept even where everything stands still for three seconds."""


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
        assert await admin.keys("/") == []


@pytest.fixture
def instance() -> ServiceInstance:
    return ServiceInstance("im-gateway", f"gw-{uuid4().hex[:8]}", "10.0.0.1", 8080, {"zone": "东"})


def key(instance: ServiceInstance) -> str:
    return f"/services/{instance.name}/{instance.id}"


def access(server: EtcdServer) -> EtcdAccess:
    return EtcdAccess((server.url,))


async def eventually(condition: Callable[[], Awaitable[bool]]) -> None:
    with anyio.fail_after(PATIENCE):
        while not await condition():
            await anyio.sleep(0.05)


async def restored(admin: Admin, instance: ServiceInstance, value: bytes, *, besides: Entry | None = None) -> Entry:
    """The key, once it is there as it was registered, bound to a lease, and not as it was `besides`.

    An etcd that was away may still drop it afterwards, when it finds that the lease has ended.
    """
    with anyio.fail_after(PATIENCE):
        while True:
            entry = await admin.entry(key(instance))
            if entry is not None and entry != besides and entry.value == value and entry.lease != 0:
                return entry
            await anyio.sleep(0.05)


async def registered(admin: Admin, instance: ServiceInstance) -> Entry:
    entry = await admin.entry(key(instance))
    assert entry is not None
    return entry


async def test_the_key_and_its_value_are_as_others_expect(
    running: EtcdServer, admin: Admin, instance: ServiceInstance
) -> None:
    async with EtcdRegistrar.open(access(running), lease_seconds=LEASE) as registrar:
        await registrar.register(instance)
        entry = await registered(admin, instance)
        assert entry.value.decode() == (
            f'{{"id":"{instance.id}","name":"im-gateway","address":"10.0.0.1","port":8080,"metadata":{{"zone":"东"}}}}'
        )
        await registrar.register(attrs.evolve(instance, metadata={}))
        assert b"metadata" not in (await registered(admin, instance)).value
        assert entry.lease in await admin.leases()
    assert entry.lease not in await admin.leases()


async def test_it_is_kept_beyond_its_lease(running: EtcdServer, admin: Admin, instance: ServiceInstance) -> None:
    async with EtcdRegistrar.open(access(running), lease_seconds=KEPT) as registrar:
        await registrar.register(instance)
        before = await registered(admin, instance)
        await anyio.sleep(KEPT + 1)
        assert await admin.entry(key(instance)) == before


async def _revoke(admin: Admin, name: str) -> None:
    await admin.revoke_of(name)


async def _delete(admin: Admin, name: str) -> None:
    await admin.delete(name)


async def _overwrite(admin: Admin, name: str) -> None:
    await admin.put(name, "garbage")


@pytest.mark.parametrize("harm", [_revoke, _delete, _overwrite])
async def test_harm_done_by_others_is_healed(
    running: EtcdServer, admin: Admin, instance: ServiceInstance, harm: Callable[[Admin, str], Awaitable[None]]
) -> None:
    async with EtcdRegistrar.open(access(running)) as registrar:
        await registrar.register(instance)
        before = await registered(admin, instance)
        for _ in range(2):
            await harm(admin, key(instance))
            before = await restored(admin, instance, before.value, besides=before)


async def test_a_newer_process_with_the_same_id_is_left_alone(
    running: EtcdServer, admin: Admin, instance: ServiceInstance
) -> None:
    newer = attrs.evolve(instance, port=9)
    async with EtcdRegistrar.open(access(running)) as registrar, EtcdRegistrar.open(access(running)) as other:
        await registrar.register(instance)
        ours = await registered(admin, instance)
        await other.register(newer)
        theirs = await registered(admin, instance)
        await anyio.sleep(2.5)
        assert await registered(admin, instance) == theirs
        # When the newer one goes, the id has a living instance still.
        await other.deregister(newer)
        await restored(admin, instance, ours.value)


async def test_etcd_down_at_the_start(instance: ServiceInstance) -> None:
    server = EtcdServer()
    async with EtcdRegistrar.open(access(server)) as registrar, EtcdResolver.open(access(server)) as resolver:
        for attempt in (registrar.register(instance), resolver.resolve(instance.name)):
            with pytest.raises(ServiceUnavailableError, match=rf"etcd\.endpoints: {server.url}: "):
                await attempt
        await registrar.deregister(instance)
        with server:
            await registrar.register(instance)
            await eventually(lambda: _is_known(resolver, instance))
            await registrar.aclose()


async def _is_known(resolver: EtcdResolver, instance: ServiceInstance) -> bool:
    return [*await resolver.resolve(instance.name)] == [instance]


@pytest.mark.parametrize("keeps_data", [True, False])
async def test_a_restarted_etcd(instance: ServiceInstance, keeps_data: bool) -> None:
    with EtcdServer() as server:
        async with EtcdRegistrar.open(access(server), lease_seconds=KEPT) as registrar, admin_of(server.url) as admin:
            await registrar.register(instance)
            before = await registered(admin, instance)
            server.kill()
            if not keeps_data:
                shutil.rmtree(server.folder / "data")
            await anyio.to_thread.run_sync(server.start)
            after = await restored(admin, instance, before.value, besides=None if keeps_data else before)
            await anyio.sleep(KEPT + 1)
            assert (await registered(admin, instance)).lease == after.lease


@pytest.mark.parametrize("seconds", [LEASE / 3, LEASE * 2])
async def test_a_frozen_etcd(instance: ServiceInstance, seconds: float) -> None:
    with EtcdServer() as server:
        async with EtcdRegistrar.open(access(server), lease_seconds=LEASE) as registrar, admin_of(server.url) as admin:
            await registrar.register(instance)
            before = await registered(admin, instance)
            server.pause()
            await anyio.sleep(seconds)
            server.resume()
            await restored(admin, instance, before.value)
            await anyio.sleep(LEASE + 1)
            await restored(admin, instance, before.value)


async def test_a_frozen_etcd_keeps_nobody_waiting_for_ever(instance: ServiceInstance) -> None:
    with EtcdServer() as server:
        async with EtcdRegistrar.open(access(server), lease_seconds=2) as registrar:
            await registrar.register(instance)
            server.pause()
            with anyio.fail_after(PATIENCE):
                with pytest.raises(ServiceUnavailableError, match="no answer in time"):
                    await registrar.register(attrs.evolve(instance, id="another"))
                await registrar.deregister(instance)
                await registrar.aclose()
        server.resume()
        async with admin_of(server.url) as admin:
            await eventually(lambda: _has_no_leases(admin))
            assert await admin.keys("/") == []


async def _has_no_leases(admin: Admin) -> bool:
    return await admin.leases() == set()


async def test_a_cancelled_registration_leaves_nothing(
    running: EtcdServer, admin: Admin, instance: ServiceInstance
) -> None:
    before = await admin.leases()
    async with Gate(running.port) as gate, EtcdRegistrar.open(EtcdAccess((gate.url,))) as registrar:
        for turns in range(12):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(registrar.register, instance)
                for _ in range(turns):
                    await anyio.sleep(0.001)
                tasks.cancel_scope.cancel()
        await registrar.deregister(instance)
        assert await admin.leases() == before
        assert await admin.keys("/") == []


@pytest.mark.parametrize("answers", range(3))
async def test_a_lost_answer_is_no_lost_registration(
    running: EtcdServer, admin: Admin, instance: ServiceInstance, answers: int
) -> None:
    before = await admin.leases()
    async with Gate(running.port) as gate, EtcdRegistrar.open(EtcdAccess((gate.url,))) as registrar:
        gate.answers_until_loss = answers
        await registrar.register(instance)
        assert await admin.leases() == before | {(await registered(admin, instance)).lease}


async def test_a_closed_registrar_registers_nothing(
    running: EtcdServer, admin: Admin, instance: ServiceInstance
) -> None:
    async with EtcdRegistrar.open(access(running)) as registrar:
        await registrar.register(instance)
        await registrar.aclose()
        assert await admin.keys("/") == []
        with pytest.raises(LifecycleError):
            await registrar.register(instance)
        await registrar.deregister(instance)


HOSTILE = [
    "..", "../im-gateway/gw", ".", "/", "//", "a/b", "a%2Fb", "a%252Fb", "%", "*", "a*", "\n", "a\nb", "a\rb", "\0",
    "a b", "东", "\U0001f600", "\u202e", "x" * 200, '{"id": 1}', "gw:1", "a" + "%2f" * 50,
]  # fmt: skip


async def test_hostile_ids_and_names_stay_in_their_places(running: EtcdServer, admin: Admin) -> None:
    service = f"im-{uuid4().hex[:8]}"
    by_id = [ServiceInstance(service, text, "10.0.0.1", 1) for text in HOSTILE]
    by_name = [ServiceInstance(f"{service}{text}", "gw", "10.0.0.1", 1) for text in HOSTILE]
    async with EtcdRegistrar.open(access(running)) as registrar, EtcdResolver.open(access(running)) as resolver:
        for instance in (*by_id, *by_name):
            await registrar.register(instance)
        keys = await admin.keys("/")
        assert len(keys) == 2 * len(HOSTILE)
        assert all(name.startswith(f"/services/{service}") and name.count("/") == 3 for name in keys)
        assert [*await resolver.resolve(service)] == sorted(by_id, key=lambda instance: instance.id)
        for instance in by_name:
            assert [*await resolver.resolve(instance.name)] == [instance]
        assert resolver.ignored == 0
        await registrar.deregister(by_id[HOSTILE.index("a/b")])
        assert len(await admin.keys("/")) == 2 * len(HOSTILE) - 1


async def test_the_prefix_is_a_setting(running: EtcdServer, admin: Admin, instance: ServiceInstance) -> None:
    async with (
        EtcdRegistrar.open(access(running), prefix="/staging/services") as registrar,
        EtcdResolver.open(access(running), prefix="/staging/services/") as resolver,
    ):
        await registrar.register(instance)
        assert await admin.keys("/") == [f"/staging/services/im-gateway/{instance.id}"]
        assert [*await resolver.resolve(instance.name)] == [instance]
