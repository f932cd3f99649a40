"""Time that a test turns by hand, and the contract of `ports.Clock`."""

from contextlib import AbstractAsyncContextManager

import anyio
import attrs

from imgateway.ports import Clock
from imgateway.testing.suite import ContractSuite


@attrs.define(eq=False)
class VirtualClock:
    """Implements `ports.Clock`: stands still until `advance`.

    Attributes:
        wall: milliseconds since the epoch; starts at a fixed moment, so that runs repeat.
        seconds: the monotonic time.
    """

    wall: float = 1_700_000_000_000.0
    seconds: float = 0.0

    def now(self) -> int:
        """Milliseconds since the epoch."""
        return int(self.wall)

    def monotonic(self) -> float:
        """Seconds since the clock was made."""
        return self.seconds

    def advance(self, seconds: float, /) -> None:
        """Let `seconds` pass on both clocks."""
        if seconds < 0:
            raise ValueError("time does not go back")
        self.seconds += seconds
        self.wall += seconds * 1000


class ClockSuite(ContractSuite):
    """Every clock holds to this."""

    def make(self) -> AbstractAsyncContextManager[Clock]:
        """A clock."""
        raise NotImplementedError

    async def pass_time(self, seconds: float, /) -> None:
        """Let the clock advance. Waits, unless overridden by a clock that can be turned."""
        await anyio.sleep(seconds)

    async def test_the_wall_clock_counts_milliseconds_since_the_epoch(self) -> None:
        """`now` is a whole number of milliseconds since 1970, in this century."""
        async with self.make() as clock:
            assert type(clock.now()) is int
            assert 946_684_800_000 < clock.now() < 4_102_444_800_000

    async def test_monotonic_time_never_goes_back(self) -> None:
        """Later readings of `monotonic` are not smaller."""
        async with self.make() as clock:
            readings = []
            for _ in range(100):
                readings.append(clock.monotonic())
                await self.pass_time(0.0001)
            assert readings == sorted(readings)

    async def test_both_clocks_advance(self) -> None:
        """As time passes, `monotonic` grows by seconds and `now` by milliseconds; at least by about that time."""
        async with self.make() as clock:
            wall, monotonic = clock.now(), clock.monotonic()
            await self.pass_time(0.2)
            # At most within reason: a busy machine may sleep longer, but not for minutes.
            assert 0.19 <= clock.monotonic() - monotonic < 60
            assert 190 <= clock.now() - wall < 60_000
