"""How many clients begin to connect at once: of a crowd a few at a time, so that others are served meanwhile."""

from collections import deque

import anyio
import anyio.lowlevel
import attrs

FEWEST = 4
MOST = 64
"""A client costs a fraction of a millisecond: so many are about the slice that flushing takes as well."""
MOST_WAITING = 20_000


@attrs.define(eq=False)
class Turnstile:
    """Lets clients pass in the order in which they came, so many in each turn of the event loop.

    The number begins small, since everything is new to a process that has just started, and doubles with each turn in
    which it did not do. Whoever would be the `MOST_WAITING`th to wait does not pass.
    """

    _batch: int = FEWEST
    _left: int = FEWEST
    _waiting: deque[anyio.Event] = attrs.field(factory=deque)
    _used: anyio.Event = attrs.field(factory=anyio.Event)

    async def enter(self) -> bool:
        """Return when it is this client's turn; False where too many wait. Needs `run`."""
        if self._left and not self._waiting:
            self._left -= 1
            self._used.set()
            return True
        if len(self._waiting) >= MOST_WAITING:
            return False
        turn = anyio.Event()
        self._waiting.append(turn)
        self._used.set()
        await turn.wait()
        return True

    def begin_anew(self) -> None:
        """Begin small again."""
        self._batch = FEWEST

    async def run(self) -> None:
        """Let clients pass until cancelled."""
        while True:
            await self._used.wait()
            self._used = anyio.Event()
            while True:
                await anyio.lowlevel.checkpoint()
                if self._waiting:
                    self._batch = min(2 * self._batch, MOST)
                self._left = self._batch
                while self._left and self._waiting:
                    self._left -= 1
                    self._waiting.popleft().set()
                if not self._waiting:
                    break
