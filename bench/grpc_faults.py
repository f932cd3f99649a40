"""What clients feel when a back end dies, hangs, comes or goes: figures, by real processes and a real etcd."""

import argparse
import asyncio
import os
import signal
import statistics
import time
from collections.abc import Callable
from typing import Any

import attrs
from servers import EtcdServer
from tests.grpc_back_end import SERVICE, running_back_end
from tests.grpc_instances import available, entry, instance, known

from imgateway.adapters.etcd import EtcdAccess, EtcdRegistrar, EtcdResolver
from imgateway.adapters.grpc.balancing import Discovered, GrpcBalancer
from imgateway.rpc import RpcFailure

SECONDS_BEFORE = 4.0
"""Longer than instances are new."""
SECONDS_AFTER = 8.0
DEADLINE_SECONDS = 1.0


@attrs.frozen
class Call:
    begun: float
    ended: float
    failed: bool


async def calls(balancer: GrpcBalancer, rate: float, milliseconds: int, ends: Callable[[], bool]) -> list[Call]:
    """Calls at a steady rate, until it is over."""
    request = b"\x0a" + bytes([len(str(milliseconds))]) + str(milliseconds).encode()
    found: list[Call] = []

    async def one() -> None:
        begun = time.monotonic()
        outcome = await balancer.unary(f"{SERVICE}/Takes", request, (), DEADLINE_SECONDS, True)
        found.append(Call(begun, time.monotonic(), isinstance(outcome, RpcFailure)))

    async with asyncio.TaskGroup() as tasks:
        due = time.monotonic()
        while not ends():
            tasks.create_task(one())
            due += 1 / rate
            await asyncio.sleep(max(0.0, due - time.monotonic()))
    return found


async def fault(name: str, number: int, rate: float, milliseconds: int) -> None:
    """The calls that were under way when it happened count as well."""
    with instance() as (victim, one), instance() as (_, other):
        async with known(one, other) as made:
            over = asyncio.Event()
            asking = asyncio.create_task(calls(made.balancer, rate, milliseconds, over.is_set))
            await asyncio.sleep(SECONDS_BEFORE)
            os.kill(victim.pid, number)
            at = time.monotonic()
            await asyncio.sleep(SECONDS_AFTER)
            over.set()
            found = await asking
    first = [call.failed for call in found if call.ended >= at and call.begun < at + 4.0]
    after = [call.failed for call in found if call.begun >= at + 4.0]
    print(
        f"one of two {name}, calls of {milliseconds} ms: {sum(first)} of {len(first)} failed in the first 4 s "
        f"({100 * sum(first) / max(1, len(first)):.1f} %), {sum(after)} of {len(after)} after"
    )


async def coming_and_going(etcd: str, rate: float, rounds: int) -> None:
    """From when etcd is told to the first call of a new instance, and the last of one that is gone."""
    access = EtcdAccess((etcd,))
    options: dict[str, Any] = {"service": "", "tls": None, "max_response_bytes": 4_194_304}
    used, unused = [], []
    async with (
        EtcdRegistrar.open(access, lease_seconds=10, prefix="/services/") as registrar,
        EtcdResolver.open(access, prefix="/services/") as resolver,
        running_back_end() as (_, one),
        GrpcBalancer.open(Discovered(resolver, "back"), **options) as balancer,
    ):
        await registrar.register(entry(one))
        while not available(balancer):
            await asyncio.sleep(0.001)
        over = asyncio.Event()
        asking = asyncio.create_task(calls(balancer, rate, 1, over.is_set))
        for _ in range(rounds):
            async with running_back_end() as (second, other):
                begun = time.monotonic()
                await registrar.register(entry(other))
                while not second.calls:
                    await asyncio.sleep(0.001)
                used.append(1000 * (time.monotonic() - begun))
                await asyncio.sleep(1.0)
                begun = last = time.monotonic()
                count = second.calls
                await registrar.deregister(entry(other))
                while time.monotonic() < begun + 2.0:
                    if second.calls != count:
                        count, last = second.calls, time.monotonic()
                    await asyncio.sleep(0.001)
                unused.append(1000 * (last - begun))
        over.set()
        failed = sum(call.failed for call in await asking)
    print(
        f"from etcd's word, {rounds} rounds: a new instance has its first call after {statistics.median(used):.0f} ms "
        f"(at most {max(used):.0f}), a gone one its last after {statistics.median(unused):.0f} ms "
        f"(at most {max(unused):.0f}); {failed} calls failed"
    )


async def hung_alone() -> None:
    """The only instance hangs: until keepalive notices, calls run into their deadline."""
    with instance() as (victim, one):
        async with known(one) as made:
            os.kill(victim.pid, signal.SIGSTOP)
            begun = time.monotonic()
            while available(made.balancer):
                await asyncio.sleep(0.01)
            print(f"the only instance hangs: calls are refused at once after {time.monotonic() - begun:.1f} s")
            os.kill(victim.pid, signal.SIGCONT)
            begun = time.monotonic()
            while not available(made.balancer):
                await asyncio.sleep(0.01)
            print(f"it goes on: calls are made again after {time.monotonic() - begun:.1f} s")


async def quiet_stream(minutes: float) -> None:
    """A server with default settings, and a stream on which nothing comes: keepalive must not end it."""
    with instance() as (_, one):
        async with known(one) as made:
            stream = await made.balancer.stream(f"{SERVICE}/Endless", b"", (), 60 * minutes)
            assert not isinstance(stream, RpcFailure), stream
            begun = time.monotonic()
            async for _message in stream:
                pass
            print(f"a quiet stream ended after {time.monotonic() - begun:.0f} s with {stream.failure}")


async def main(rate: float, rounds: int, quiet_minutes: float) -> None:
    for milliseconds in (1, 20):
        await fault("killed", signal.SIGKILL, rate, milliseconds)
        await fault("hung, 1 s deadline", signal.SIGSTOP, rate, milliseconds)
    with EtcdServer() as etcd:
        await coming_and_going(etcd.url, rate, rounds)
    await hung_alone()
    if quiet_minutes:
        await quiet_stream(quiet_minutes)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=float, default=300.0, help="calls a second")
    parser.add_argument("--rounds", type=int, default=5, help="of coming and going")
    parser.add_argument("--quiet-minutes", type=float, default=4.0, help="how long a quiet stream is watched; 0: not")
    arguments = parser.parse_args()
    asyncio.run(main(arguments.rate, arguments.rounds, arguments.quiet_minutes))
