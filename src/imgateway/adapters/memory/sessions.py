"""The session store within the process: shared by the gateways that run in it."""

from collections.abc import Sequence

import attrs

from imgateway.codes import Code
from imgateway.model import LATE_MS, ConnectionId, DevicePolicy, Displaced, SessionRecord, UserId
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
    _displaced: dict[tuple[UserId, ConnectionId], float] = attrs.field(factory=dict, init=False)

    async def add(self, records: Sequence[SessionRecord], policy: DevicePolicy | None = None, /) -> Sequence[Displaced]:
        """Write entries, or write them again; whom they displace, and who was not written."""
        self._expire()
        deadline = self.clock.monotonic() + self.ttl_seconds
        expires_at = self.clock.now() + round(self.ttl_seconds * 1000)
        displaced: list[Displaced] = []
        for record in records:
            key = record.user_id, record.connection_id
            if key in self._displaced:
                displaced.append(Displaced.of(record))
                continue
            if policy is not None and key not in self._deadlines:
                excess = self._excess(record, policy)
                displaced += excess
                if any(each.connection_id == record.connection_id for each in excess):
                    continue
            self._deadlines.pop(key, None)
            self._deadlines[key] = deadline
            self._users.setdefault(record.user_id, {})[record.connection_id] = attrs.evolve(
                record, expires_at=expires_at
            )
        return displaced

    async def refresh(self, records: Sequence[SessionRecord], /) -> Sequence[Displaced]:
        """Extend the leases; an entry that is gone is written again, unless it was displaced."""
        return await self.add(records)

    async def remove(self, records: Sequence[SessionRecord], /) -> None:
        """Remove exactly these connections' entries."""
        self._expire()
        for record in records:
            self._drop(record.user_id, record.connection_id)
            self._displaced.pop((record.user_id, record.connection_id), None)

    async def lookup(self, user_id: UserId, /) -> Sequence[SessionRecord]:
        """The user's live entries, newest connection first."""
        self._expire()
        return self._newest_first(user_id)

    async def aclose(self) -> None:
        """Nothing is held: entries stay for the other gateways of the process."""

    def _newest_first(self, user_id: UserId) -> list[SessionRecord]:
        entries = sorted(self._users.get(user_id, {}).values(), key=lambda record: record.connected_at)
        # Turned round afterwards: of two that came within a millisecond the later one is the newer.
        entries.reverse()
        return entries

    def _excess(self, record: SessionRecord, policy: DevicePolicy) -> list[Displaced]:
        """Displace whom a new entry displaces; it may have to go itself."""
        is_late = self.clock.now() - record.connected_at > LATE_MS
        others = self._newest_first(record.user_id)
        newer = [each for each in others if is_late and each.connected_at > record.connected_at]
        same = [each for each in others if record.device_id is not None and each.device_id == record.device_id]
        if any(each in newer for each in same):
            return [Displaced.of(record)]
        rest = [each for each in others if each not in same]
        stays, leaving = True, same
        if policy.refuses:
            if not same and len(rest) >= policy.max_per_user:
                return [Displaced.of(record, Code.RATE_LIMITED)]
        else:
            stays = len(newer) < policy.max_per_user
            leaving = same + rest[policy.max_per_user - stays :]
        for each in leaving:
            self._drop(each.user_id, each.connection_id)
            self._displaced[each.user_id, each.connection_id] = self.clock.monotonic() + self.ttl_seconds
        return [Displaced.of(each) for each in (leaving if stays else [*leaving, record])]

    def _expire(self) -> None:
        now = self.clock.monotonic()
        while self._displaced:
            key = next(iter(self._displaced))
            if self._displaced[key] > now:
                break
            del self._displaced[key]
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
