"""Round trips to the broker, spaced while there is much to carry: each costs the same however little it carries."""

import asyncio

import attrs

SPACE_SECONDS = 0.004
FEW = 4
"""Where fewer records were carried since the last turn, nobody waits for the next."""


@attrs.define(eq=False)
class Pace:
    """Gives turns, at most one in `SPACE_SECONDS` while a `FEW` records or more are carried in each.

    All who wait for the same turn have it together. A single record now and then is never held up.

    Attributes:
        carried: how many records were carried since the last turn began; counted by whoever carries them.
    """

    carried: int = 0
    _began: float = 0.0

    async def turn(self) -> None:
        """Return when a turn has begun; at the soonest in the event loop's next turn."""
        now = asyncio.get_running_loop().time()
        due = self._began + SPACE_SECONDS
        if now >= due or self.carried < FEW:
            await asyncio.sleep(0)
            self._begin(now)
        else:
            await asyncio.sleep(due - now)
            self._begin(due)

    def _begin(self, at: float) -> None:
        if at > self._began:
            self._began = at
            self.carried = 0
