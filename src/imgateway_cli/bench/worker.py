"""A process of the load."""

import asyncio
import gc
import importlib.util
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection

from imgateway.errors import GatewayError
from imgateway_cli import logs
from imgateway_cli.bench.calling import Calling
from imgateway_cli.bench.cpu import Cpu
from imgateway_cli.bench.link import Failed, Link
from imgateway_cli.bench.opening import Crowd
from imgateway_cli.bench.plan import Down, Hold, Plan, Rest, Share, Up
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
    link = Link(pipe)
    try:
        if isinstance(plan.load, Rest):
            return await _ask(plan.load, plan, share, link)
        return await _talk(plan, share, link)
    finally:
        await link.aclose()


async def _ask(load: Rest, plan: Plan, share: Share, link: Link) -> Tally:
    calling = Calling(load, plan, share, link)
    tally = Tally(opening=calling.opening, calls=calling.tally)
    gc.freeze()
    await calling.open(await link.meet())
    begin, cpu = await link.meet(), Cpu()
    await calling.run(begin)
    cpu.note(tally)
    await calling.close()
    return tally


async def _talk(plan: Plan, share: Share, link: Link) -> Tally:
    crowd = Crowd(plan, share)
    tally = Tally(opening=crowd.opening, lost=crowd.lost)
    gc.freeze()
    if isinstance(plan.load, Down):
        # Imported here: the other loads need no Kafka.
        from imgateway_cli.bench.downward import producing

        async with producing(plan.load) as producer:
            await _load(plan, share, crowd, link, tally, producer)
    else:
        await _load(plan, share, crowd, link, tally, None)
    await crowd.close()
    return tally


async def _load(plan: Plan, share: Share, crowd: Crowd, link: Link, tally: Tally, producer: object) -> None:
    load = plan.load
    begin, cpu = await link.meet(), Cpu()
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
        begin, cpu = await link.meet(), Cpu()
        await sending.run(begin)
        tally.upward = sending.tally
        cpu.note(tally)
    elif isinstance(load, Down):
        from imgateway_cli.bench.downward import Writing

        writing = Writing(load, plan, share, crowd, link, producer)
        await writing.prepare()
        begin, cpu = await link.meet(), Cpu()
        await writing.run(begin)
        tally.downward = writing.tally
        cpu.note(tally)
    tally.pings = crowd.pings
