"""What is large is converted beside the event loop, and few at a time."""

import asyncio
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor

import anyio
import pytest

from imgateway.adapters.grpc.calling import LARGE_BYTES, Caller
from imgateway.adapters.grpc.places import Places
from imgateway.rpc import RestProblem

pytestmark = pytest.mark.anyio

AT_ONCE = 2


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def caller() -> AsyncIterator[Caller]:
    with ThreadPoolExecutor(AT_ONCE) as threads:
        yield Caller(Places({}, {}), frozenset(), threads)


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


async def test_few_at_once_however_many_clients_leave(caller: Caller) -> None:
    """Those who leave let nothing more be done at a time, and what has not begun is not done at all."""
    begun, goes_on = threading.Semaphore(0), threading.Event()
    done: list[int] = []

    def convert(number: int) -> bytes:
        begun.release()
        assert goes_on.wait(10)
        done.append(number)
        return b""

    left = [
        asyncio.ensure_future(caller.beside(LARGE_BYTES, lambda number=number: convert(number)))  # type: ignore[misc]  # bound at once
        for number in range(4 * AT_ONCE)
    ]
    await asyncio.to_thread(lambda: [begun.acquire() for _ in range(AT_ONCE)])
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
    goes_on.set()
    assert await caller.beside(LARGE_BYTES, lambda: b"next") == b"next"
    assert len(done) <= AT_ONCE


async def test_what_is_made_in_a_thread_takes_of_the_time(caller: Caller) -> None:
    for size in (1, LARGE_BYTES):
        made = await caller.request(size, lambda: b"request", 10.0)
        assert not isinstance(made, RestProblem)
        message, left = made
        assert message == b"request"
        assert left < 10.0
