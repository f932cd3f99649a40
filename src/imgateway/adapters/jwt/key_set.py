"""Where an authenticator has its keys from: fixed ones, or a published key set that is kept up to date."""

import logging
import math
from collections.abc import Callable
from typing import Final, Protocol

import anyio
import anyio.to_thread
import attrs

from imgateway.adapters.jwt.keys import Keys
from imgateway.adapters.jwt.refusals import unavailable
from imgateway.adapters.jwt.signatures import Header
from imgateway.errors import ServiceUnavailableError
from imgateway.model import Refusal
from imgateway.ports import Clock

FETCH_SECONDS: Final = 5.0
"""How long a key server may take."""
REFRESH_SECONDS: Final = 600.0
"""Keys older than this are fetched anew."""
STALE_SECONDS: Final = 3600.0
"""Keys older than this no longer count: one of them may have been withdrawn meanwhile."""
ASK_SECONDS: Final = 60.0
"""How often at most an unknown key, or an age that could not be helped, leads to a fetch."""
RETRY_SECONDS: Final = 5.0
"""How often at most a fetch is tried while there are no keys at all."""

_log = logging.getLogger(__name__)


class KeySource(Protocol):
    """Gives the keys that count now."""

    def ready(self) -> Keys | None:
        """The keys, where they can be had without asking anybody and need no refresh."""
        ...

    async def keys_for(self, header: Header, /) -> Keys | Refusal:
        """The keys to try on a token with this header, or `UNAVAILABLE`."""
        ...


@attrs.frozen
class FixedKeys:
    """Implements `KeySource` by the keys of the settings."""

    keys: Keys

    def ready(self) -> Keys | None:
        """The keys."""
        return self.keys

    async def keys_for(self, header: Header, /) -> Keys | Refusal:
        """The keys."""
        return self.keys


@attrs.define(eq=False)
class PublishedKeys:
    """Implements `KeySource` by a key set that is fetched when it is needed: never twice at a time.

    It is fetched when a token needs it and it is older than `REFRESH_SECONDS`, or when a token needs a key that it
    lacks; each at most once in `ASK_SECONDS`. While it can't be fetched it counts for `STALE_SECONDS`.

    Attributes:
        fetch: brings the document, in a thread; raises `ServiceUnavailableError`.
        parse: makes keys of it; raises `ServiceUnavailableError` where it is no key set.
        clock: its monotonic time decides.
    """

    fetch: Callable[[], bytes]
    parse: Callable[[bytes], Keys]
    clock: Clock
    _lock: anyio.Lock = attrs.field(factory=anyio.Lock, init=False)
    _keys: Keys | None = attrs.field(default=None, init=False)
    _document: bytes = attrs.field(default=b"", init=False, repr=False)
    _loaded_at: float = attrs.field(default=-math.inf, init=False)
    _tried_at: float = attrs.field(default=-math.inf, init=False)
    _asked_at: float = attrs.field(default=-math.inf, init=False)
    _failed: bool = attrs.field(default=False, init=False)
    _in_thread: bool = attrs.field(default=False, init=False)

    def ready(self) -> Keys | None:
        """The keys, while they are fresh or a refresh was tried lately."""
        return self._usable() if not self._is_due() else None

    async def keys_for(self, header: Header, /) -> Keys | Refusal:
        """The keys, after a fetch where one is called for; a fetch in progress is shared by all who need its outcome.

        `UNAVAILABLE` where there are none that count, or where the token's key is unknown and the last fetch failed:
        the key may be a new one. Waits for twice `FETCH_SECONDS` at most. Who is cancelled while fetching goes on to
        the end of the fetch, since others wait for it.
        """
        if not self._knows(header) or self._is_due():
            async with self._lock:
                if self._is_due() or (not self._knows(header) and self._may_ask()):
                    await self._load(header)
        keys, now = self._usable(), self.clock.monotonic()
        if keys is None:
            return unavailable(self._tried_at + RETRY_SECONDS - now)
        if self._failed and not keys.matching(header):
            return unavailable(self._asked_at + ASK_SECONDS - now)
        return keys

    def _usable(self) -> Keys | None:
        return self._keys if self.clock.monotonic() - self._loaded_at <= STALE_SECONDS else None

    def _knows(self, header: Header) -> bool:
        keys = self._usable()
        return keys is not None and bool(keys.matching(header))

    def _is_due(self) -> bool:
        now = self.clock.monotonic()
        return (
            self._usable() is not None
            and now - self._loaded_at >= REFRESH_SECONDS
            and now - self._tried_at >= ASK_SECONDS
        )

    def _may_ask(self) -> bool:
        now = self.clock.monotonic()
        if self._usable() is None:
            return now - self._tried_at >= RETRY_SECONDS
        return now - self._asked_at >= ASK_SECONDS

    async def _load(self, header: Header) -> None:
        self._tried_at = self.clock.monotonic()
        if self._usable() is not None and not self._knows(header):
            self._asked_at = self._tried_at
        try:
            document = await self._fetched()
            # The same document keeps the same keys, and with them everything that was proven by them.
            keys = self.parse(document) if document != self._document or self._keys is None else self._keys
        except ServiceUnavailableError as error:
            self._failed = True
            _log.warning("The key set can't be fetched: %s", error)
        else:
            self._keys, self._document, self._failed = keys, document, False
            self._loaded_at = self.clock.monotonic()
            if not keys.keys:
                _log.warning("The key set has no key for the allowed algorithms: no token can be verified")
        self._tried_at = self.clock.monotonic()

    async def _fetched(self) -> bytes:
        if self._in_thread:
            raise ServiceUnavailableError("the previous request has not ended yet")

        def fetch() -> bytes:
            self._in_thread = True
            try:
                return self.fetch()
            finally:
                self._in_thread = False

        # Shielded, so that a client that goes away can't spoil the one fetch of the minute; abandoned, so that a server
        # that sends its answer byte by byte, or a name server that hangs, holds up one thread and nobody else.
        with anyio.move_on_after(FETCH_SECONDS, shield=True):
            return await anyio.to_thread.run_sync(fetch, abandon_on_cancel=True)
        raise ServiceUnavailableError(f"no answer within {FETCH_SECONDS:g} s")
