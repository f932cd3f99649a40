"""The contract of `ports.SessionStore`."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager

import anyio
import attrs

from imgateway.model import ConnectionId, DeviceId, GatewayId, SessionRecord, UserId
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
        self, user_id: UserId, connection: str, *, at: int = 1_700_000_000_000, gateway: str = "gw-1"
    ) -> SessionRecord:
        """An entry as a gateway writes it."""
        return SessionRecord(
            user_id, ConnectionId(connection), GatewayId(gateway), DeviceId("phone"), "web", connected_at=at
        )

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
