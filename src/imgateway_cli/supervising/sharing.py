"""Who takes the connections that arrive at whose door."""

from collections.abc import Sequence
from enum import IntEnum


class Place(IntEnum):
    """How things stand with one worker."""

    EMPTY = 0
    """There is no process, or it can't serve yet."""
    SERVING = 1
    """It answers, and is not ready."""
    READY = 2
    """Clients are welcome."""


def shares(places: Sequence[Place], /) -> list[tuple[int, ...]]:
    """For each worker the doors that it takes connections from.

    A worker keeps its own door while it is ready, or nobody is. The doors of the others are dealt out in turn: to the
    ready ones, and where there are none, those of the empty places to whoever answers. So each door has one worker
    as long as there is any.
    """
    best = max(places, default=Place.EMPTY)
    takers = [number for number, place in enumerate(places) if place == best]
    dealt: list[list[int]] = [[] for _ in places]
    if best > Place.EMPTY:
        orphans = 0
        for door, place in enumerate(places):
            if place == best:
                dealt[door].append(door)
            else:
                dealt[takers[orphans % len(takers)]].append(door)
                orphans += 1
    return [tuple(doors) for doors in dealt]
