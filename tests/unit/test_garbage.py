"""Long-lived objects are left out of garbage collection, and what they leave behind is found in the end."""

import gc
import weakref
from collections.abc import Iterator

import anyio
import pytest
from tests.gateways import eventually

from imgateway_cli import garbage

pytestmark = pytest.mark.anyio


class Circle:
    """Garbage that only a collection finds."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture(autouse=True)
def _as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(garbage, "CHECK_SECONDS", 0.001)
    thresholds = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*thresholds)


async def test_settled_connections_are_left_out_until_half_of_them_are_gone() -> None:
    there = 0
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(garbage.leave_out_settled, lambda: there)
        circle = Circle()
        kept = weakref.ref(circle)
        there = garbage.NEWLY_SETTLED
        await eventually(lambda: gc.get_freeze_count() > 0)
        del circle
        gc.collect()
        assert kept() is not None
        there = garbage.NEWLY_SETTLED // 2
        await eventually(lambda: kept() is None)
        tasks.cancel_scope.cancel()


async def test_a_few_connections_change_nothing() -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(garbage.leave_out_settled, lambda: garbage.NEWLY_SETTLED - 1)
        await anyio.sleep(0.02)
        assert gc.get_freeze_count() == 0
        tasks.cancel_scope.cancel()


def test_what_is_loaded_is_left_out_at_the_start() -> None:
    garbage.collect_seldom()
    assert gc.get_freeze_count() > 1000
    assert gc.get_threshold()[0] == garbage.YOUNG_OBJECTS
