"""Balancers: the one in memory holds to the contract, broken ones do not."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

import anyio
import attrs
import pytest

from imgateway.adapters.memory import MemoryBalancer
from imgateway.adapters.memory.balancer import MemoryRpcStream
from imgateway.codes import RpcCode
from imgateway.rpc import Metadata, RpcAnswer, RpcFailure
from imgateway.testing import BalancerSuite, BalancerUnderTest, assert_caught
from imgateway.testing.balancer import SAID

REQUEST = b"\x0a\x01a"


class Service:
    """What the clauses ask for."""

    under_way = 0

    async def echo(self, request: bytes, _: Metadata) -> bytes:
        await anyio.lowlevel.checkpoint()
        return request

    async def fails(self, _: bytes, __: Metadata) -> RpcFailure:
        return RpcFailure(RpcCode.NOT_FOUND, SAID)

    async def hangs(self, _: bytes, __: Metadata) -> bytes:
        self.under_way += 1
        try:
            await anyio.sleep_forever()
            raise AssertionError
        finally:
            self.under_way -= 1

    async def counts(self, request: bytes, _: Metadata) -> AsyncGenerator[bytes | RpcFailure, None]:
        for _number in range(3):
            yield request

    async def breaks(self, request: bytes, _: Metadata) -> AsyncGenerator[bytes | RpcFailure, None]:
        yield request
        yield RpcFailure(RpcCode.ABORTED, SAID)

    async def endless(self, request: bytes, _: Metadata) -> AsyncGenerator[bytes | RpcFailure, None]:
        self.under_way += 1
        try:
            yield request
            await anyio.sleep_forever()
        finally:
            self.under_way -= 1


@pytest.mark.anyio
class TestMemoryBalancer(BalancerSuite):
    balancer: type[MemoryBalancer] = MemoryBalancer

    @asynccontextmanager
    async def make(self) -> AsyncIterator[BalancerUnderTest]:
        service = Service()
        balancer = self.balancer(
            {"s/Echo": service.echo, "s/Fails": service.fails, "s/Hangs": service.hangs},
            {"s/Counts": service.counts, "s/Breaks": service.breaks, "s/Endless": service.endless},
        )
        names = ("s/Echo", "s/Fails", "s/Hangs", "s/Counts", "s/Breaks", "s/Endless")
        yield BalancerUnderTest(balancer, *names, REQUEST, lambda: service.under_way)
        await balancer.aclose()


# Broken on purpose.


class Raises(MemoryBalancer):
    async def unary(self, rpc: str, *more: object) -> RpcAnswer | RpcFailure:
        outcome = await super().unary(rpc, *more)  # type: ignore[arg-type]  # as it came
        if isinstance(outcome, RpcFailure):
            raise ValueError(outcome.message)
        return outcome


class Mumbles(MemoryBalancer):
    async def unary(self, rpc: str, *more: object) -> RpcAnswer | RpcFailure:
        outcome = await super().unary(rpc, *more)  # type: ignore[arg-type]  # as it came
        return attrs.evolve(outcome, message="It failed.") if isinstance(outcome, RpcFailure) else outcome


@attrs.define(eq=False)
class Swaps(MemoryBalancer):
    seen: list[RpcAnswer] = attrs.field(factory=list)

    async def unary(self, rpc: str, *more: object) -> RpcAnswer | RpcFailure:
        outcome = await super().unary(rpc, *more)  # type: ignore[arg-type]  # as it came
        if isinstance(outcome, RpcAnswer):
            self.seen.append(outcome)
            return self.seen[len(self.seen) // 2]
        return outcome


class HasTime(MemoryBalancer):
    async def unary(
        self, rpc: str, request: bytes, metadata: Metadata, seconds: float, idempotent: bool, /
    ) -> RpcAnswer | RpcFailure:
        return await super().unary(rpc, request, metadata, seconds + 1000, idempotent)


class StaysOpen(MemoryBalancer):
    async def aclose(self) -> None:
        """Nothing."""


@attrs.define(eq=False)
class _KeepsQuiet(MemoryRpcStream):
    async def __anext__(self) -> bytes:
        try:
            return await super().__anext__()
        finally:
            self.failure = None


class KeepsQuiet(MemoryBalancer):
    async def stream(
        self, rpc: str, request: bytes, metadata: Metadata, seconds: float, /
    ) -> "MemoryRpcStream | RpcFailure":
        stream = await super().stream(rpc, request, metadata, seconds)
        return (
            stream if isinstance(stream, RpcFailure) else _KeepsQuiet(stream._source, stream._ends_at, stream._on_end)
        )


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("broken", "clause"),
    [
        (Raises, "a_refusal_is_a_value"),
        (Mumbles, "a_refusal_is_a_value"),
        (Swaps, "calls_at_the_same_time_have_their_own_answers"),
        (HasTime, "a_call_ends_with_its_time"),
        (StaysOpen, "closing_ends_what_is_under_way"),
        (StaysOpen, "closing_ends_streams"),
        (KeepsQuiet, "a_stream_that_breaks_off_says_why"),
    ],
)
async def test_broken_ones_are_caught(broken: type[MemoryBalancer], clause: str) -> None:
    suite = TestMemoryBalancer()
    suite.balancer = broken
    await assert_caught(suite, clause)
