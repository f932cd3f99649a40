"""The contract of `ports.GatewayObserver`."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial

from imgateway.codes import TABLE, Code, HttpCode, RpcCode
from imgateway.model import Undelivered
from imgateway.ports import GatewayObserver
from imgateway.testing.suite import ContractSuite


class GatewayObserverSuite(ContractSuite):
    """Every observer holds to this: whatever happens may be told, at any rate and in any order."""

    def make(self) -> AbstractAsyncContextManager[GatewayObserver]:
        """An observer that was told nothing."""
        raise NotImplementedError

    async def test_everything_that_happens_may_be_told(self) -> None:
        """No call raises, answers or needs awaiting, with every word that the gateway uses."""
        async with self.make() as observer:
            for call in self._calls(observer):
                assert call() is None

    async def test_telling_often_is_legal(self) -> None:
        """Calls may be repeated, also in an order that makes no sense: a close without an opening, for example."""
        async with self.make() as observer:
            for _ in range(3):
                for call in reversed(self._calls(observer)):
                    assert call() is None

    async def test_numbers_may_be_anything(self) -> None:
        """Counts of zero, large counts, and bytes that go down as well as up."""
        async with self.make() as observer:
            for count in (0, 1, 2**40):
                observer.delivery("handed_over", count)
                observer.undelivered("no-connection", count)
                observer.downstream_lag(count)
                observer.outbox_bytes(count)
                observer.outbox_bytes(-count)
            for seconds in (0.0, 1e-9, 3600.0):
                observer.published(seconds)
                observer.call_finished("im.v1.Chat/Send", "OK", seconds)

    def _calls(self, observer: GatewayObserver) -> list[Callable[[], object]]:
        codes = [code.value for code in Code]
        calls = sorted({*codes, *(code.value for code in HttpCode), *(code.name for code in RpcCode)})
        close_codes = (1000, 1001, 1002, 1003, 1005, 1006, 1007, *(row.close_code for row in TABLE.values()))
        return [
            observer.connection_opened,
            partial(observer.published, 0.001),
            partial(observer.outbox_bytes, 10),
            partial(observer.downstream_lag, 10),
            *(partial(observer.connect_decided, word) for word in ("accepted", *codes)),
            *(partial(observer.call_finished, "im.v1.Chat/Send", word, 0.001) for word in ("OK", *calls)),
            *(partial(observer.message_up, word) for word in ("accepted", "duplicate", *codes)),
            *(partial(observer.connection_closed, close_code) for close_code in close_codes),
            *(partial(observer.delivery, word, 2) for word in ("handed_over", "missed", "dropped", "unparsable")),
            *(partial(observer.undelivered, reason.value, 2) for reason in Undelivered),
        ]
