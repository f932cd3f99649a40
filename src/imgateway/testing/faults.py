"""Ports with faults that a test switches on: each wraps an implementation that works."""

from collections import deque
from collections.abc import Sequence

import anyio
import anyio.lowlevel
import attrs

from imgateway.errors import ServiceUnavailableError
from imgateway.model import DevicePolicy, Displaced, OutgoingRecord, PublishFailure, Receipt, SessionRecord, UserId
from imgateway.ports import PublishTicket, SessionStore, UpstreamPublisher

SPOILED_TOPIC = "spoiled-by-a-test"
"""Where records go that `FaultyPublisher.fail_next` keeps from their own topic."""


@attrs.frozen
class _Failing:
    """Answers when the broker does, but with a failure."""

    ticket: PublishTicket
    failure: PublishFailure

    def settled(self, outcome: Receipt | PublishFailure, /) -> None:
        self.ticket.settled(self.failure)


@attrs.define(eq=False)
class FaultyPublisher:
    """Implements `ports.UpstreamPublisher` in front of another one, which must take what this one takes.

    Attributes:
        inner: who writes.
        full: whether `offer` takes nothing.
    """

    inner: UpstreamPublisher
    full: bool = False
    _held: deque[tuple[OutgoingRecord, PublishTicket]] | None = attrs.field(default=None, init=False)
    _failures: deque[tuple[PublishFailure, bool]] = attrs.field(factory=deque, init=False)
    _released: anyio.Event = attrs.field(factory=anyio.Event, init=False)

    @property
    def held(self) -> int:
        """How many records are held back."""
        return len(self._held or ())

    def hold(self) -> None:
        """From now on take records, but neither write nor settle them."""
        if self._held is None:
            self._held = deque()
            self._released = anyio.Event()

    def release(self) -> None:
        """Write what was held back, in order, and hold back no more."""
        held, self._held = self._held or (), None
        for record, ticket in held:
            if not self.inner.offer(record, ticket):
                ticket.settled(PublishFailure.UNKNOWN)
        self._released.set()

    def fail_next(self, failure: PublishFailure, /, *, count: int = 1, written: bool = False) -> None:
        """Settle the next `count` records with `failure`, when the inner publisher would have settled them.

        `written`: whether they are written all the same, as an `UNKNOWN` one may be.
        """
        self._failures.extend([(failure, written)] * count)

    def offer(self, record: OutgoingRecord, ticket: PublishTicket, /) -> bool:
        """Take a record, as the switches say."""
        if self.full:
            return False
        if self._failures:
            failure, written = self._failures.popleft()
            ticket = _Failing(ticket, failure)
            record = record if written else attrs.evolve(record, topic=SPOILED_TOPIC)
        if self._held is None:
            return self.inner.offer(record, ticket)
        self._held.append((record, ticket))
        return True

    async def flush(self) -> None:
        """Wait for what is held back to be released, and for the inner publisher."""
        if self._held:
            await self._released.wait()
        await self.inner.flush()

    async def aclose(self) -> None:
        """Settle what is held back `UNKNOWN`, and close the inner publisher."""
        held, self._held = self._held or (), None
        for _, ticket in held:
            ticket.settled(PublishFailure.UNKNOWN)
        self._released.set()
        await self.inner.aclose()


@attrs.define(eq=False)
class FaultySessionStore:
    """Implements `ports.SessionStore` in front of another one.

    Attributes:
        inner: who stores.
        down: whether every call raises `ServiceUnavailableError`, without effect.
    """

    inner: SessionStore
    down: bool = False
    _hanging: anyio.Event | None = attrs.field(default=None, init=False)

    def hang(self) -> None:
        """From now on no call returns before `release`."""
        if self._hanging is None:
            self._hanging = anyio.Event()

    def release(self) -> None:
        """Let the calls that hang, and all that follow, go on."""
        if self._hanging is not None:
            self._hanging.set()
            self._hanging = None

    async def add(self, records: Sequence[SessionRecord], policy: DevicePolicy | None = None, /) -> Sequence[Displaced]:
        """Add, as the switches say."""
        await self._obstruct()
        return await self.inner.add(records, policy)

    async def refresh(self, records: Sequence[SessionRecord], /) -> Sequence[Displaced]:
        """Refresh, as the switches say."""
        await self._obstruct()
        return await self.inner.refresh(records)

    async def remove(self, records: Sequence[SessionRecord], /) -> None:
        """Remove, as the switches say."""
        await self._obstruct()
        await self.inner.remove(records)

    async def lookup(self, user_id: UserId, /) -> Sequence[SessionRecord]:
        """Look up, as the switches say."""
        await self._obstruct()
        return await self.inner.lookup(user_id)

    async def aclose(self) -> None:
        """Close the inner store, whatever the switches say."""
        await self.inner.aclose()

    async def _obstruct(self) -> None:
        await anyio.lowlevel.checkpoint()
        if self._hanging is not None:
            await self._hanging.wait()
        if self.down:
            raise ServiceUnavailableError("the session store is down")
