"""The processes of the load, seen from the one that started them."""

import multiprocessing
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import reduce
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from operator import add
from typing import Any, Final

import attrs

from imgateway.errors import GatewayError
from imgateway_cli.bench.link import Begin, Failed, Progress, Stop, Waiting
from imgateway_cli.bench.plan import Plan, Share, Stage
from imgateway_cli.bench.tally import Tally
from imgateway_cli.bench.worker import work

HEAD_START_NS: Final = 20_000_000
"""Between the word to begin and the beginning, so that it reaches all processes before."""
END_SECONDS: Final = 2.0

_TICK_SECONDS: Final = 0.1


@attrs.frozen
class Sight:
    """Where the run is.

    Attributes:
        stage: what is done now.
        done: how much of it, over all processes.
        bad: how much went wrong.
        seconds: since the stage began.
    """

    stage: Stage
    done: int
    bad: int
    seconds: float


@attrs.frozen
class Outcome:
    """A run that is over; `interrupted` where the user ended it."""

    tally: Tally
    interrupted: bool


@attrs.define(eq=False)
class _Worker:
    process: BaseProcess
    pipe: Connection
    waiting: bool = False
    progress: Progress = attrs.field(factory=lambda: Progress(-1, 0, 0))
    tally: Tally | None = None

    def receive(self) -> None:
        """Take what is in the pipe."""
        while self.tally is None and self.pipe.poll():
            try:
                message = self.pipe.recv()
            except (EOFError, OSError):
                self.process.join(END_SECONDS)
                raise GatewayError(
                    f"{self.process.name} ended before its time, exit code {self.process.exitcode}"
                ) from None
            if isinstance(message, Failed):
                raise GatewayError(message.text)
            if isinstance(message, Tally):
                self.tally = message
            elif isinstance(message, Progress):
                self.progress = message
            else:
                self.waiting = isinstance(message, Waiting)

    def send(self, message: Begin | Stop) -> None:
        with suppress(OSError):  # it has ended, which the next `receive` finds
            self.pipe.send(message)


def run(plan: Plan, show: Callable[[Sight], None], /) -> Outcome:
    """Carry the plan out. Blocks; `show` is called some times a second.

    The first SIGINT or SIGTERM ends the run early, the second raises `KeyboardInterrupt`. No process is left.

    Raises:
        GatewayError: a process died or could not go on.
    """
    with _interruptible() as interrupts:
        workers: list[_Worker] = []
        try:
            _start(plan, workers)
            return _followed(plan, workers, interrupts, show)
        finally:
            for worker in workers:
                worker.pipe.close()
                worker.process.join(END_SECONDS if worker.tally is not None else 0)
                worker.process.kill()
                worker.process.join()


def _start(plan: Plan, workers: list[_Worker]) -> None:
    context = multiprocessing.get_context("spawn")
    # Ignored while they start: they inherit that, and Ctrl-C in a shell goes to all of them.
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        for index in range(plan.processes):
            ours, theirs = context.Pipe()
            share = Share(index, plan.processes)
            process = context.Process(
                target=work, args=(plan, share, theirs), name=f"process {index + 1} of the load", daemon=True
            )
            process.start()
            theirs.close()
            workers.append(_Worker(process, ours))
    except OSError as error:
        raise GatewayError(f"a process of the load can't be started: {error.strerror or error}") from error
    finally:
        signal.signal(signal.SIGINT, handler)


def _followed(plan: Plan, workers: list[_Worker], interrupts: list[int], show: Callable[[Sight], None]) -> Outcome:
    stages, stage, began, told = plan.stages, -1, 0.0, False
    while True:
        for worker in workers:
            worker.receive()
        if tallies := [worker.tally for worker in workers if worker.tally is not None]:
            if len(tallies) == len(workers):
                return Outcome(reduce(add, tallies), bool(interrupts))
        elif stage + 1 < len(stages) and all(worker.waiting for worker in workers):
            stage, began = stage + 1, time.monotonic()
            for worker in workers:
                worker.waiting = False
                worker.send(Begin(time.monotonic_ns() + HEAD_START_NS))
        if interrupts and not told:
            told = True
            for worker in workers:
                worker.send(Stop())
        if stage >= 0:
            seen = [worker.progress for worker in workers if worker.progress.stage == stage]
            done, bad = sum(progress.done for progress in seen), sum(progress.bad for progress in seen)
            show(Sight(stages[stage], done, bad, time.monotonic() - began))
        busy: list[Any] = [worker.pipe for worker in workers if worker.tally is None]
        wait(busy, _TICK_SECONDS)


@contextmanager
def _interruptible() -> Iterator[list[int]]:
    """Within the block signals are collected; the second one raises."""
    seen: list[int] = []

    def note(number: int, _: object) -> None:
        seen.append(number)
        if len(seen) > 1:
            raise KeyboardInterrupt

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield seen
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
