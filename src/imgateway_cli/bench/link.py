"""The pipe between a process and the one that started it."""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any, Final

import attrs

REPORT_SECONDS: Final = 0.2
SLICE_SECONDS: Final = 0.1
"""How soon a sleeper notices that the run is to end."""
NAP_SECONDS: Final = 0.001
"""The shortest sleep: event loops count in milliseconds, and less would be spinning."""


@attrs.frozen
class Waiting:
    """Up: this process is done with what it did, and waits for the others."""


@attrs.frozen
class Progress:
    """Up: how much of a stage is done, and how much of it went wrong."""

    stage: int
    done: int
    bad: int


@attrs.frozen
class Failed:
    """Up: this process can't go on; the text is for the user."""

    text: str


@attrs.frozen
class Begin:
    """Down: all are there; the next stage begins at this time of the monotonic clock, in nanoseconds."""

    at: int


@attrs.frozen
class Stop:
    """Down: end early, with what there is."""


class Link:
    """The end in the process that works; must be used on its event loop.

    Attributes:
        stopped: whether to end early: the user wishes so, or the process that started this one is gone.
    """

    def __init__(self, pipe: Connection) -> None:
        self.stopped = False
        self._pipe = pipe
        self._stage = -1
        self._begin: asyncio.Future[int] | None = None
        self._stopping = asyncio.Event()
        self._count: Callable[[], tuple[int, int]] = lambda: (0, 0)
        asyncio.get_running_loop().add_reader(pipe.fileno(), self._receive)
        self._reporting = asyncio.create_task(self._report())

    async def meet(self) -> int:
        """Wait until every process is here; when the next stage begins, in nanoseconds of the monotonic clock."""
        self._begin = asyncio.get_running_loop().create_future()
        self._send(Waiting())
        if not self.stopped:
            both: list[asyncio.Future[Any]] = [self._begin, asyncio.ensure_future(self._stopping.wait())]
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            both[1].cancel()
        self._stage += 1
        self._count = lambda: (0, 0)
        return self._begin.result() if self._begin.done() else time.monotonic_ns()

    def watch(self, count: Callable[[], tuple[int, int]], /) -> None:
        """From now on tell how much is done of this stage, and how much went wrong."""
        self._count = count

    async def sleep_until(self, due: int, /) -> None:
        """Return at `due` (ns of the monotonic clock) or some 1 ms later, or when stopped; at once where it is past."""
        while not self.stopped and (left := due - time.monotonic_ns()) > 0:  # noqa: ASYNC110  # it is the time that is waited for
            await asyncio.sleep(max(NAP_SECONDS, min(left / 1e9, SLICE_SECONDS)))

    async def wait(self, task: "asyncio.Task[object]", /) -> None:
        """Wait for `task`; when stopped, cancel it. Raises what it raised."""
        stopping = asyncio.create_task(self._stopping.wait())
        await asyncio.wait([task, stopping], return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    async def aclose(self) -> None:
        """Tell nothing more."""
        asyncio.get_running_loop().remove_reader(self._pipe.fileno())
        self._reporting.cancel()
        with suppress(asyncio.CancelledError):
            await self._reporting

    def _receive(self) -> None:
        try:
            message = self._pipe.recv()
        except (EOFError, OSError):
            asyncio.get_running_loop().remove_reader(self._pipe.fileno())
            message = Stop()
        if isinstance(message, Stop):
            self.stopped = True
            self._stopping.set()
        elif self._begin is not None and not self._begin.done():
            self._begin.set_result(message.at)

    async def _report(self) -> None:
        while True:
            await asyncio.sleep(REPORT_SECONDS)
            if self._stage >= 0:
                self._send(Progress(self._stage, *self._count()))

    def _send(self, message: object) -> None:
        with suppress(OSError):  # nobody is left to be told
            self._pipe.send(message)
