"""Presence is true again soon after an outage, and nothing is written for an id that may be another's."""

from collections.abc import Sequence
from unittest import mock

import anyio
import attrs
import pytest
from tests.gateways import GATEWAY_ID, Bench, eventually, quiet, running_hub

from imgateway.core import presence
from imgateway.errors import ServiceUnavailableError
from imgateway.model import Displaced, SessionRecord
from imgateway.testing import FaultySessionStore

pytestmark = pytest.mark.anyio


async def written(bench: Bench, user: str) -> None:
    """Return when the user's presence is there."""
    with anyio.fail_after(10):
        while not await bench.world.online(user):
            await quiet()


async def test_everything_is_written_again_as_soon_as_the_store_is_back() -> None:
    async with running_hub(session_ttl_seconds=3600) as bench:
        users = [f"u{number}" for number in range(5)]
        with mock.patch.object(presence, "BATCH", 2):
            for user in users:
                await bench.connect(user)
            bench.world.sessions.down = True
            for user in users:
                await bench.world.sessions.inner.remove(await bench.world.online(user))
            with mock.patch.object(presence, "ANNOUNCE_SECONDS", 0.0):
                await bench.connect("late")
            await eventually(lambda: not bench.hub.presence.available)
            bench.world.sessions.down = False
            for user in (*users, "late"):
                await written(bench, user)


async def test_a_refresh_that_fails_is_tried_again_soon() -> None:
    @attrs.define(eq=False)
    class FailsOnce(FaultySessionStore):
        """Loses everything with the first refresh, and says so."""

        failed: bool = False

        async def refresh(self, records: Sequence[SessionRecord], /) -> Sequence[Displaced]:
            if not self.failed:
                self.failed = True
                await self.inner.remove(records)
                raise ServiceUnavailableError("it was restarted")
            return await super().refresh(records)

    async with running_hub(session_ttl_seconds=3600) as bench:
        await bench.connect("ann")
        store = bench.hub.presence.store = FailsOnce(bench.world.sessions.inner)
        bench.hub.presence._stale.set()
        await eventually(lambda: store.failed)
        await written(bench, "ann")


async def test_a_store_that_is_down_is_noticed_without_any_connection() -> None:
    async with running_hub(session_ttl_seconds=3600) as bench:
        bench.world.sessions.down = True
        await eventually(lambda: not bench.hub.presence.available)
        bench.world.sessions.down = False
        await eventually(lambda: bench.hub.presence.available)
    async with running_hub(session_ttl_seconds=0.003) as bench:
        await quiet()
        assert bench.hub.presence.available
        bench.world.sessions.down = True
        await eventually(lambda: not bench.hub.presence.available)


async def test_asking_the_store_leaves_nothing_there() -> None:
    async with running_hub(session_ttl_seconds=0.003) as bench:
        await bench.connect("imgateway")
        for _ in range(5):
            await quiet()
        assert len(await bench.world.online("imgateway")) == 1


async def test_a_refresh_that_overtakes_a_removal_on_its_way_leaves_no_ghost() -> None:
    @attrs.define(eq=False)
    class Racing(FaultySessionStore):
        """Removes at once but answers when released; refreshes when told to."""

        removing: bool = False
        refreshing: bool = False
        refresh_now: anyio.Event = attrs.field(factory=anyio.Event)

        async def remove(self, records: Sequence[SessionRecord], /) -> None:
            await self.inner.remove(records)
            self.removing = True
            await self._obstruct()

        async def refresh(self, records: Sequence[SessionRecord], /) -> Sequence[Displaced]:
            self.refreshing = True
            await self.refresh_now.wait()
            return await self.inner.refresh(records)

    async with running_hub(session_ttl_seconds=3600) as bench:
        ann = await bench.connect("ann")
        store = bench.hub.presence.store = Racing(bench.world.sessions.inner)
        store.hang()
        bench.hub.presence._stale.set()
        await eventually(lambda: store.refreshing)
        ann.socket.leave()
        await eventually(lambda: store.removing)
        store.refresh_now.set()
        await written(bench, "ann")
        await quiet()
        store.release()
        await bench.hub.presence.flush()
        assert await bench.world.online("ann") == []


async def test_an_id_that_lapses_during_a_refresh_ends_it() -> None:
    @attrs.define(eq=False)
    class Lapsing(FaultySessionStore):
        refreshed: int = 0

        async def refresh(self, records: Sequence[SessionRecord], /) -> Sequence[Displaced]:
            self.refreshed += len(records)
            bench.world.services.revoke(GATEWAY_ID)
            return []

    async with running_hub(session_ttl_seconds=3600) as bench:
        for number in range(5):
            await bench.connect(f"u{number}")
        store = bench.hub.presence.store = Lapsing(bench.world.sessions.inner)
        with mock.patch.object(presence, "BATCH", 2):
            bench.hub.presence._stale.set()
            await eventually(lambda: store.refreshed)
            await quiet()
        assert store.refreshed == 2


async def test_an_id_that_may_be_anothers_writes_no_presence() -> None:
    async with running_hub(session_ttl_seconds=0.003) as bench:
        ann, ben = await bench.connect("ann"), await bench.connect("ben")
        bench.world.services.revoke(GATEWAY_ID)
        await quiet()  # what was being written while the id was ours for certain
        store = bench.world.sessions.inner
        await store.remove(await bench.world.online("ann"))
        with mock.patch.object(presence, "ANNOUNCE_SECONDS", 0.0):
            await bench.connect("cid")
        for _ in range(20):
            await quiet()
            await anyio.sleep(0.001)
        assert await bench.world.online("ann") == []
        assert await bench.world.online("cid") == []
        # What was written is still taken away.
        ben.socket.leave()
        await ben.ended()
        with anyio.fail_after(10):
            while await bench.world.online("ben"):
                await quiet()
        # Once the id is ours for certain, presence follows the connections again.
        bench.hub.presence.may_write = lambda: True
        for user in ("ann", "cid"):
            await written(bench, user)
        assert not ann.connection.closed
