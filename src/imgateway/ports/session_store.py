"""Which gateways is a user on?"""

from collections.abc import Sequence
from typing import Protocol

from imgateway.model import SessionRecord, UserId


class SessionStore(Protocol):
    """User to gateway, leased: an entry that is not refreshed within the time to live is gone.

    Shared by all gateways; every change is atomic for its user. Time is the store's own, never the caller's.
    `ServiceUnavailableError` from any call means: not known whether it took effect; all calls may be repeated.
    """

    async def add(self, records: Sequence[SessionRecord], /) -> None:
        """Write entries, or write them again, in the list's order: presence is there when this returns."""
        ...

    async def refresh(self, records: Sequence[SessionRecord], /) -> None:
        """Extend the leases; an entry that is gone (the store lost its data) is written again."""
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
