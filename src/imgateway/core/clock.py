"""The clock of the machine."""

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from imgateway.ports import Clock


class SystemClock:
    """Implements `ports.Clock` by the operating system's clocks."""

    __slots__ = ()

    def now(self) -> int:
        """Milliseconds since the epoch, as the machine believes; jumps when its clock is set."""
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        """Seconds; stands still where the machine sleeps."""
        return time.monotonic()


if TYPE_CHECKING:
    _: Clock = SystemClock()
