"""Keeps the session store true to the connections of this gateway."""

import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from itertools import islice

import anyio
import anyio.abc
import attrs

from imgateway.core.connection import LiveConnection
from imgateway.core.retrying import Backoff
from imgateway.errors import ServiceUnavailableError
from imgateway.model import ConnectionId, DevicePolicy, Displaced, GatewayId, SessionRecord, UserId
from imgateway.ports import SessionStore

ANNOUNCE_SECONDS = 0.75
"""How long a client waits for its presence to be written, and up to a tick longer; with the store down it is let in all
the same."""

BATCH = 200
"""So many entries go into one call: about as fast as more, and the event loop is not held up for long."""
MOST_REMOVALS = 100_000

_NOBODY = SessionRecord(UserId("imgateway"), ConnectionId("none"), GatewayId("none"), None, None, connected_at=0)
"""Removing an entry that does not exist tells whether the store takes changes, and changes nothing."""

_log = logging.getLogger(__name__)


@attrs.define(eq=False)
class _Announcement:
    """A connection that waits for its entry to be written, at most until then (a cancel scope each would cost more)."""

    until: float
    over: anyio.Event = attrs.field(factory=anyio.Event)


@attrs.define(eq=False)
class _Answer:
    """What the store says of a user, once it does."""

    entries: Sequence[SessionRecord] = ()
    given: anyio.Event = attrs.field(factory=anyio.Event)


@attrs.define(eq=False)
class Presence:
    """Writes, refreshes and removes entries, many at a time; changes are written one after the other, in order.

    What could not be written is kept and written when the store is back: the entries of live connections, all of them,
    since a store that was away may have lost what it had; and the removals of ended ones, of which the latest
    `MOST_REMOVALS` are kept: an entry that is not removed expires.

    Attributes:
        ttl_seconds: the store's time to live; entries are refreshed three times within it.
        may_write: whether the gateway's id is certainly ours, so that entries may carry it; asked before each write.
            What is ours is removed in any case.
        policy: how many connections a user may have; new ones displace others when they are written for the first time.
        on_displaced: told of each connection that has to go, here or on another gateway.
        available: whether the store took what it was last given.
    """

    store: SessionStore
    gateway_id: GatewayId
    ttl_seconds: float = 60.0
    may_write: Callable[[], bool] = lambda: True
    policy: DevicePolicy | None = None
    on_displaced: Callable[[Displaced], None] = lambda displaced: None
    available: bool = True
    _live: dict[ConnectionId, SessionRecord] = attrs.field(factory=dict)
    _to_add: dict[ConnectionId, SessionRecord] = attrs.field(factory=dict)
    _to_remove: dict[ConnectionId, SessionRecord] = attrs.field(factory=dict)
    _announced: dict[ConnectionId, _Announcement] = attrs.field(factory=dict)
    _wake: anyio.Event = attrs.field(factory=anyio.Event)
    _stale: anyio.Event = attrs.field(factory=anyio.Event)
    _writing: anyio.Lock = attrs.field(factory=anyio.Lock)
    _tasks: anyio.abc.TaskGroup | None = None

    async def announce(self, connection: LiveConnection, /) -> None:
        """Return when the connection's presence is written, or withdrawn, or the time for that is over."""
        record = SessionRecord(
            user_id=connection.user_id,
            connection_id=connection.connection_id,
            gateway_id=self.gateway_id,
            device_id=connection.device_id,
            platform=connection.platform,
            connected_at=connection.connected_at,
        )
        patience = self._patience()
        announced = self._announced[record.connection_id] = _Announcement(anyio.current_time() + patience)
        self._live[record.connection_id] = record
        self._to_add[record.connection_id] = record
        self._wake.set()
        try:
            if patience > 0:
                await announced.over.wait()
        finally:
            self._announced.pop(record.connection_id, None)

    def tick(self) -> None:
        """Let those go on who have waited long enough. Call it every now and then."""
        now = anyio.current_time()
        for announced in self._announced.values():
            # All wait equally long, so they stand in the order in which they are due.
            if announced.until > now:
                return
            announced.over.set()

    async def elsewhere(self, user_id: UserId, /) -> Sequence[SessionRecord]:
        """The entries that other gateways have of a user; none if the store does not say so in time.

        What the store has of this gateway, and nobody has any more, is removed: what an earlier process left behind.
        """
        if self._tasks is None or not self.available:
            return ()
        answer = _Answer()
        # A task of its own: cancelling a call would cost the store's connection.
        self._tasks.start_soon(self._look_up, user_id, answer)
        with anyio.move_on_after(self._patience()):
            await answer.given.wait()
        for entry in answer.entries:
            if entry.gateway_id == self.gateway_id and entry.connection_id not in self._live and self.may_write():
                self._remove(entry)
        return [entry for entry in answer.entries if entry.gateway_id != self.gateway_id]

    async def _look_up(self, user_id: UserId, answer: _Answer) -> None:
        try:
            answer.entries = await self.store.lookup(user_id)
        except ServiceUnavailableError:
            # The refresh will say so.
            self._stale.set()
        answer.given.set()

    def _patience(self) -> float:
        # Where the policy refuses, a client waits for the store twice.
        return ANNOUNCE_SECONDS / 2 if self.policy is not None and self.policy.refuses else ANNOUNCE_SECONDS

    def withdraw(self, connection: LiveConnection, /) -> None:
        """Remove the connection's entry soon. Never blocks; idempotent."""
        record = self._live.pop(connection.connection_id, None)
        if record is not None:
            self._to_add.pop(record.connection_id, None)
            if announced := self._announced.get(record.connection_id):
                announced.over.set()
            self._remove(record)

    async def flush(self) -> None:
        """Write what is left to write, however long that takes, whether `run` runs or not. Callers bound it in time."""
        backoff = Backoff()
        while self._to_add or self._to_remove:
            async with self._writing:
                if not self._to_add and not self._to_remove:
                    return
                well = await self._write()
            if well:
                backoff.reset()
            else:
                await backoff.pause()

    async def run(self) -> None:
        """Write until cancelled."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._refresh_regularly)
            self._tasks = tasks
            try:
                while True:
                    await self._wake.wait()
                    self._wake = anyio.Event()
                    await self.flush()
            finally:
                self._tasks = None

    async def _write(self) -> bool:
        # Removals first: a store that fails between the two has then forgotten too much rather than too little.
        removals = list(islice(self._to_remove.values(), BATCH))
        # Chosen now: whoever ended before one of these came must not be counted when it is added.
        new = list(islice(self._to_add.values(), BATCH))
        if removals:
            if not await self._took(self.store.remove(removals)):
                return False
            for record in removals:
                # Unless it is to be removed once more.
                if self._to_remove.get(record.connection_id) is record:
                    del self._to_remove[record.connection_id]
        additions = [record for record in new if record.connection_id in self._to_add] if self.may_write() else []
        if additions:
            if not await self._took(self.store.add(additions, self.policy)):
                return False
            for record in additions:
                # Unless it was withdrawn meanwhile: its removal is waiting then.
                if self._to_add.get(record.connection_id) is record:
                    del self._to_add[record.connection_id]
                if announced := self._announced.get(record.connection_id):
                    announced.over.set()
        return bool(removals or additions)

    async def _refresh_regularly(self) -> None:
        backoff = Backoff()
        while True:
            self._stale = anyio.Event()
            if await self._refresh():
                backoff.reset()
                with anyio.move_on_after(self.ttl_seconds / 3 * random.uniform(0.8, 1.0)):
                    await self._stale.wait()
            else:
                await backoff.pause()

    async def _refresh(self) -> bool:
        """Refresh everything; where there is nothing to refresh, find out whether the store would take it."""
        if not self.available:
            # Whoever came meanwhile is to be found as soon as the others are.
            async with self._writing:
                while self._to_add and self.may_write():
                    if not await self._write():
                        return False
        # One that was never written comes in by `add` alone, which asks the policy.
        records = [record for record in self._live.values() if record.connection_id not in self._to_add]
        if not records or not self.may_write():
            return await self._took(self.store.remove([_NOBODY]))
        for start in range(0, len(records), BATCH):
            batch = [record for record in records[start : start + BATCH] if record.connection_id in self._live]
            well = self.may_write() and await self._took(self.store.refresh(batch))
            for record in batch:
                # Refreshed, as it may be, after it was removed: remove it once more.
                if record.connection_id not in self._live:
                    self._remove(attrs.evolve(record))
            if not well:
                return False
        return True

    async def _took(self, change: Awaitable[Sequence[Displaced] | None]) -> bool:
        try:
            displaced = await change or ()
        except ServiceUnavailableError as error:
            self._stale.set()
            if self.available:
                _log.warning("presence can't be written; connections live on", extra={"why": str(error)})
            self.available = False
            return False
        if not self.available:
            _log.info("presence is written again")
        self.available = True
        for each in displaced:
            self.on_displaced(each)
        return True

    def _remove(self, record: SessionRecord) -> None:
        self._to_remove[record.connection_id] = record
        if len(self._to_remove) > MOST_REMOVALS:
            del self._to_remove[next(iter(self._to_remove))]
        self._wake.set()
