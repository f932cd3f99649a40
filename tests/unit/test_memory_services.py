"""What the memory registry is beyond the ports: nothing stays behind."""

import anyio
import pytest

from imgateway.adapters.memory import MemoryServiceRegistry
from imgateway.model import GatewayId, ServiceInstance

INSTANCE = ServiceInstance("im-logic", "a", "10.0.0.1", 1)


@pytest.mark.anyio
async def test_nothing_stays_once_everything_is_closed() -> None:
    registry = MemoryServiceRegistry()
    registrar, resolver, ownership = registry.registrar(), registry.resolver(), registry.ownership()
    end = resolver.watch("im-logic", lambda instances: None)
    await registrar.register(INSTANCE)
    await ownership.acquire(GatewayId("gw"))
    end()
    resolver.watch("im-logic", lambda instances: None)
    await resolver.aclose()
    await registrar.aclose()
    await ownership.release()
    assert not registry._services
    assert not registry._watchers
    assert not registry._owners


@pytest.mark.anyio
async def test_parting_works_under_cancellation() -> None:
    registry = MemoryServiceRegistry()
    registrar, ownership = registry.registrar(), registry.ownership()
    await registrar.register(INSTANCE)
    await ownership.acquire(GatewayId("gw"))
    with anyio.CancelScope() as scope:
        scope.cancel()
        await registrar.aclose()
        await ownership.release()
    assert await registry.resolver().resolve("im-logic") == []
    await registry.ownership().acquire(GatewayId("gw"))


@pytest.mark.anyio
async def test_losing_and_revoking_what_is_not_there_does_nothing() -> None:
    registry = MemoryServiceRegistry()
    registry.lose("im-logic", "a")
    registry.revoke(GatewayId("gw"))
    assert await registry.resolver().resolve("im-logic") == []


@pytest.mark.anyio
async def test_whoever_waits_gets_the_id_when_it_is_revoked() -> None:
    registry = MemoryServiceRegistry()
    one, other = registry.ownership(), registry.ownership()
    await one.acquire(GatewayId("gw"))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(other.acquire, GatewayId("gw"))
        await anyio.wait_all_tasks_blocked()
        registry.revoke(GatewayId("gw"))
    assert (one.held, other.held) == (False, True)
