"""Keeping garbage collection from visiting every object of every connection again and again."""

import gc
from collections.abc import Callable

import anyio

YOUNG_OBJECTS = 100_000
"""So many more objects than were freed make a collection: messages on their way are many and short-lived."""
CHECK_SECONDS = 1.0
NEWLY_SETTLED = 2_000
"""Connections after which what is there is left out: about 20 ms of collecting at a time."""


def collect_seldom() -> None:
    """Leave what is loaded now out of garbage collection, and collect less often than usual."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, 20, 50)


async def leave_out_settled(connections: Callable[[], int]) -> None:
    """Leave the objects of long-lived connections out, until cancelled; `connections` says how many there are.

    They go by counting references when a connection ends. What does not, because it stood in a circle when it was left
    out, is found when half of the connections have gone.
    """
    settled = 0
    while True:
        await anyio.sleep(CHECK_SECONDS)
        there = connections()
        if there <= settled // 2 and settled:
            gc.unfreeze()
        elif there < settled + NEWLY_SETTLED:
            continue
        gc.collect()
        gc.freeze()
        settled = there
