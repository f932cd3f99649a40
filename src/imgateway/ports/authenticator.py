"""Who is this client?"""

from typing import Protocol

from imgateway.model import Credentials, Identity, Refusal


class Authenticator(Protocol):
    """Proves who a client is from what it showed.

    Asked once for every connection, before the upgrade, and once for every `refresh-token`. Concurrent calls are legal.
    The gateway itself checks that the user id is well formed and that the proof has not ended.
    """

    async def authenticate(self, credentials: Credentials, /) -> Identity | Refusal:
        """The proven identity, or why there is none: `UNAUTHENTICATED`, `TOKEN_EXPIRED` or `FORBIDDEN`.

        A refusal is a value: nothing that a client can send makes this raise. Where the proof can't be checked just now
        (a key server is down) the answer is `UNAVAILABLE` with `retry_after`. Bounded in time; may be cancelled.
        Credentials never reach a log, an exception's text or the refusal.
        """
        ...

    async def aclose(self) -> None:
        """Release everything held. Idempotent."""
        ...
