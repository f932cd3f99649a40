"""A process of the load."""

import asyncio
import gc
import importlib.util
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

from imgateway.errors import GatewayError
from imgateway_cli import logs
from imgateway_cli.bench.link import Failed, Link
from imgateway_cli.bench.opening import Crowd
from imgateway_cli.bench.plan import Down, Hold, Plan, Share, Up
from imgateway_cli.bench.tally import Tally
from imgateway_cli.bench.upward import Sending
from imgateway_cli.open_files import allow_many_files


def work(plan: Plan, share: Share, pipe: Connection) -> None:
    """Do this process's share of the plan; what was measured, or why it failed, goes through the pipe. Blocks."""
    # Ctrl-C is for the whole terminal; the process that started this one says when to end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logs.mute()
    allow_many_files()
    outcome: Tally | Failed
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            outcome = runner.run(_work(plan, share, pipe))
    except GatewayError as error:
        outcome = Failed(str(error))
    with suppress(OSError):  # whoever started this process is gone
        pipe.send(outcome)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    if importlib.util.find_spec("uvloop") is None:
        return None
    import uvloop

    return uvloop.new_event_loop


async def _work(plan: Plan, share: Share, pipe: Connection) -> Tally:
    crowd, link = Crowd(plan, share), Link(pipe)
    tally = Tally(opening=crowd.opening, lost=crowd.lost)
    gc.freeze()
    try:
        if isinstance(plan.load, Down):
            # Imported here: the other loads need no Kafka.
            from imgateway_cli.bench.downward import producing

            async with producing(plan.load) as producer:
                await _load(plan, share, crowd, link, tally, producer)
        else:
            await _load(plan, share, crowd, link, tally, None)
        await crowd.close()
    finally:
        await link.aclose()
    return tally


async def _load(plan: Plan, share: Share, crowd: Crowd, link: Link, tally: Tally, producer: object) -> None:
    load = plan.load
    begin, cpu = await link.meet(), _Cpu()
    await crowd.open(begin, link)
    if isinstance(load, Hold):
        cpu.note(tally)
        begin = await link.meet()
        link.watch(lambda: (len(crowd.members) - crowd.lost.total(), crowd.lost.total()))
        tally.held.see(begin)
        await link.sleep_until(begin + int(load.seconds * 1e9))
        tally.held.see(time.monotonic_ns())
    elif isinstance(load, Up):
        sending = Sending(load, plan, share, crowd, link)
        begin, cpu = await link.meet(), _Cpu()
        await sending.run(begin)
        tally.upward = sending.tally
        cpu.note(tally)
    else:
        from imgateway_cli.bench.downward import Writing

        writing = Writing(load, plan, share, crowd, link, producer)
        await writing.prepare()
        begin, cpu = await link.meet(), _Cpu()
        await writing.run(begin)
        tally.downward = writing.tally
        cpu.note(tally)
    tally.pings = crowd.pings


class _Cpu:
    """What this process has used of a core since, and what it would have used if there had been one."""

    def __init__(self) -> None:
        self._used, self._waited, self._since = time.process_time(), _waited_seconds(), time.monotonic()

    def note(self, tally: Tally) -> None:
        seconds = max(time.monotonic() - self._since, 1e-3)
        tally.cpu_percent = (100 * (time.process_time() - self._used) / seconds,)
        tally.waited_percent = (100 * (_waited_seconds() - self._waited) / seconds,)


def _waited_seconds() -> float:
    try:
        return int(Path("/proc/self/schedstat").read_text().split()[1]) / 1e9
    except (OSError, ValueError, IndexError):
        return 0.0  # a kernel that does not count it
