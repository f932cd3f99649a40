"""Session stores: the memory store holds to the contract, broken ones do not."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import anyio
import anyio.lowlevel
import attrs
import pytest

from imgateway.adapters.memory import MemorySessionStore
from imgateway.errors import ServiceUnavailableError
from imgateway.model import DevicePolicy, Displaced, SessionRecord, UserId
from imgateway.ports import Clock, SessionStore
from imgateway.testing import FaultySessionStore, SessionStoreSuite, VirtualClock, assert_caught


@pytest.mark.anyio
class TestMemorySessionStore(SessionStoreSuite):
    store: Callable[[float, Clock], SessionStore] = MemorySessionStore
    _clock: VirtualClock

    @asynccontextmanager
    async def make(self) -> AsyncIterator[tuple[SessionStore, SessionStore]]:
        self._clock = VirtualClock()
        store = self.store(self.ttl_seconds, self._clock)
        yield store, store

    async def pass_time(self, seconds: float, /) -> None:
        self._clock.advance(seconds)


def _faulty(ttl_seconds: float, clock: Clock) -> SessionStore:
    return FaultySessionStore(MemorySessionStore(ttl_seconds, clock))


class TestFaultySessionStoreWithoutFaults(TestMemorySessionStore):
    store = staticmethod(_faulty)


class RemovesTheUser(MemorySessionStore):
    async def remove(self, records: Sequence[SessionRecord], /) -> None:
        for record in records:
            await super().remove(await self.lookup(record.user_id))


class RemovesTheNewest(MemorySessionStore):
    async def remove(self, records: Sequence[SessionRecord], /) -> None:
        for record in records:
            await super().remove((await self.lookup(record.user_id))[:1])


class StopsAtTheMissing(MemorySessionStore):
    async def remove(self, records: Sequence[SessionRecord], /) -> None:
        for record in records:
            if record.connection_id not in [each.connection_id for each in await self.lookup(record.user_id)]:
                return
            await super().remove([record])


class NeverExpires(MemorySessionStore):
    def _expire(self) -> None:
        pass


class ExpiresWithTheUser(MemorySessionStore):
    """One lease for the whole user, as a plain Redis hash has."""

    async def refresh(self, records: Sequence[SessionRecord], /) -> Sequence[Displaced]:
        for record in records:
            await super().refresh(await self.lookup(record.user_id) or [record])
        return []


class RefreshDoesNothing(MemorySessionStore):
    async def refresh(self, records: Sequence[SessionRecord], /) -> Sequence[Displaced]:
        return []


class RefreshOnlyExtends(MemorySessionStore):
    async def refresh(self, records: Sequence[SessionRecord], /) -> Sequence[Displaced]:
        there = {each.connection_id for record in records for each in await self.lookup(record.user_id)}
        return await super().refresh([record for record in records if record.connection_id in there])


class WritesLater(MemorySessionStore):
    """What is added waits for the next change."""

    async def add(self, records: Sequence[SessionRecord], policy: DevicePolicy | None = None, /) -> Sequence[Displaced]:
        late = self.__dict__.get("late", [])
        self.__dict__["late"] = records
        return await super().add(late, policy)


class AddsOnlyOnce(MemorySessionStore):
    async def add(self, records: Sequence[SessionRecord], policy: DevicePolicy | None = None, /) -> Sequence[Displaced]:
        for record in records:
            if record.connection_id in [each.connection_id for each in await self.lookup(record.user_id)]:
                raise ServiceUnavailableError("it is there already")
            await super().add([record])
        return []

    async def refresh(self, records: Sequence[SessionRecord], /) -> Sequence[Displaced]:
        return await super().add(records)


class BelievesTheCallersClock(MemorySessionStore):
    async def lookup(self, user_id: UserId, /) -> Sequence[SessionRecord]:
        return [attrs.evolve(each, expires_at=each.connected_at + 60_000) for each in await super().lookup(user_id)]


class InOrderOfWriting(MemorySessionStore):
    async def lookup(self, user_id: UserId, /) -> Sequence[SessionRecord]:
        self._expire()
        return [*reversed(self._users.get(user_id, {}).values())]


class FirstOfAListCounts(MemorySessionStore):
    async def add(self, records: Sequence[SessionRecord], policy: DevicePolicy | None = None, /) -> Sequence[Displaced]:
        return await super().add(records[::-1], policy)


class ReadsThenWrites(MemorySessionStore):
    async def add(self, records: Sequence[SessionRecord], policy: DevicePolicy | None = None, /) -> Sequence[Displaced]:
        user_ids = {record.user_id for record in records}
        before = [each.connection_id for user_id in user_ids for each in await self.lookup(user_id)]
        await anyio.lowlevel.checkpoint()
        meanwhile = [each for user_id in user_ids for each in await self.lookup(user_id)]
        await super().remove([each for each in meanwhile if each.connection_id not in before])
        return await super().add(records, policy)


class TakesPatterns(MemorySessionStore):
    async def lookup(self, user_id: UserId, /) -> Sequence[SessionRecord]:
        found: list[SessionRecord] = []
        for each in list(self._users):
            if each.startswith(user_id.rstrip("*")) if user_id.endswith("*") else each == user_id:
                found += await super().lookup(each)
        return found


class ClosingForgets(MemorySessionStore):
    async def aclose(self) -> None:
        self._users.clear()
        self._deadlines.clear()


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("broken", "clauses"),
    [
        (RemovesTheUser, "removing_takes_exactly_these_connections"),
        (RemovesTheNewest, "removing_takes_exactly_these_connections"),
        (StopsAtTheMissing, "removing_passes_over_what_is_not_there"),
        (NeverExpires, "an_entry_expires a_dead_gateways_entry_ends_under_anothers_refresh"),
        (ExpiresWithTheUser, "a_dead_gateways_entry_ends_under_anothers_refresh"),
        (RefreshDoesNothing, "refreshing_keeps_an_entry the_store_sets_the_end"),
        (RefreshOnlyExtends, "refreshing_writes_again_what_is_gone"),
        (WritesLater, "what_was_added_is_there_for_every_gateway"),
        (AddsOnlyOnce, "calls_may_be_repeated"),
        (BelievesTheCallersClock, "the_store_sets_the_end"),
        (InOrderOfWriting, "the_newest_connection_comes_first"),
        (FirstOfAListCounts, "a_list_is_written_in_its_order"),
        (ReadsThenWrites, "changes_of_one_user_do_not_tread_on_each_other"),
        (TakesPatterns, "ids_are_only_names"),
        (ClosingForgets, "closing_leaves_the_entries"),
    ],
)
async def test_broken_stores_are_caught(broken: Callable[[float, Clock], SessionStore], clauses: str) -> None:
    suite = TestMemorySessionStore()
    suite.store = broken
    await assert_caught(suite, *clauses.split())


@pytest.mark.anyio
async def test_the_fault_wrapper_is_down_and_hangs_on_demand() -> None:
    store = FaultySessionStore(MemorySessionStore(60, VirtualClock()))
    ann = UserId("ann")
    record = SessionStoreSuite().record(ann, "a")
    store.down = True
    for call in (store.add, store.refresh, store.remove):
        with pytest.raises(ServiceUnavailableError):
            await call([record])
    with pytest.raises(ServiceUnavailableError):
        await store.lookup(ann)
    store.down = False
    assert await store.lookup(ann) == []
    store.hang()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(store.add, [record])
        await anyio.wait_all_tasks_blocked()
        assert await store.inner.lookup(ann) == []
        store.release()
    assert len(await store.lookup(ann)) == 1
    await store.aclose()
