"""Clocks: ours hold to the contract, broken ones do not."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from imgateway.core.clock import SystemClock
from imgateway.ports import Clock
from imgateway.testing import ClockSuite, VirtualClock, assert_caught


@pytest.mark.anyio
class TestSystemClock(ClockSuite):
    @asynccontextmanager
    async def make(self) -> AsyncIterator[Clock]:
        yield SystemClock()


@pytest.mark.anyio
class TestVirtualClock(ClockSuite):
    clock: Callable[[], VirtualClock] = VirtualClock
    _made: VirtualClock

    @asynccontextmanager
    async def make(self) -> AsyncIterator[Clock]:
        self._made = self.clock()
        yield self._made

    async def pass_time(self, seconds: float, /) -> None:
        self._made.advance(seconds)


def test_virtual_time_does_not_go_back() -> None:
    with pytest.raises(ValueError, match="go back"):
        VirtualClock().advance(-1)


class CountsSeconds(VirtualClock):
    def now(self) -> int:
        return super().now() // 1000


class CountsMilliseconds(VirtualClock):
    def monotonic(self) -> float:
        return super().monotonic() * 1000


class GoesBack(VirtualClock):
    def monotonic(self) -> float:
        return -super().monotonic()


class IsAFloat(VirtualClock):
    def now(self) -> int:
        return self.wall  # type: ignore[return-value]  # that is what is broken


class StandsStill(VirtualClock):
    def advance(self, seconds: float, /) -> None:
        pass


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("broken", "clauses"),
    [
        (CountsSeconds, "the_wall_clock_counts_milliseconds_since_the_epoch"),
        (IsAFloat, "the_wall_clock_counts_milliseconds_since_the_epoch"),
        (CountsMilliseconds, "both_clocks_advance"),
        (GoesBack, "monotonic_time_never_goes_back"),
        (StandsStill, "both_clocks_advance"),
    ],
)
async def test_broken_clocks_are_caught(broken: Callable[[], VirtualClock], clauses: str) -> None:
    suite = TestVirtualClock()
    suite.clock = broken
    await assert_caught(suite, *clauses.split())
