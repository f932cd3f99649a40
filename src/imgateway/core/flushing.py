"""One writer for all connections: whoever has something to send is flushed once per turn of the event loop."""

from collections import deque
from typing import Protocol

import anyio
import anyio.lowlevel
import attrs

from imgateway.ports import Clock

SLICE_SECONDS = 0.008
"""How long flushing may keep the loop from reading: a record to thousands of sockets is spread over several turns."""


class Flushable(Protocol):
    """Something with bytes to write."""

    marked: bool

    def flush(self) -> bool:
        """Write everything that waits; False where the kernel may not have taken it all yet."""
        ...

    def settle(self) -> None:
        """Report what the kernel has taken since."""
        ...


@attrs.define(eq=False)
class Flusher:
    """Flushes marked connections, first marked first served.

    Attributes:
        hurried: whether a marked connection has much to flush: who sends it more should let it have its turn first.
            Set by connections; over with the next turn.
    """

    clock: Clock
    hurried: bool = False
    _marked: deque[Flushable] = attrs.field(factory=deque)
    _wake: anyio.Event = attrs.field(factory=anyio.Event)

    def mark(self, connection: Flushable, /) -> None:
        """Flush `connection` in the next turn. Never blocks; marking twice is marking once."""
        if not connection.marked:
            connection.marked = True
            if not self._marked:
                self._wake.set()
            self._marked.append(connection)

    async def run(self) -> None:
        """Flush until cancelled."""
        while True:
            await self._wake.wait()
            self._wake = anyio.Event()
            unsettled = await self._flush_marked()
            if unsettled:
                # Some event loops write at the end of their turn; look once more before leaving it to `drained`.
                await anyio.lowlevel.checkpoint()
                for connection in unsettled:
                    connection.settle()
            if self._marked:
                self._wake.set()

    async def _flush_marked(self) -> list[Flushable]:
        unsettled = []
        self.hurried = False
        marked, monotonic = self._marked, self.clock.monotonic
        until = monotonic() + SLICE_SECONDS
        for _ in range(len(marked)):
            connection = marked.popleft()
            connection.marked = False
            if not connection.flush():
                unsettled.append(connection)
            if monotonic() >= until:
                await anyio.lowlevel.checkpoint()
                until = monotonic() + SLICE_SECONDS
        return unsettled
