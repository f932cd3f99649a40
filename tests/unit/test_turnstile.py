"""A crowd passes in order, a few in each turn, and nobody is forgotten."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import anyio.lowlevel
import pytest
from tests.gateways import PATIENCE_SECONDS, eventually

from imgateway.core import turnstile as module
from imgateway.core.turnstile import FEWEST, MOST, Turnstile

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def crowd(turnstile: Turnstile, size: int) -> AsyncIterator[list[int]]:
    """So many clients that came one after the other; who has passed."""
    passed: list[int] = []

    async def client(number: int) -> None:
        if await turnstile.enter():
            passed.append(number)

    async with anyio.create_task_group() as tasks:
        for number in range(size):
            tasks.start_soon(client, number)
            await anyio.lowlevel.checkpoint()
        yield passed
        tasks.cancel_scope.cancel()


async def test_a_few_pass_at_once() -> None:
    turnstile = Turnstile()
    for _ in range(FEWEST):
        with anyio.fail_after(PATIENCE_SECONDS):
            assert await turnstile.enter()
    with anyio.move_on_after(0.05) as waiting:
        await turnstile.enter()
    assert waiting.cancelled_caught


async def test_a_crowd_passes_in_order_and_in_turns() -> None:
    turnstile = Turnstile()
    async with crowd(turnstile, 2000) as passed, anyio.create_task_group() as tasks:
        tasks.start_soon(turnstile.run)
        steps = []
        while len(passed) < 2000:
            before = len(passed)
            await anyio.lowlevel.checkpoint()
            steps.append(len(passed) - before)
        # trio may give a task two turns on end.
        assert max(steps) <= 3 * MOST
        assert sorted(passed) == list(range(2000))
        tasks.cancel_scope.cancel()


async def test_the_first_to_come_is_the_first_to_pass() -> None:
    turnstile = Turnstile()
    async with crowd(turnstile, 500) as passed, anyio.create_task_group() as tasks:
        tasks.start_soon(turnstile.run)
        await eventually(lambda: len(passed) == 500)
        # Those of one turn may run in any order under trio, those of different turns not.
        assert all(abs(place - number) <= MOST for place, number in enumerate(passed))
        tasks.cancel_scope.cancel()


async def test_who_gives_up_waiting_takes_nobodys_turn() -> None:
    turnstile = Turnstile()
    for _ in range(FEWEST):
        await turnstile.enter()
    with anyio.move_on_after(0.01):
        await turnstile.enter()
    async with crowd(turnstile, 3) as passed, anyio.create_task_group() as tasks:
        tasks.start_soon(turnstile.run)
        await eventually(lambda: len(passed) == 3)
        tasks.cancel_scope.cancel()


async def test_too_many_do_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_WAITING", 2)
    turnstile = Turnstile()
    async with crowd(turnstile, FEWEST + 2) as passed:
        await eventually(lambda: len(passed) == FEWEST and len(turnstile._waiting) == 2)
        with anyio.fail_after(PATIENCE_SECONDS):
            assert not await turnstile.enter()


async def test_after_a_quiet_time_a_client_passes_at_once() -> None:
    turnstile = Turnstile()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(turnstile.run)
        for _ in range(5 * MOST):
            assert await turnstile.enter()
        await anyio.sleep(0.01)
        with anyio.fail_after(PATIENCE_SECONDS):
            assert await turnstile.enter()
        tasks.cancel_scope.cancel()
