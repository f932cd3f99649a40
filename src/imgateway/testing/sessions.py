"""The contract of `ports.SessionStore`."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager

import anyio
import attrs

from imgateway.codes import Code
from imgateway.model import ConnectionId, DeviceId, DevicePolicy, Displaced, GatewayId, SessionRecord, UserId
from imgateway.ports import SessionStore
from imgateway.testing.suite import ContractSuite

_HOSTILE = ("a:b", "a", "../a", "{a}", "*", "a b", "a\\", "名前", "'; --", "a*", "user_session:a", "-1", "🦊" * 64)


def _ids(records: Sequence[SessionRecord]) -> list[str]:
    return [record.connection_id for record in records]


class SessionStoreSuite(ContractSuite):
    """Every session store holds to this.

    Attributes:
        ttl_seconds: the time to live of the stores that `make` gives.
    """

    ttl_seconds: float = 60.0

    def make(self) -> AbstractAsyncContextManager[tuple[SessionStore, SessionStore]]:
        """Two gateways' handles on one store; they may be one object where that is how the store is shared."""
        raise NotImplementedError

    async def pass_time(self, seconds: float, /) -> None:
        """Let the store's clock advance. Waits, unless overridden by a store whose clock can be turned."""
        await anyio.sleep(seconds)

    def record(
        self,
        user_id: UserId,
        connection: str,
        *,
        at: int = 1_700_000_000_000,
        gateway: str = "gw-1",
        device: str | None = "phone",
    ) -> SessionRecord:
        """An entry as a gateway writes it."""
        device_id = None if device is None else DeviceId(device)
        return SessionRecord(user_id, ConnectionId(connection), GatewayId(gateway), device_id, "web", connected_at=at)

    async def test_what_was_added_is_there_for_every_gateway(self) -> None:
        """When `add` returns, the entry is found as it was written, through any handle."""
        user, ghost = UserId(self.unique("ann")), UserId(self.unique("ghost"))
        plain = attrs.evolve(self.record(user, "b", at=5), device_id=None, platform=None)
        async with self.make() as (one, other):
            await one.add([self.record(user, "a", at=7), plain])
            for store in (one, other):
                found = [attrs.evolve(record, expires_at=0) for record in await store.lookup(user)]
                assert found == [self.record(user, "a", at=7), plain]
                assert await store.lookup(ghost) == []

    async def test_the_store_sets_the_end(self) -> None:
        """`expires_at` is the store's: after now by its own clock, whatever the caller wrote; a refresh moves it on."""
        user = UserId(self.unique("ann"))
        record = attrs.evolve(self.record(user, "a"), expires_at=12)
        async with self.make() as (one, _):
            await one.add([record])
            before = (await one.lookup(user))[0].expires_at
            assert before > 1_000_000_000_000, "milliseconds since the epoch"
            await self.pass_time(self.ttl_seconds / 2)
            await one.refresh([record])
            after = (await one.lookup(user))[0].expires_at
            assert 0 < after - before < self.ttl_seconds * 1000

    async def test_the_newest_connection_comes_first(self) -> None:
        """`lookup` orders by `connected_at`, newest first, whoever wrote and in whatever order."""
        user = UserId(self.unique("ann"))
        async with self.make() as (one, other):
            await one.add([self.record(user, "middle", at=200), self.record(user, "old", at=100)])
            await other.add([self.record(user, "new", at=300, gateway="gw-2")])
            await one.refresh([self.record(user, "old", at=100)])
            assert _ids(await one.lookup(user)) == ["new", "middle", "old"]
            assert (await one.lookup(user))[0].gateway_id == "gw-2"
            await other.remove([self.record(user, "new", at=300, gateway="gw-2")])
            assert _ids(await one.lookup(user)) == ["middle", "old"]

    async def test_a_list_is_written_in_its_order(self) -> None:
        """Of two entries for one connection in one `add`, the later counts."""
        user = UserId(self.unique("ann"))
        first, second = self.record(user, "a", gateway="gw-1"), self.record(user, "a", gateway="gw-2")
        async with self.make() as (one, _):
            await one.add([first, second])
            assert [record.gateway_id for record in await one.lookup(user)] == ["gw-2"]

    async def test_calls_may_be_repeated(self) -> None:
        """The same call twice is as good as once; a call with nothing in it does nothing."""
        user = UserId(self.unique("ann"))
        a, b = self.record(user, "a", at=1), self.record(user, "b", at=2)
        async with self.make() as (one, other):
            for store in (one, one, other):
                await store.add([a, b])
            assert _ids(await one.lookup(user)) == ["b", "a"]
            for store in (one, one, other):
                await store.refresh([a, b])
            assert _ids(await one.lookup(user)) == ["b", "a"]
            for _ in range(2):
                await one.remove([b])
            for call in (one.add, one.refresh, one.remove):
                await call([])
            assert _ids(await one.lookup(user)) == ["a"]

    async def test_removing_takes_exactly_these_connections(self) -> None:
        """The late end of an old connection leaves the newer one, of the same device on the same gateway as well."""
        user, other_user = UserId(self.unique("ann")), UserId(self.unique("ben"))
        old, new = self.record(user, "old", at=100), self.record(user, "new", at=200)
        async with self.make() as (one, other):
            await one.add([old, new, self.record(other_user, "old")])
            await one.remove([old])
            assert _ids(await other.lookup(user)) == ["new"]
            assert _ids(await other.lookup(other_user)) == ["old"]

    async def test_removing_passes_over_what_is_not_there(self) -> None:
        """An entry that is not there hinders nothing: the others in the list are removed."""
        user, ghost = UserId(self.unique("ann")), UserId(self.unique("ghost"))
        async with self.make() as (one, _):
            await one.add([self.record(user, "a"), self.record(user, "b")])
            await one.remove([self.record(ghost, "a"), self.record(user, "c"), self.record(user, "b")])
            assert _ids(await one.lookup(user)) == ["a"]

    async def test_an_entry_expires(self) -> None:
        """An entry that is not refreshed within the time to live is gone, and removing it is harmless."""
        user = UserId(self.unique("ann"))
        async with self.make() as (one, other):
            await one.add([self.record(user, "a", at=2**52)])
            await self.pass_time(self.ttl_seconds * 1.2)
            assert await other.lookup(user) == []
            await one.remove([self.record(user, "a")])

    async def test_refreshing_keeps_an_entry(self) -> None:
        """An entry that is refreshed, or added again, in time lives on."""
        user = UserId(self.unique("ann"))
        refreshed, added, forgotten = (self.record(user, name, at=at) for at, name in ((3, "r"), (2, "a"), (1, "f")))
        async with self.make() as (one, _):
            await one.add([refreshed, added, forgotten])
            await self.pass_time(self.ttl_seconds * 0.6)
            await one.refresh([refreshed])
            await one.add([added])
            await self.pass_time(self.ttl_seconds * 0.6)
            assert _ids(await one.lookup(user)) == ["r", "a"]

    async def test_a_dead_gateways_entry_ends_under_anothers_refresh(self) -> None:
        """Each entry has its own lease: refreshing one does not keep another of the same user."""
        user = UserId(self.unique("ann"))
        living, dead = self.record(user, "a", at=1, gateway="gw-1"), self.record(user, "b", at=2, gateway="gw-2")
        async with self.make() as (one, other):
            await other.add([dead])
            await one.add([living])
            for _ in range(3):
                await self.pass_time(self.ttl_seconds * 0.5)
                await one.refresh([living])
            assert _ids(await one.lookup(user)) == ["a"]

    async def test_refreshing_writes_again_what_is_gone(self) -> None:
        """After the store lost an entry, a refresh brings it back as it was."""
        user = UserId(self.unique("ann"))
        record = self.record(user, "a", at=77)
        async with self.make() as (one, _):
            await one.add([record])
            await self.pass_time(self.ttl_seconds * 1.2)
            await one.refresh([record])
            assert [attrs.evolve(found, expires_at=0) for found in await one.lookup(user)] == [record]

    async def test_changes_of_one_user_do_not_tread_on_each_other(self) -> None:
        """Every change is atomic for its user: of many at once, through both handles, none is lost."""
        user = UserId(self.unique("ann"))
        records = [self.record(user, f"c{number}", at=number) for number in range(20)]
        async with self.make() as (one, other):
            await one.add(records[:5])
            async with anyio.create_task_group() as tasks:
                for number, record in enumerate(records[5:]):
                    tasks.start_soon((one, other)[number % 2].add, [record])
                for number, record in enumerate(records[:5]):
                    tasks.start_soon((one, other)[number % 2].remove, [record])
            assert _ids(await one.lookup(user)) == [f"c{number}" for number in range(19, 4, -1)]

    async def test_ids_are_only_names(self) -> None:
        """Whatever a user id looks like, it means this user and nobody else."""
        prefix = self.unique("x")
        users = [UserId(f"{prefix}{hostile}"[:128]) for hostile in _HOSTILE]
        async with self.make() as (one, _):
            await one.add([self.record(user, f"c{number}") for number, user in enumerate(users)])
            await one.remove([self.record(users[0], "c0")])
            for number, user in enumerate(users):
                assert _ids(await one.lookup(user)) == ([f"c{number}"] if number else [])

    async def test_closing_leaves_the_entries(self) -> None:
        """`aclose` is idempotent, and the other gateways still see what was written until it expires."""
        user = UserId(self.unique("ann"))
        async with self.make() as (one, other):
            await one.add([self.record(user, "a")])
            await one.aclose()
            await one.aclose()
            assert _ids(await other.lookup(user)) == ["a"]
            await self.pass_time(self.ttl_seconds * 1.2)
            assert await other.lookup(user) == []

    async def test_a_device_replaces_its_own_older_connection(self) -> None:
        """A new entry displaces the user's others of its device, on every gateway; one without a device, nobody's."""
        user, other_user = UserId(self.unique("ann")), UserId(self.unique("ben"))
        policy = DevicePolicy(5)
        tv, nothing = self.record(user, "tv", device="tv", at=1), self.record(user, "nothing", device=None, at=2)
        old, new = self.record(user, "old", at=3), self.record(user, "new", at=4, gateway="gw-2")
        async with self.make() as (one, other):
            assert await one.add([tv, nothing, old, self.record(other_user, "old")], policy) == []
            assert await other.add([new], policy) == [Displaced.of(old)]
            assert await other.add([self.record(user, "nobody", device=None, at=5)], policy) == []
            assert _ids(await one.lookup(user)) == ["nobody", "new", "nothing", "tv"]
            assert _ids(await one.lookup(other_user)) == ["old"]

    async def test_the_oldest_go_beyond_the_number_over_all_gateways(self) -> None:
        """A new entry displaces the oldest ones in excess, however many, whosever they are; ended ones do not count."""
        user = UserId(self.unique("ann"))
        records = [
            self.record(user, f"c{number}", at=number, device=None, gateway=f"gw-{number % 2}") for number in range(7)
        ]
        async with self.make() as (one, other):
            await one.add(records[:5])
            await one.remove(records[4:5])
            assert set(await other.add(records[5:6], DevicePolicy(3))) == {Displaced.of(each) for each in records[:2]}
            assert _ids(await one.lookup(user)) == ["c5", "c3", "c2"]
            assert await one.add(records[6:], DevicePolicy(3)) == [Displaced.of(records[2])]
            assert _ids(await other.lookup(user)) == ["c6", "c5", "c3"]

    async def test_a_displaced_connection_does_not_come_back(self) -> None:
        """Whoever writes it is told, for the time to live, even when its successor has ended; until it is removed."""
        user = UserId(self.unique("ann"))
        old, new = self.record(user, "old", at=1), self.record(user, "new", at=2, gateway="gw-2")
        last = self.record(user, "last", at=3, device="tv")
        async with self.make() as (one, other):
            await one.add([old], DevicePolicy(5))
            await other.add([new], DevicePolicy(5))
            for _ in range(2):
                assert await one.refresh([last, old]) == [Displaced.of(old)]
                assert await one.add([old, last], DevicePolicy(5)) == [Displaced.of(old)]
                assert _ids(await other.lookup(user)) == ["last", "new"]
            await self.pass_time(self.ttl_seconds * 0.6)
            await one.remove([last])
            await other.remove([new])
            assert await one.refresh([old]) == [Displaced.of(old)]
            assert await other.lookup(user) == []
            await one.remove([old])
            assert await one.refresh([old]) == []
            assert _ids(await other.lookup(user)) == ["old"]

    async def test_only_a_new_entry_displaces(self) -> None:
        """An entry that is there, or is refreshed after it was lost, or comes without a policy, displaces nobody."""
        user = UserId(self.unique("ann"))
        a, b, c = (self.record(user, name, at=at) for at, name in enumerate("abc"))
        async with self.make() as (one, other):
            await one.add([a, b])
            for record in (a, b):
                assert await other.add([record], DevicePolicy(1)) == []
            assert await other.refresh([c]) == []
            assert await one.add([c], DevicePolicy(1)) == []
            assert _ids(await one.lookup(user)) == ["c", "b", "a"]

    async def test_a_late_entry_does_not_displace_newer_ones(self) -> None:
        """One that was written long after it connected goes itself where newer ones leave no room for it."""
        user = UserId(self.unique("ann"))
        new, newer = self.record(user, "new", at=10), self.record(user, "newer", at=20, device="tv")
        policy = DevicePolicy(2)
        late = self.record(user, "late", at=9)
        early, middle = self.record(user, "early", at=5, device=None), self.record(user, "middle", at=15, device=None)
        async with self.make() as (one, other):
            await one.add([new, newer], policy)
            assert await other.add([late], DevicePolicy(5)) == [Displaced.of(late)]
            assert await other.add([early], policy) == [Displaced.of(early)]
            assert _ids(await one.lookup(user)) == ["newer", "new"]
            assert await other.add([middle], policy) == [Displaced.of(new)]
            assert _ids(await one.lookup(user)) == ["newer", "middle"]

    async def test_an_entry_that_comes_in_time_is_the_newest(self) -> None:
        """It displaces one whose gateway's clock is ahead, and not the other way round."""
        user = UserId(self.unique("ann"))
        async with self.make() as (one, other):
            await one.add([self.record(user, "probe", device=None)])
            now = (await one.lookup(user))[0].expires_at - round(self.ttl_seconds * 1000)
            ahead = self.record(user, "ahead", at=now + 61_000)
            record = self.record(user, "record", at=now + 60_000, gateway="gw-2")
            await one.add([ahead], DevicePolicy(5))
            assert await other.add([record], DevicePolicy(5)) == [Displaced.of(ahead)]
            assert _ids(await one.lookup(user)) == ["record", "probe"]

    async def test_a_policy_that_refuses_displaces_no_other_device(self) -> None:
        """An entry that finds no room is not written and may try again; one that replaces its device's has room."""
        user = UserId(self.unique("ann"))
        policy = DevicePolicy(2, refuses=True)
        a, b = self.record(user, "a", at=1), self.record(user, "b", at=2, device="tv", gateway="gw-2")
        c, again = self.record(user, "c", at=3, device=None), self.record(user, "again", at=4)
        async with self.make() as (one, other):
            assert await one.add([a], policy) == []
            assert await other.add([b], policy) == []
            for store in (one, other):
                assert await store.add([c], policy) == [Displaced.of(c, Code.RATE_LIMITED)]
            assert await other.add([again], policy) == [Displaced.of(a)]
            assert _ids(await one.lookup(user)) == ["again", "b"]
            await other.remove([b])
            assert await one.add([c], policy) == []
            assert _ids(await one.lookup(user)) == ["again", "c"]

    async def test_of_many_at_once_exactly_as_many_stay_as_may(self) -> None:
        """Each one that goes is told exactly once, to whoever displaced it or, itself displaced, wrote it."""
        user, crowded = UserId(self.unique("ann")), UserId(self.unique("ben"))
        same = [self.record(user, f"c{number}", at=number) for number in range(20)]
        others = [self.record(crowded, f"c{number}", at=number, device=None) for number in range(20)]
        told: list[Displaced] = []

        async def add(store: SessionStore, record: SessionRecord) -> None:
            told.extend(await store.add([record], DevicePolicy(3)))

        async with self.make() as (one, other):
            async with anyio.create_task_group() as tasks:
                for number in range(20):
                    for record in (same[number], others[number]):
                        tasks.start_soon(add, (one, other)[number % 2], record)
            stay = [*await one.lookup(user), *await one.lookup(crowded)]
            assert _ids(stay) == ["c19", "c19", "c18", "c17"]
            gone = {*map(Displaced.of, same), *map(Displaced.of, others)} - set(map(Displaced.of, stay))
            assert len(told) == len(gone)
            assert set(told) == gone
