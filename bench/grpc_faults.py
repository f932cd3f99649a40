"""What clients feel when a back end's instance dies, hangs, comes or goes: figures, by real processes."""

import argparse
import asyncio
import os
import signal
import time
from typing import Any

from tests.faults.test_grpc_balancing import ECHO, REQUEST, instance, known

from imgateway.rpc import RpcFailure


async def calls(made: Any, rate: float, seconds: float, deadline: float) -> list[tuple[float, bool]]:
    """Calls at a steady rate: when each began, and whether it failed."""
    begun = time.monotonic()
    found: list[tuple[float, bool]] = []

    async def one() -> None:
        at = time.monotonic() - begun
        outcome = await made.balancer.unary(ECHO, REQUEST, (), deadline, True)
        found.append((at, isinstance(outcome, RpcFailure)))

    async with asyncio.TaskGroup() as tasks:
        while time.monotonic() - begun < seconds:
            tasks.create_task(one())
            await asyncio.sleep(1 / rate)
    return found


async def fault(name: str, number: int, rate: float) -> None:
    with instance() as (victim, one), instance() as (_, other):
        async with known(one, other) as made:
            asking = asyncio.create_task(calls(made, rate, 10.0, 1.0))
            await asyncio.sleep(2.0)
            os.kill(victim.pid, number)
            found = await asking
    during = [failed for at, failed in found if 2.0 <= at < 6.0]
    after = [failed for at, failed in found if at >= 6.0]
    print(
        f"one of two {name}: {sum(during)} of {len(during)} calls failed in the first 4 s "
        f"({100 * sum(during) / max(1, len(during)):.1f} %), {sum(after)} of {len(after)} after"
    )


async def coming_and_going() -> None:
    with instance() as (_, one), instance() as (_, other):
        async with known(one) as made:
            begun = time.monotonic()
            await made.add(other)
            while other not in made.connected():
                await asyncio.sleep(0.001)
            print(f"a new instance is used after {1000 * (time.monotonic() - begun):.0f} ms")
            begun = time.monotonic()
            await made.remove(one)
            while one in made.connected():
                await asyncio.sleep(0.001)
            print(f"a gone instance is unused after {1000 * (time.monotonic() - begun):.0f} ms")


async def main(rate: float) -> None:
    await fault("killed", signal.SIGKILL, rate)
    await fault("hung, 1 s deadline", signal.SIGSTOP, rate)
    await coming_and_going()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=float, default=300.0, help="calls a second")
    asyncio.run(main(parser.parse_args().rate))
