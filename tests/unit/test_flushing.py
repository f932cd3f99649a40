"""Everyone who has something to send is flushed once per turn, and nobody keeps the loop for long."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise

import anyio
import anyio.lowlevel
import attrs
import pytest
from tests.gateways import eventually, quiet

from imgateway.core.flushing import SLICE_SECONDS, Flusher
from imgateway.testing import VirtualClock

pytestmark = pytest.mark.anyio


@attrs.define(eq=False)
class Peer:
    """Something to flush that takes `seconds`."""

    name: int
    log: list[str]
    clock: VirtualClock
    seconds: float = 0.0
    done_at_once: bool = True
    marked: bool = False

    def flush(self) -> bool:
        self.log.append(f"flush {self.name}")
        self.clock.advance(self.seconds)
        return self.done_at_once

    def settle(self) -> None:
        self.log.append(f"settle {self.name}")


@asynccontextmanager
async def flushing() -> AsyncIterator[tuple[Flusher, VirtualClock]]:
    clock = VirtualClock()
    flusher = Flusher(clock)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(flusher.run)
        yield flusher, clock
        tasks.cancel_scope.cancel()


async def test_first_marked_is_first_flushed_and_marking_twice_is_marking_once() -> None:
    async with flushing() as (flusher, clock):
        log: list[str] = []
        peers = [Peer(number, log, clock) for number in range(5)]
        for peer in (*peers, *reversed(peers)):
            flusher.mark(peer)
        assert log == []
        await eventually(lambda: len(log) == 5)
        await quiet()
        assert log == [f"flush {number}" for number in range(5)]
        flusher.mark(peers[3])
        await eventually(lambda: len(log) == 6)
        assert not any(peer.marked for peer in peers)


async def test_others_get_a_turn_within_a_slice() -> None:
    async with flushing() as (flusher, clock):
        log: list[str] = []
        for number in range(40):
            flusher.mark(Peer(number, log, clock, seconds=SLICE_SECONDS / 4))
        seen = []
        while len(log) < 40:
            await anyio.lowlevel.checkpoint()
            seen.append(len(log))
        # Five are flushed in a slice; trio may give the same task two turns on end.
        assert max(later - earlier for earlier, later in pairwise(seen)) <= 2 * 5


async def test_who_is_marked_while_others_are_flushed_comes_behind_them() -> None:
    async with flushing() as (flusher, clock):
        log: list[str] = []
        for number in range(3):
            flusher.mark(Peer(number, log, clock, seconds=SLICE_SECONDS))
        await eventually(lambda: log)
        flusher.mark(Peer(9, log, clock))
        await eventually(lambda: len(log) == 4)
        assert log == ["flush 0", "flush 1", "flush 2", "flush 9"]


async def test_what_the_kernel_may_not_have_taken_at_once_is_looked_at_once_more() -> None:
    async with flushing() as (flusher, clock):
        log: list[str] = []
        flusher.mark(Peer(0, log, clock, done_at_once=False))
        flusher.mark(Peer(1, log, clock))
        await eventually(lambda: len(log) == 3)
        assert log == ["flush 0", "flush 1", "settle 0"]
