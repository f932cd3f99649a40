"""Writing to the memory broker."""

from collections import deque
from types import TracebackType
from typing import Self

import anyio
import anyio.abc
import anyio.lowlevel
import attrs

from imgateway.adapters.memory.broker import MemoryBroker
from imgateway.model import OutgoingRecord
from imgateway.ports.broker import PublishTicket

_SLICE = 256
"""Records written before other tasks get a turn."""


@attrs.define(eq=False)
class MemoryPublisher:
    """Implements `ports.UpstreamPublisher`. Runs within `async with`; a record is written and settled by its own task.

    Like a real broker it answers later: no ticket is settled inside `offer`.

    Attributes:
        broker: where records go.
        max_pending: how many records may wait for being written.
    """

    broker: MemoryBroker
    max_pending: int = 10_000
    _pending: deque[tuple[OutgoingRecord, PublishTicket]] = attrs.field(factory=deque, init=False)
    _taken: int = attrs.field(default=0, init=False)
    _settled: int = attrs.field(default=0, init=False)
    _running: bool = attrs.field(default=False, init=False)
    _offered: anyio.Event = attrs.field(factory=anyio.Event, init=False)
    _progress: anyio.Event = attrs.field(factory=anyio.Event, init=False)
    _tasks: anyio.abc.TaskGroup | None = attrs.field(default=None, init=False)

    async def __aenter__(self) -> Self:
        self._tasks = anyio.create_task_group()
        await self._tasks.__aenter__()
        self._running = True
        self._tasks.start_soon(self._write)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        await self.aclose()
        if self._tasks is None:
            return None
        return await self._tasks.__aexit__(kind, error, traceback)

    def offer(self, record: OutgoingRecord, ticket: PublishTicket, /) -> bool:
        """Take a record for writing, unless `max_pending` wait already or the publisher does not run."""
        if not self._running or len(self._pending) >= self.max_pending:
            return False
        self._pending.append((record, ticket))
        self._taken += 1
        self._offered.set()
        return True

    async def flush(self) -> None:
        """Wait until every record taken before this call is settled."""
        target = self._taken
        await anyio.lowlevel.checkpoint()
        while self._settled < target:
            await self._progress.wait()

    async def aclose(self) -> None:
        """Write out what was taken, and stop. Idempotent; never waits, so that cancellation can't cut it short."""
        self._running = False
        self._settle(len(self._pending))
        self._offered.set()

    async def _write(self) -> None:
        while self._running:
            await self._offered.wait()
            self._offered = anyio.Event()
            while self._pending:
                self._settle(_SLICE)
                await anyio.lowlevel.checkpoint()

    def _settle(self, limit: int) -> None:
        for _ in range(min(limit, len(self._pending))):
            record, ticket = self._pending.popleft()
            outcome = self.broker.append(record)
            self._settled += 1
            ticket.settled(outcome)
        self._progress.set()
        self._progress = anyio.Event()
