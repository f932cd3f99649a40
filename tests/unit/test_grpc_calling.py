"""What is large is converted beside the event loop."""

import threading

import anyio
import pytest

from imgateway.adapters.grpc.calling import LARGE_AT_ONCE, LARGE_BYTES, Caller
from imgateway.adapters.grpc.places import Places

pytestmark = pytest.mark.anyio


@pytest.fixture
def caller() -> Caller:
    return Caller(Places({}, {}), frozenset())


async def test_large_texts_do_not_hold_the_loop(caller: Caller) -> None:
    goes_on = threading.Event()

    def convert() -> bytes:
        assert goes_on.wait(10)
        return b"converted"

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(caller.beside, LARGE_BYTES, convert)
        await anyio.lowlevel.checkpoint()
        goes_on.set()


async def test_small_ones_cost_no_thread(caller: Caller) -> None:
    here = threading.get_ident()
    assert await caller.beside(LARGE_BYTES - 1, lambda: b"%d" % threading.get_ident()) == b"%d" % here


async def test_few_at_once(caller: Caller) -> None:
    counting, most, now = threading.Lock(), 0, 0
    together = threading.Barrier(LARGE_AT_ONCE)

    def convert() -> bytes:
        nonlocal most, now
        with counting:
            now += 1
            most = max(most, now)
        together.wait(10)
        with counting:
            now -= 1
        return b""

    async with anyio.create_task_group() as tasks:
        for _ in range(4 * LARGE_AT_ONCE):
            tasks.start_soon(caller.beside, LARGE_BYTES, convert)
    assert most == LARGE_AT_ONCE
