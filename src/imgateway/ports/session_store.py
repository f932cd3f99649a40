"""Which gateways is a user on?"""

from collections.abc import Sequence
from typing import Protocol

from imgateway.model import DevicePolicy, Displaced, SessionRecord, UserId


class SessionStore(Protocol):
    """User to gateway, leased: an entry that is not refreshed within the time to live is gone.

    Shared by all gateways; every change is atomic for its user. Time is the store's own, never the caller's.
    `ServiceUnavailableError` from any call means: not known whether it took effect; all calls may be repeated.

    A displaced connection has no entry any more, and gets none again: for at least the time to live the store remembers
    it, until it is removed, and tells whoever writes it.
    """

    async def add(self, records: Sequence[SessionRecord], policy: DevicePolicy | None = None, /) -> Sequence[Displaced]:
        """Write entries, or write them again, in the list's order: presence is there when this returns.

        With a policy each entry that is not there yet displaces others of its user: those of the same device, unless it
        has none; then, where there are more than `max_per_user`, the oldest. Where the policy refuses, none goes for
        number's sake: an entry that finds no room, and replaces none of its device, is itself displaced.

        An entry that comes within `LATE_MS` of its `connected_at` is newer than all others, so that clocks that differ
        a little decide nothing. A later one (the store was away) is as old as it says: it does not displace newer ones,
        but may be displaced by them. An entry that is there already displaces nobody.

        Returns whom this call displaced, and those of `records` that were not written.
        """
        ...

    async def refresh(self, records: Sequence[SessionRecord], /) -> Sequence[Displaced]:
        """Extend the leases; an entry that is gone (the store lost its data) is written again.

        Displaces nobody. Returns those of `records` that were displaced before, and so not written.
        """
        ...

    async def remove(self, records: Sequence[SessionRecord], /) -> None:
        """Remove exactly these connections' entries; those that are not there are passed over."""
        ...

    async def lookup(self, user_id: UserId, /) -> Sequence[SessionRecord]:
        """The user's live entries by `connected_at`, newest first: a back end routes to the first one's gateway."""
        ...

    async def aclose(self) -> None:
        """Release everything held; entries stay until they expire or are removed. Idempotent."""
        ...
