"""What the memory session store is beyond the port: it forgets what nobody asks for."""

import pytest

from imgateway.adapters.memory import MemorySessionStore
from imgateway.model import ConnectionId, GatewayId, SessionRecord, UserId
from imgateway.testing import VirtualClock


def entry(number: int) -> SessionRecord:
    return SessionRecord(
        UserId(f"user-{number}"), ConnectionId(f"c-{number}"), GatewayId("gw"), None, None, connected_at=number
    )


@pytest.mark.anyio
async def test_users_who_never_come_back_leave_nothing() -> None:
    clock = VirtualClock()
    store = MemorySessionStore(60, clock)
    for number in range(100):
        await store.add([entry(number)])
        clock.advance(10)
    assert len(store._users) == len(store._deadlines) <= 6
    await store.remove([entry(number) for number in range(100)])
    assert not store._users
    assert not store._deadlines


@pytest.mark.anyio
async def test_a_jump_of_the_wall_clock_ends_nothing() -> None:
    clock = VirtualClock()
    store = MemorySessionStore(60, clock)
    await store.add([entry(1)])
    clock.wall += 86_400_000
    assert len(await store.lookup(UserId("user-1"))) == 1
