"""Parting from many clients without sending them all to the next gateway at once."""

import random
from collections.abc import Sequence

import anyio

from imgateway.codes import Code
from imgateway.core.connection import LiveConnection
from imgateway.model import CloseReason
from imgateway.wire.messages import Reconnect

STEP_SECONDS = 0.1
PER_SECOND = 1000
"""How many are parted from at least; more where the time would not do."""
SPREAD_MS = 5000
"""Clients are told to come back after a random time up to this."""


async def close_paced(connections: Sequence[LiveConnection], seconds: float, /) -> None:
    """Tell every client to reconnect and close it (1012), evenly over at most `seconds`.

    Each gets its own random delay. Those with messages in flight are closed when these are answered. Cancelling stops
    the parting; the rest stays connected.
    """
    reason = CloseReason.of(Code.DRAINING)
    step = max(1, int(PER_SECOND * STEP_SECONDS))
    if seconds > 0:
        step = max(step, -(-len(connections) * STEP_SECONDS // seconds).__ceil__())
    for start in range(0, len(connections), step):
        if start:
            await anyio.sleep(STEP_SECONDS)
        for connection in connections[start : start + step]:
            connection.drain(Reconnect(random.randrange(SPREAD_MS), "draining"), reason)
