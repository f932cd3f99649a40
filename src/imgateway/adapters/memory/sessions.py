"""The session store within the process: shared by the gateways that run in it."""

from collections.abc import Sequence

import attrs

from imgateway.model import ConnectionId, SessionRecord, UserId
from imgateway.ports.clock import Clock


@attrs.define(eq=False)
class MemorySessionStore:
    """Implements `ports.SessionStore`.

    Attributes:
        ttl_seconds: how long an entry lives unless refreshed.
        clock: the store's own time.
    """

    ttl_seconds: float
    clock: Clock
    _users: dict[UserId, dict[ConnectionId, SessionRecord]] = attrs.field(factory=dict, init=False)
    # Every entry lives equally long, so the order of writing is the order of expiring.
    _deadlines: dict[tuple[UserId, ConnectionId], float] = attrs.field(factory=dict, init=False)

    async def add(self, records: Sequence[SessionRecord], /) -> None:
        """Write entries, or write them again."""
        self._expire()
        deadline = self.clock.monotonic() + self.ttl_seconds
        expires_at = self.clock.now() + round(self.ttl_seconds * 1000)
        for record in records:
            key = record.user_id, record.connection_id
            self._deadlines.pop(key, None)
            self._deadlines[key] = deadline
            self._users.setdefault(record.user_id, {})[record.connection_id] = attrs.evolve(
                record, expires_at=expires_at
            )

    async def refresh(self, records: Sequence[SessionRecord], /) -> None:
        """Extend the leases; an entry that is gone is written again."""
        await self.add(records)

    async def remove(self, records: Sequence[SessionRecord], /) -> None:
        """Remove exactly these connections' entries."""
        self._expire()
        for record in records:
            self._drop(record.user_id, record.connection_id)

    async def lookup(self, user_id: UserId, /) -> Sequence[SessionRecord]:
        """The user's live entries, newest connection first."""
        self._expire()
        entries = self._users.get(user_id, {}).values()
        return sorted(entries, key=lambda record: record.connected_at, reverse=True)

    async def aclose(self) -> None:
        """Nothing is held: entries stay for the other gateways of the process."""

    def _expire(self) -> None:
        now = self.clock.monotonic()
        while self._deadlines:
            key = next(iter(self._deadlines))
            if self._deadlines[key] > now:
                return
            self._drop(*key)

    def _drop(self, user_id: UserId, connection_id: ConnectionId) -> None:
        if self._deadlines.pop((user_id, connection_id), None) is None:
            return
        entries = self._users[user_id]
        del entries[connection_id]
        if not entries:
            del self._users[user_id]
