"""Observers: ours hold to the contract, broken ones do not."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from imgateway.adapters.memory import CountingObserver
from imgateway.adapters.prometheus import PrometheusObserver
from imgateway.model import Undelivered
from imgateway.ports import GatewayObserver
from imgateway.testing import GatewayObserverSuite, assert_caught


@pytest.mark.anyio
class TestCountingObserver(GatewayObserverSuite):
    observer: Callable[[], GatewayObserver] = CountingObserver

    @asynccontextmanager
    async def make(self) -> AsyncIterator[GatewayObserver]:
        yield self.observer()


class TestPrometheusObserver(TestCountingObserver):
    observer = PrometheusObserver


class KnowsNoSlowConsumers(CountingObserver):
    def undelivered(self, reason: str, count: int, /) -> None:
        {Undelivered.NO_CONNECTION.value: None}[reason]


class NeedsAwaiting(CountingObserver):
    def connection_opened(self) -> None:
        async def told() -> None:
            pass

        coroutine = told()
        coroutine.close()
        return coroutine  # type: ignore[return-value]  # that is what is broken


class ChecksTheSense(CountingObserver):
    def connection_closed(self, close_code: int, /) -> None:
        super().connection_closed(close_code)
        if self.connections < 0:
            raise ValueError


class KnowsOnlyGoodCalls(CountingObserver):
    def call_finished(self, rpc: str, code: str, seconds: float, /) -> None:
        {"OK": None}[code]


class BytesNeverFall(CountingObserver):
    def outbox_bytes(self, change: int, /) -> None:
        if change < 0:
            raise ValueError


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("broken", "clauses"),
    [
        (KnowsNoSlowConsumers, "everything_that_happens_may_be_told"),
        (NeedsAwaiting, "everything_that_happens_may_be_told"),
        (ChecksTheSense, "telling_often_is_legal"),
        (KnowsOnlyGoodCalls, "everything_that_happens_may_be_told"),
        (BytesNeverFall, "numbers_may_be_anything"),
    ],
)
async def test_broken_observers_are_caught(broken: Callable[[], GatewayObserver], clauses: str) -> None:
    suite = TestCountingObserver()
    suite.observer = broken
    await assert_caught(suite, *clauses.split())
