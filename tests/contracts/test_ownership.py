"""Ownership of gateway ids: the memory ownership holds to the contract, broken ones do not."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio.lowlevel
import pytest

from imgateway.adapters.memory import MemoryOwnership, MemoryServiceRegistry
from imgateway.errors import LifecycleError, ServiceUnavailableError
from imgateway.model import GatewayId
from imgateway.ports import GatewayOwnership
from imgateway.testing import GatewayOwnershipSuite, Rivals, assert_caught


@pytest.mark.anyio
class TestMemoryOwnership(GatewayOwnershipSuite):
    ownership: Callable[[MemoryServiceRegistry], GatewayOwnership] = MemoryOwnership

    @asynccontextmanager
    async def make(self) -> AsyncIterator[Rivals]:
        registry = MemoryServiceRegistry()

        async def revoke(gateway_id: GatewayId) -> None:
            registry.revoke(gateway_id)

        async def reachable(is_reachable: bool) -> None:
            registry.down = not is_reachable

        yield Rivals(self.ownership(registry), self.ownership(registry), revoke, reachable)


@pytest.mark.anyio
async def test_a_process_owns_one_id_at_a_time() -> None:
    ownership = MemoryServiceRegistry().ownership()
    await ownership.acquire(GatewayId("gw-1"))
    await ownership.acquire(GatewayId("gw-1"))
    with pytest.raises(LifecycleError):
        await ownership.acquire(GatewayId("gw-2"))
    assert ownership.held


class LetsTwoIn(MemoryOwnership):
    async def acquire(self, gateway_id: GatewayId, /) -> None:
        await anyio.lowlevel.checkpoint()
        self._registry._reach()
        self.__dict__["mine"] = True

    @property
    def held(self) -> bool:
        return bool(self.__dict__.get("mine"))

    async def release(self) -> None:
        self.__dict__["mine"] = False


class TakesItAway(MemoryOwnership):
    async def acquire(self, gateway_id: GatewayId, /) -> None:
        self._registry.revoke(gateway_id)
        await super().acquire(gateway_id)


class LooksThenTakes(MemoryOwnership):
    """The winner of a race is whoever writes last."""

    async def acquire(self, gateway_id: GatewayId, /) -> None:
        self._registry._reach()
        while gateway_id in self._registry._owners:
            await self._registry._released.wait()
        await anyio.lowlevel.checkpoint()
        self._registry._owners[gateway_id] = self
        self._gateway_id = gateway_id

    @property
    def held(self) -> bool:
        return self._gateway_id is not None


class OneLockForAll(MemoryOwnership):
    async def acquire(self, gateway_id: GatewayId, /) -> None:
        await super().acquire(GatewayId("gw"))


class ReleasesTheKey(MemoryOwnership):
    async def release(self) -> None:
        owner = self._gateway_id and self._registry._owners.get(self._gateway_id)
        if self._gateway_id and isinstance(owner, MemoryOwnership):
            self._registry._free(self._gateway_id, owner)


class ReleaseForgets(MemoryOwnership):
    async def release(self) -> None:
        self._gateway_id = None


class OwnsOnlyOnce(MemoryOwnership):
    async def release(self) -> None:
        self.__dict__["spent"] = self.held
        await super().release()

    async def acquire(self, gateway_id: GatewayId, /) -> None:
        if self.__dict__.get("spent"):
            raise LifecycleError("it was owned before")
        await super().acquire(gateway_id)


class TrustsItself(MemoryOwnership):
    @property
    def held(self) -> bool:
        return self._gateway_id is not None


class LossIsSilent(MemoryOwnership):
    async def wait_lost(self) -> None:
        await anyio.sleep_forever()


class LossIsForEver(MemoryOwnership):
    async def acquire(self, gateway_id: GatewayId, /) -> None:
        lost = self._lost
        await super().acquire(gateway_id)
        self._lost = lost


class ReleaseIsALoss(MemoryOwnership):
    async def release(self) -> None:
        await super().release()
        self._lost.set()


class ClaimsInTheBackground(MemoryOwnership):
    async def acquire(self, gateway_id: GatewayId, /) -> None:
        try:
            await super().acquire(gateway_id)
        except anyio.get_cancelled_exc_class():
            self._registry._owners[gateway_id] = self
            raise


class WaitsWhenDown(MemoryOwnership):
    async def acquire(self, gateway_id: GatewayId, /) -> None:
        while True:
            try:
                return await super().acquire(gateway_id)
            except ServiceUnavailableError:
                await anyio.sleep(0.01)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("broken", "clauses"),
    [
        (LetsTwoIn, "a_second_process_waits at_most_one_owns"),
        (TakesItAway, "a_second_process_waits at_most_one_owns"),
        (LooksThenTakes, "at_most_one_owns"),
        (OneLockForAll, "other_ids_are_other_matters"),
        (ReleasesTheKey, "releasing_gives_up_only_what_is_ones_own"),
        (ReleaseForgets, "a_second_process_waits"),
        (OwnsOnlyOnce, "who_acquires_owns"),
        (TrustsItself, "a_loss_is_told"),
        (LossIsSilent, "a_loss_is_told"),
        (LossIsForEver, "the_loser_may_claim_anew"),
        (ReleaseIsALoss, "releasing_is_no_loss"),
        (ClaimsInTheBackground, "a_cancelled_claim_leaves_nothing"),
        (WaitsWhenDown, "acquiring_may_be_tried_again"),
    ],
)
async def test_broken_ownerships_are_caught(
    broken: Callable[[MemoryServiceRegistry], GatewayOwnership], clauses: str
) -> None:
    suite = TestMemoryOwnership()
    suite.ownership = broken
    await assert_caught(suite, *clauses.split())
