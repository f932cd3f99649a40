"""Session stores: the memory store holds to the contract, broken ones do not."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from unittest import mock

import anyio
import anyio.lowlevel
import attrs
import pytest

from imgateway.adapters.memory import MemorySessionStore, sessions
from imgateway.errors import ServiceUnavailableError
from imgateway.model import ConnectionId, DevicePolicy, Displaced, SessionRecord, UserId
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


class IgnoresThePolicy(MemorySessionStore):
    async def add(self, records: Sequence[SessionRecord], policy: DevicePolicy | None = None, /) -> Sequence[Displaced]:
        return await super().add(records)


class ForEachGatewayItself(MemorySessionStore):
    def _newest_first(self, user_id: UserId) -> list[SessionRecord]:
        found = super()._newest_first(user_id)
        return [each for each in found if each.gateway_id in self.__dict__.get("only", [each.gateway_id])]

    def _excess(self, record: SessionRecord, policy: DevicePolicy) -> list[Displaced]:
        self.__dict__["only"] = [record.gateway_id]
        try:
            return super()._excess(record, policy)
        finally:
            del self.__dict__["only"]


class ForgetsTheDisplaced(MemorySessionStore):
    def _expire(self) -> None:
        self._displaced.clear()
        super()._expire()


class ForgetsTheDisplacedWithTheUser(MemorySessionStore):
    def _drop(self, user_id: UserId, connection_id: ConnectionId) -> None:
        super()._drop(user_id, connection_id)
        if user_id not in self._users:
            for key in [key for key in self._displaced if key[0] == user_id]:
                del self._displaced[key]


class NeverForgetsTheDisplaced(MemorySessionStore):
    async def remove(self, records: Sequence[SessionRecord], /) -> None:
        displaced = dict(self._displaced)
        await super().remove(records)
        self._displaced.update(displaced)


class AsksThePolicyAgain(MemorySessionStore):
    async def add(self, records: Sequence[SessionRecord], policy: DevicePolicy | None = None, /) -> Sequence[Displaced]:
        for record in records:
            self._drop(record.user_id, record.connection_id)
        return await super().add(records, policy)


class RefreshAsksThePolicy(MemorySessionStore):
    async def refresh(self, records: Sequence[SessionRecord], /) -> Sequence[Displaced]:
        return await super().add(records, DevicePolicy(5))


class _OtherLateness(MemorySessionStore):
    late_ms: int

    def _excess(self, record: SessionRecord, policy: DevicePolicy) -> list[Displaced]:
        with mock.patch.object(sessions, "LATE_MS", self.late_ms):
            return super()._excess(record, policy)


class LastToWriteWins(_OtherLateness):
    late_ms = 2**60


class BelievesTheGatewaysClocks(_OtherLateness):
    late_ms = -(2**60)


class NeverRefuses(MemorySessionStore):
    def _excess(self, record: SessionRecord, policy: DevicePolicy) -> list[Displaced]:
        return super()._excess(record, DevicePolicy(policy.max_per_user))


class RefusesItsOwnDevice(MemorySessionStore):
    def _excess(self, record: SessionRecord, policy: DevicePolicy) -> list[Displaced]:
        return super()._excess(attrs.evolve(record, device_id=None) if policy.refuses else record, policy)


class TakesNoDeviceForADevice(MemorySessionStore):
    def _excess(self, record: SessionRecord, policy: DevicePolicy) -> list[Displaced]:
        nothing = [each for each in self._newest_first(record.user_id) if each.device_id is record.device_id is None]
        for each in nothing:
            self._drop(each.user_id, each.connection_id)
        return [*map(Displaced.of, nothing), *super()._excess(record, policy)]


class DisplacesBeforeItWrites(MemorySessionStore):
    async def add(self, records: Sequence[SessionRecord], policy: DevicePolicy | None = None, /) -> Sequence[Displaced]:
        new = [each for each in records if (each.user_id, each.connection_id) not in self._deadlines]
        displaced = [one for each in new for one in self._excess(each, policy)] if policy else []
        await anyio.lowlevel.checkpoint()
        return [*displaced, *await super().add([each for each in records if Displaced.of(each) not in displaced])]


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
        (
            IgnoresThePolicy,
            "a_device_replaces_its_own_older_connection the_oldest_go_beyond_the_number_over_all_gateways "
            "a_policy_that_refuses_displaces_no_other_device",
        ),
        (
            ForEachGatewayItself,
            "a_device_replaces_its_own_older_connection the_oldest_go_beyond_the_number_over_all_gateways",
        ),
        (ForgetsTheDisplaced, "a_displaced_connection_does_not_come_back"),
        (ForgetsTheDisplacedWithTheUser, "a_displaced_connection_does_not_come_back"),
        (NeverForgetsTheDisplaced, "a_displaced_connection_does_not_come_back"),
        (AsksThePolicyAgain, "only_a_new_entry_displaces"),
        (RefreshAsksThePolicy, "only_a_new_entry_displaces"),
        (LastToWriteWins, "a_late_entry_does_not_displace_newer_ones"),
        (BelievesTheGatewaysClocks, "an_entry_that_comes_in_time_is_the_newest"),
        (NeverRefuses, "a_policy_that_refuses_displaces_no_other_device"),
        (RefusesItsOwnDevice, "a_policy_that_refuses_displaces_no_other_device"),
        (TakesNoDeviceForADevice, "a_device_replaces_its_own_older_connection"),
        (DisplacesBeforeItWrites, "of_many_at_once_exactly_as_many_stay_as_may"),
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
