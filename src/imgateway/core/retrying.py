"""Trying again what a service that is down refused, with growing, jittered pauses."""

import logging
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

from imgateway.errors import ServiceUnavailableError

ResultT = TypeVar("ResultT")

FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 5.0
WELL_SECONDS = 60.0

_log = logging.getLogger(__name__)


class Backoff:
    """Pauses that double from `FIRST_PAUSE_SECONDS` to `LONGEST_PAUSE_SECONDS`.

    Each is shortened at random by up to half, so that many gateways don't come back in step.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begin with the shortest pause again."""
        self._next = FIRST_PAUSE_SECONDS

    def seconds(self) -> float:
        """How long to wait now; the next pause is longer."""
        now, self._next = self._next, min(2 * self._next, LONGEST_PAUSE_SECONDS)
        return now * random.uniform(0.5, 1.0)

    async def pause(self) -> None:
        """Wait for so long."""
        await anyio.sleep(self.seconds())


async def until_available(what: str, attempt: Callable[[], Awaitable[ResultT]], /) -> ResultT:
    """The result of the first attempt that does not raise `ServiceUnavailableError`; waits as long as it takes.

    Pauses by `Backoff`. A reason is logged when it is a new one, not each time. An attempt that went well for a while
    before it failed counts as the first. Cancellable at any time.
    """
    backoff, said = Backoff(), ""
    while True:
        begun = anyio.current_time()
        try:
            result = await attempt()
        except ServiceUnavailableError as error:
            why = str(error)
        else:
            if said:
                _log.info("available now", extra={"part": what})
            return result
        if anyio.current_time() - begun > WELL_SECONDS:
            backoff, said = Backoff(), ""
        if why != said:
            _log.warning("not available, trying again", extra={"part": what, "why": why})
        said = why
        await backoff.pause()
