"""One worker's place: its id and its door stay, processes come and go."""

import logging
import random
import signal
import socket
from collections.abc import Callable, Sequence
from typing import Final

import anyio
import attrs

from imgateway.core.settings import Settings
from imgateway.model import GatewayId
from imgateway_cli.supervising.process import WorkerProcess
from imgateway_cli.supervising.sharing import Place

FIRST_PAUSE_SECONDS: Final = 0.5
LONGEST_PAUSE_SECONDS: Final = 30.0
WELL_SECONDS: Final = 60.0
"""A worker that lived so long is started again as if it had never failed."""
READY_SECONDS: Final = 60.0
"""How long a replacement may take to become ready before the next worker is replaced."""

_log = logging.getLogger(__name__)


@attrs.define(eq=False)
class Slot:
    """Keeps one worker running.

    Attributes:
        worker_id: the worker's gateway id.
        settings: what the next process will have.
        on_change: called when its place may have changed.
        on_restart: called when a process ended unasked.
        failed: whether a process ended otherwise than drained since `part` was called.
    """

    worker_id: GatewayId
    settings: Settings
    doors: Sequence[socket.socket]
    on_change: Callable[[], None]
    on_restart: Callable[[], None]
    failed: bool = False
    _worker: WorkerProcess | None = None
    _latest: WorkerProcess | None = None
    _parting: bool = False
    _replacing: bool = False
    _failures: int = 0
    _hurry: anyio.Event = attrs.field(factory=anyio.Event)
    _begun: anyio.Event = attrs.field(factory=anyio.Event)

    @property
    def place(self) -> Place:
        """How things stand with it."""
        return Place.EMPTY if self._worker is None else self._worker.place

    async def run(self) -> None:
        """Start a worker, and another one whenever it ends; return when it has ended after `part`."""
        while not self._parting:
            self._hurry = anyio.Event()
            begun_at = anyio.current_time()
            status = await self._live()
            if self._parting:
                self.failed = status != 0
            elif not self._replacing:
                await self._pause(status, anyio.current_time() - begun_at)

    def part(self) -> None:
        """Let the worker drain together with all others; none follows."""
        self._parting = True
        self._hurry.set()
        if self._worker is not None:
            self._worker.drain(together=True)

    def kill(self) -> None:
        """End the worker at once; after `part`."""
        if self._worker is not None:
            self._worker.kill()

    async def replace(self, settings: Settings, /) -> bool:
        """Let the worker drain, and return when another one with `settings` is in its place and ready.

        One that ends before it was ready gets the former settings again, and is kept running with them.

        Returns:
            False for one that ended; True where it is ready, or did not become it within `READY_SECONDS`.
        """
        former, self.settings = self.settings, settings
        self._replacing, self._begun = True, anyio.Event()
        self._hurry.set()
        if self._worker is not None:
            self._worker.drain()
        await self._begun.wait()
        worker = self._latest
        assert worker is not None  # noqa: S101  # what has begun
        with anyio.move_on_after(READY_SECONDS) as time:
            await worker.settled.wait()
        if worker.ended:
            self.settings = former
            return False
        if time.cancelled_caught:
            _log.warning("the new worker is not ready yet", extra={"worker": self.worker_id})
        return True

    async def metrics(self) -> bytes | None:
        """The worker's metrics; None where it does not say them in time."""
        return None if self._worker is None else await self._worker.metrics()

    def share(self, doors: tuple[int, ...], *, elsewhere: bool) -> None:
        """Tell the worker its doors."""
        if self._worker is not None:
            self._worker.share(doors, elsewhere=elsewhere)

    async def _live(self) -> int | None:
        """From the start of a process to its end: its exit status; None where it could not be started."""
        self._worker = self._latest = worker = WorkerProcess(self.settings, self.doors, self.on_change)
        self._replacing = False
        self._begun.set()
        try:
            return await worker.run()
        except OSError as error:
            _log.error("a worker can't be started", extra={"worker": self.worker_id, "why": error.strerror})
            return None
        finally:
            self._worker = None

    async def _pause(self, status: int | None, lived: float) -> None:
        self._failures = 0 if lived >= WELL_SECONDS else self._failures
        seconds = pause_seconds(self._failures)
        self._failures += 1
        self.on_restart()
        _log.warning(
            "a worker ended, and is started again",
            extra={"worker": self.worker_id, "status": described(status), "pause_seconds": round(seconds, 2)},
        )
        with anyio.move_on_after(seconds):
            await self._hurry.wait()


def pause_seconds(failures: int, /) -> float:
    """How long to wait after so many failures in a row: doubling, bounded, shortened at random by up to half."""
    longest = min(FIRST_PAUSE_SECONDS * (1 << min(failures, 30)), LONGEST_PAUSE_SECONDS)
    return longest * random.uniform(0.5, 1.0)


def described(status: int | None, /) -> str:
    """An exit status in words."""
    if status is None:
        return "not started"
    if status >= 0:
        return f"exit code {status}"
    try:
        return f"ended by {signal.Signals(-status).name}"
    except ValueError:
        return f"ended by signal {-status}"
