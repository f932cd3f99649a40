"""Turns are spaced while there is much to carry, and shared by all who wait for them."""

import asyncio

import anyio
import pytest

from imgateway.adapters.kafka import pace as module
from imgateway.adapters.kafka.pace import FEW, Pace

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def _long_spaces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Too long for a turn that has to wait to come by chance."""
    monkeypatch.setattr(module, "SPACE_SECONDS", 3600.0)


async def test_a_few_records_are_never_held_up() -> None:
    pace = Pace()
    for _ in range(100):
        with anyio.fail_after(5):
            await pace.turn()
        pace.carried += FEW - 1


async def test_with_many_the_next_turn_comes_later() -> None:
    pace = Pace()
    await pace.turn()
    pace.carried += FEW
    with anyio.move_on_after(0.05) as waiting:
        await pace.turn()
    assert waiting.cancelled_caught


async def test_all_who_wait_for_a_turn_have_it_together(monkeypatch: pytest.MonkeyPatch) -> None:
    pace = Pace()
    began: list[float] = []
    await pace.turn()
    pace.carried += FEW
    # The turn is due 0.1 s from now, however long it took to come here.
    monkeypatch.setattr(module, "SPACE_SECONDS", asyncio.get_running_loop().time() + 0.1 - pace._began)

    async def carry() -> None:
        await pace.turn()
        began.append(pace._began)
        pace.carried += FEW

    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(carry)
    assert len(set(began)) == 1
    assert pace.carried == 5 * FEW
    assert began[0] <= asyncio.get_running_loop().time()
