"""Ownership of gateway ids while etcd, the owner, or somebody with access to etcd does harm."""

import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from uuid import uuid4

import anyio
import attrs
import pytest
from servers import EtcdServer
from tests.integration.etcd_gate import Admin, Gate, admin_of

from imgateway.adapters.etcd import EtcdAccess, EtcdOwnership
from imgateway.adapters.etcd.lease import Lease
from imgateway.adapters.etcd.transport import EtcdTransport
from imgateway.core.retrying import until_available
from imgateway.errors import LifecycleError, ServiceUnavailableError
from imgateway.model import GatewayId

pytestmark = pytest.mark.anyio

OWNER = Path(__file__).with_name("etcd_owner.py")
PATIENCE = 30.0
LEASE = 3.0
STRANDED = 12.0
"""Long enough for a sign of life that gets no answer, and another one."""
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
        with anyio.fail_after(PATIENCE):
            while await admin.keys("/"):  # of killed processes, until their leases end
                await anyio.sleep(0.1)


@pytest.fixture
def gateway_id() -> GatewayId:
    return GatewayId(f"gw-{uuid4().hex[:8]}")


def key(gateway_id: GatewayId) -> str:
    return f"/imgateway/owners/{gateway_id}"


def access(server: EtcdServer) -> EtcdAccess:
    return EtcdAccess((server.url,))


async def lost(ownership: EtcdOwnership) -> None:
    with anyio.fail_after(PATIENCE):
        await ownership.wait_lost()
    assert ownership.held is False


async def acquire(ownership: EtcdOwnership, gateway_id: GatewayId) -> None:
    with anyio.fail_after(PATIENCE):
        await ownership.acquire(gateway_id)
    assert ownership.held is True


@asynccontextmanager
async def owner(server: EtcdServer, gateway_id: GatewayId, lease_seconds: float = LEASE) -> AsyncIterator["Owner"]:
    command = [sys.executable, str(OWNER), server.url, gateway_id, str(lease_seconds)]
    process = await anyio.open_process(command, stderr=subprocess.DEVNULL)
    try:
        yield Owner(process)
    finally:
        with suppress(ProcessLookupError):  # a test killed it
            process.kill()
        await process.aclose()


@attrs.define(eq=False)
class Owner:
    process: anyio.abc.Process
    _said: bytes = b""

    async def says(self) -> str:
        assert self.process.stdout is not None
        with anyio.fail_after(PATIENCE):
            while b"\n" not in self._said:
                self._said += await self.process.stdout.receive()
        line, _, self._said = self._said.partition(b"\n")
        return line.decode()

    async def go_on(self) -> None:
        assert self.process.stdin is not None
        await self.process.stdin.send(b"\n")


async def test_the_key_says_who_owns_it(running: EtcdServer, admin: Admin, gateway_id: GatewayId) -> None:
    async with EtcdOwnership.open(access(running)) as ownership:
        await acquire(ownership, gateway_id)
        entry = await admin.entry(key(gateway_id))
        assert entry is not None
        assert b'"pid"' in entry.value
        assert entry.lease in await admin.leases()
    assert entry.lease not in await admin.leases()


async def test_one_id_at_a_time(running: EtcdServer, admin: Admin, gateway_id: GatewayId) -> None:
    async with EtcdOwnership.open(access(running)) as ownership:
        await acquire(ownership, gateway_id)
        await acquire(ownership, gateway_id)
        with pytest.raises(LifecycleError):
            await ownership.acquire(GatewayId("another"))
        assert ownership.held


async def test_it_is_kept_beyond_its_lease(running: EtcdServer, admin: Admin, gateway_id: GatewayId) -> None:
    async with EtcdOwnership.open(access(running), lease_seconds=KEPT) as ownership:
        await acquire(ownership, gateway_id)
        with anyio.move_on_after(KEPT + 1):
            await ownership.wait_lost()
        assert ownership.held


async def _revoke(admin: Admin, name: str) -> None:
    await admin.revoke_of(name)


async def _delete(admin: Admin, name: str) -> None:
    await admin.delete(name)


async def _overwrite(admin: Admin, name: str) -> None:
    await admin.put(name, "mine", await admin.grant())


@pytest.mark.parametrize("harm", [_revoke, _delete, _overwrite])
async def test_harm_done_by_others_is_noticed(
    running: EtcdServer, admin: Admin, gateway_id: GatewayId, harm: Callable[[Admin, str], Awaitable[None]]
) -> None:
    # With such a lease the next regular look at the key is farther away than this test is patient.
    async with EtcdOwnership.open(access(running), lease_seconds=4 * PATIENCE) as ownership:
        await acquire(ownership, gateway_id)
        await harm(admin, key(gateway_id))
        await lost(ownership)
        theirs = await admin.entry(key(gateway_id))
        await ownership.release()
        assert await admin.entry(key(gateway_id)) == theirs
        await admin.revoke_of(key(gateway_id))
        await acquire(ownership, gateway_id)


async def test_a_watch_that_broke_is_opened_again(running: EtcdServer, admin: Admin, gateway_id: GatewayId) -> None:
    long = 4 * PATIENCE
    async with Gate(running.port) as gate, EtcdOwnership.open(EtcdAccess((gate.url,)), lease_seconds=long) as ownership:
        await acquire(ownership, gateway_id)
        await gate.shut()
        await admin.put("/something-else", "")
        await admin.delete("/something-else")
        await admin.compact()
        await gate.open()
        await admin.delete(key(gateway_id))
        await lost(ownership)


async def test_the_next_one_gets_it_when_a_killed_owners_lease_ends(
    running: EtcdServer, admin: Admin, gateway_id: GatewayId
) -> None:
    async with owner(running, gateway_id) as first, EtcdOwnership.open(access(running)) as second:
        assert await first.says() == "acquired True"
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(acquire, second, gateway_id)
            first.process.send_signal(signal.SIGKILL)


async def test_a_stopped_owner_finds_itself_without_ownership(
    running: EtcdServer, admin: Admin, gateway_id: GatewayId
) -> None:
    async with owner(running, gateway_id) as first, EtcdOwnership.open(access(running)) as second:
        assert await first.says() == "acquired True"
        first.process.send_signal(signal.SIGSTOP)
        await acquire(second, gateway_id)
        theirs = await admin.entry(key(gateway_id))
        first.process.send_signal(signal.SIGCONT)
        assert [await first.says() for _ in range(3)] == ["resumed False", "lost False", "released False"]
        await first.go_on()
        assert await first.says() == "acquiring"
        assert await admin.entry(key(gateway_id)) == theirs
        assert second.held
        await second.release()
        assert await first.says() == "acquired True"


async def test_a_short_stop_of_the_owner_is_survived(running: EtcdServer, admin: Admin, gateway_id: GatewayId) -> None:
    async with owner(running, gateway_id, KEPT) as first:
        assert await first.says() == "acquired True"
        first.process.send_signal(signal.SIGSTOP)
        first.process.send_signal(signal.SIGCONT)
        assert await first.says() == "resumed True"
        # Anything it said next would be of a loss.
        with anyio.move_on_after(KEPT + 1):
            raise AssertionError(await first.says())


async def test_an_unreachable_etcd_ends_it_by_our_own_clock(
    running: EtcdServer, admin: Admin, gateway_id: GatewayId
) -> None:
    async with (
        Gate(running.port) as gate,
        EtcdOwnership.open(EtcdAccess((gate.url,)), lease_seconds=LEASE) as ownership,
    ):
        await acquire(ownership, gateway_id)
        await gate.shut()
        await lost(ownership)
        # By etcd's clock the key may be there still: it is ours to take out, or waits for its lease to end.
        await gate.open()
        await acquire(ownership, gateway_id)


async def test_a_claim_that_was_cut_off_leaves_nothing(
    running: EtcdServer, admin: Admin, gateway_id: GatewayId
) -> None:
    async with Gate(running.port) as gate, EtcdOwnership.open(EtcdAccess((gate.url,)), lease_seconds=2) as ownership:
        await gate.shut()
        with pytest.raises(ServiceUnavailableError, match=r"etcd\.endpoints"):
            await ownership.acquire(gateway_id)
        await gate.open()
        await acquire(ownership, gateway_id)
        await gate.shut()
        # Neither raises nor hangs; the lease ends by itself.
        with anyio.fail_after(PATIENCE):
            await ownership.release()
        assert ownership.held is False
        await gate.open()
        await acquire(ownership, gateway_id)


@pytest.mark.parametrize("answers", range(6))
async def test_a_lost_answer_is_no_lost_claim(
    running: EtcdServer, admin: Admin, gateway_id: GatewayId, answers: int
) -> None:
    before = await admin.leases()
    async with Gate(running.port) as gate, EtcdOwnership.open(EtcdAccess((gate.url,))) as ownership:
        gate.answers_until_loss = answers
        await acquire(ownership, gateway_id)
        entry = await admin.entry(key(gateway_id))
        assert entry is not None
        assert await admin.leases() == before | {entry.lease}


async def test_a_claim_that_took_too_long_is_made_again(
    running: EtcdServer, admin: Admin, gateway_id: GatewayId
) -> None:
    async with Gate(running.port) as gate, EtcdOwnership.open(EtcdAccess((gate.url,)), lease_seconds=2) as ownership:
        gate.delays = [0, 0, 1.85]  # that nobody has it; the lease; the key
        await acquire(ownership, gateway_id)


async def test_a_cancelled_claim_leaves_nothing(running: EtcdServer, admin: Admin, gateway_id: GatewayId) -> None:
    before = await admin.leases()
    async with EtcdOwnership.open(access(running)) as ownership:
        for milliseconds in range(15):
            with anyio.move_on_after(milliseconds / 1000):
                await ownership.acquire(gateway_id)
            await ownership.release()
            assert await admin.leases() == before
            assert await admin.keys("/") == []


async def test_a_connection_that_died_without_a_sign_is_given_up(
    running: EtcdServer, admin: Admin, gateway_id: GatewayId, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imgateway.adapters.etcd.ownership.LOOK_SECONDS", 0.5)
    async with (
        Gate(running.port) as gate,
        EtcdOwnership.open(EtcdAccess((gate.url,)), lease_seconds=STRANDED) as first,
        EtcdOwnership.open(EtcdAccess((gate.url,)), lease_seconds=STRANDED) as second,
    ):
        await acquire(first, gateway_id)
        async with anyio.create_task_group() as tasks:
            # Refused if what it just asks is stranded as well.
            tasks.start_soon(until_available, "ownership", partial(acquire, second, gateway_id))
            await anyio.sleep(STRANDED / 2)  # by then the lease was kept alive on a connection of its own
            gate.strand()
            with anyio.move_on_after(STRANDED):
                await first.wait_lost()
            assert first.held
            # Neither the owner nor the one who waits hears of it by its watch.
            gate.strand()
            await admin.delete(key(gateway_id))
            await lost(first)


def lease_clock() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


async def test_a_late_sign_of_life_brings_no_certainty_back(
    running: EtcdServer, admin: Admin, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with EtcdTransport(access(running)) as transport:
        lease = Lease(transport, 60)
        before = lease_clock()
        await lease.grant()
        certain = lease.certain_seconds
        assert 54 + before - lease_clock() <= certain <= 54
        assert await lease.keep_alive()
        # As if the process had been stopped: no task has run.
        clock = SimpleNamespace(clock_gettime=lambda _: lease_clock() + 54)
        monkeypatch.setattr("imgateway.adapters.etcd.lease.time", clock)
        assert lease.certain_seconds <= 0
        assert await lease.keep_alive()
        assert lease.certain_seconds <= 0
        await lease.revoke()


async def test_a_frozen_etcd(gateway_id: GatewayId) -> None:
    with EtcdServer() as server:
        async with EtcdOwnership.open(access(server), lease_seconds=KEPT) as ownership:
            await acquire(ownership, gateway_id)
            server.pause()
            await anyio.sleep(1)
            server.resume()
            with anyio.move_on_after(KEPT):
                await ownership.wait_lost()
            assert ownership.held
            server.pause()
            await lost(ownership)
            with pytest.raises(ServiceUnavailableError):
                await ownership.acquire(gateway_id)
            server.resume()
            await acquire(ownership, gateway_id)


@pytest.mark.parametrize("keeps_data", [True, False])
async def test_a_restarted_etcd(gateway_id: GatewayId, keeps_data: bool) -> None:
    with EtcdServer() as server:
        async with EtcdOwnership.open(access(server)) as ownership, EtcdOwnership.open(access(server)) as other:
            await acquire(ownership, gateway_id)
            server.kill()
            if not keeps_data:
                shutil.rmtree(server.folder / "data")
            await anyio.to_thread.run_sync(server.start)
            if keeps_data:
                with anyio.move_on_after(5):
                    await ownership.wait_lost()
                assert ownership.held
            else:
                await lost(ownership)
                await acquire(other, gateway_id)
