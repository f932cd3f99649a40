"""The session store is kept true to the connections, through outages and races."""

from collections.abc import Sequence
from unittest import mock

import attrs
import pytest
from tests.gateways import eventually, quiet, running_hub

from imgateway.core import presence
from imgateway.model import DevicePolicy, Displaced, SessionRecord, UserId
from imgateway.ports import SessionStore
from imgateway.testing import FaultySessionStore

pytestmark = pytest.mark.anyio


@attrs.define(eq=False)
class Recording:
    """Implements `ports.SessionStore` in front of another one and keeps the sizes of the calls."""

    inner: SessionStore
    calls: list[tuple[str, int]] = attrs.field(factory=list)

    async def add(self, records: Sequence[SessionRecord], policy: DevicePolicy | None = None, /) -> Sequence[Displaced]:
        self.calls.append(("add", len(records)))
        return await self.inner.add(records, policy)

    async def refresh(self, records: Sequence[SessionRecord], /) -> Sequence[Displaced]:
        self.calls.append(("refresh", len(records)))
        return await self.inner.refresh(records)

    async def remove(self, records: Sequence[SessionRecord], /) -> None:
        self.calls.append(("remove", len(records)))
        await self.inner.remove(records)

    async def lookup(self, user_id: UserId, /) -> Sequence[SessionRecord]:
        return await self.inner.lookup(user_id)

    async def aclose(self) -> None:
        pass


async def test_presence_goes_with_the_connection() -> None:
    async with running_hub() as bench:
        phone, laptop = await bench.connect("ann", device="phone"), await bench.connect("ann", device="laptop")
        phone.socket.leave()
        await phone.ended()
        await bench.hub.presence.flush()
        assert [record.device_id for record in await bench.world.online("ann")] == ["laptop"]
        laptop.socket.send(b"binary")
        await laptop.ended()
        await bench.hub.presence.flush()
        assert await bench.world.online("ann") == []


async def test_presence_is_refreshed_well_within_its_time_to_live() -> None:
    async with running_hub(session_ttl_seconds=0.003) as bench:
        ann = await bench.connect("ann")
        for _ in range(3):
            # The store loses everything: a refresh writes it again.
            await bench.world.sessions.inner.remove(await bench.world.online("ann"))
            with mock.patch.object(bench.hub.presence, "_to_add", {}):
                records: Sequence[SessionRecord] = []
                while not records:
                    await quiet()
                    records = await bench.world.online("ann")
            assert records[0].connection_id == ann.connection.connection_id


async def test_changes_are_written_many_at_a_time() -> None:
    async with running_hub() as bench:
        store = bench.hub.presence.store = Recording(bench.world.sessions)
        bench.world.sessions.hang()
        with mock.patch.object(presence, "ANNOUNCE_SECONDS", 0.0):
            clients = [await bench.connect(f"u{number}") for number in range(40)]
        bench.world.sessions.release()
        await bench.hub.presence.flush()
        assert sum(count for kind, count in store.calls if kind == "add") == 40
        assert len(store.calls) <= 4
        store.calls.clear()
        for client in clients:
            client.socket.leave()
        await eventually(lambda: not bench.hub.connections)
        await bench.hub.presence.flush()
        assert sum(count for _, count in store.calls) == 40
        assert len(store.calls) <= 3


async def test_a_batch_is_bounded() -> None:
    async with running_hub() as bench:
        store = bench.hub.presence.store = Recording(bench.world.sessions)
        bench.world.sessions.hang()
        with mock.patch.multiple(presence, ANNOUNCE_SECONDS=0.0, BATCH=7):
            for number in range(30):
                await bench.connect(f"u{number}")
            bench.world.sessions.release()
            await bench.hub.presence.flush()
        assert max(count for _, count in store.calls) == 7
        assert sum(count for kind, count in store.calls if kind == "add") == 30


async def test_what_ended_while_the_store_was_down_is_removed_when_it_is_back() -> None:
    async with running_hub() as bench:
        ann, ben = await bench.connect("ann"), await bench.connect("ben")
        bench.world.sessions.down = True
        ann.socket.leave()
        await ann.ended()
        await eventually(lambda: not bench.hub.presence.available)
        assert len(await bench.world.online("ann")) == 1
        bench.world.sessions.down = False
        await bench.hub.presence.flush()
        assert bench.hub.presence.available
        assert await bench.world.online("ann") == []
        assert len(await bench.world.online("ben")) == 1
        assert not ben.connection.closed


async def test_who_came_and_went_while_the_store_was_down_is_not_written_at_all() -> None:
    async with running_hub() as bench:
        bench.world.sessions.down = True
        with mock.patch.object(presence, "ANNOUNCE_SECONDS", 0.0):
            ann = await bench.connect("ann")
        ann.socket.leave()
        await ann.ended()
        bench.world.sessions.down = False
        await bench.hub.presence.flush()
        assert await bench.world.online("ann") == []


async def test_an_entry_that_is_being_written_when_its_connection_ends_is_removed() -> None:
    async with running_hub() as bench:
        bench.world.sessions.hang()
        with mock.patch.object(presence, "ANNOUNCE_SECONDS", 0.0):
            ann = await bench.connect("ann")
        await quiet()
        ann.socket.leave()
        await ann.ended()
        bench.world.sessions.release()
        await bench.hub.presence.flush()
        assert await bench.world.online("ann") == []


@pytest.mark.parametrize("it_fails", [False, True])
async def test_an_entry_that_is_being_refreshed_when_its_connection_ends_is_removed(it_fails: bool) -> None:
    @attrs.define(eq=False)
    class Slow(FaultySessionStore):
        """Refreshes late, and may say that it failed although it did not."""

        refreshing: int = 0

        async def refresh(self, records: Sequence[SessionRecord], /) -> Sequence[Displaced]:
            self.refreshing += 1
            await self._obstruct()
            await self.inner.add(records)
            if it_fails:
                self.down = True
                await self._obstruct()
            return []

    async with running_hub(session_ttl_seconds=0.003) as bench:
        ann = await bench.connect("ann")
        store = Slow(bench.world.sessions.inner)
        store.hang()
        with mock.patch.object(bench.hub.presence, "store", store):
            await eventually(lambda: store.refreshing)
            # Removals find their way meanwhile: they have a connection of their own to the store.
            with mock.patch.object(bench.hub.presence, "store", bench.world.sessions):
                ann.socket.leave()
                await ann.ended()
                await bench.hub.presence.flush()
                assert await bench.world.online("ann") == []
                store.release()
                await eventually(lambda: store.down or not it_fails)
                await quiet()
                await bench.hub.presence.flush()
        assert await bench.world.online("ann") == []


async def test_removals_that_wait_for_the_store_are_bounded() -> None:
    async with running_hub() as bench:
        clients = [await bench.connect(f"u{number}") for number in range(5)]
        bench.world.sessions.down = True
        with mock.patch.object(presence, "MOST_REMOVALS", 3):
            for client in clients:
                client.socket.leave()
                await client.ended()
        bench.world.sessions.down = False
        await bench.hub.presence.flush()
        # The latest are kept; the oldest entries expire by themselves.
        left = [number for number in range(5) if await bench.world.online(f"u{number}")]
        assert left == [0, 1]
