"""The contract of `ports.GatewayOwnership`."""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager

import anyio
import anyio.lowlevel
import attrs

from imgateway.errors import ServiceUnavailableError
from imgateway.model import GatewayId
from imgateway.ports import GatewayOwnership
from imgateway.testing.suite import ContractSuite


@attrs.frozen
class Rivals:
    """Two processes that may own gateway ids, over one registry.

    Attributes:
        one: the ownership of a process.
        other: the ownership of another.
        revoke: what a lapsed lease does: the registry takes the id from its owner.
        reachable: cut everyone off from the registry (False), or end that (True).
    """

    one: GatewayOwnership
    other: GatewayOwnership
    revoke: Callable[[GatewayId], Awaitable[None]]
    reachable: Callable[[bool], Awaitable[None]]


class GatewayOwnershipSuite(ContractSuite):
    """Every ownership holds to this."""

    def make(self) -> AbstractAsyncContextManager[Rivals]:
        """Two processes that own nothing; what they own goes with the context."""
        raise NotImplementedError

    async def test_who_acquires_owns(self) -> None:
        """`held` is False at first, True once `acquire` returned, False after `release`; then it can be had again."""
        gateway_id = GatewayId(self.unique("gw"))
        async with self.make() as rivals:
            assert rivals.one.held is False
            for _ in range(2):
                await self._acquire(rivals.one, gateway_id)
                assert rivals.one.held is True
                await rivals.one.release()
                assert rivals.one.held is False

    async def test_a_second_process_waits(self) -> None:
        """`acquire` waits while another process owns the id, and returns once that one has released it."""
        gateway_id = GatewayId(self.unique("gw"))
        async with self.make() as rivals:
            await self._acquire(rivals.one, gateway_id)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._acquire, rivals.other, gateway_id)
                await self.quiet()
                assert (rivals.one.held, rivals.other.held) == (True, False)
                await rivals.one.release()
            assert (rivals.one.held, rivals.other.held) == (False, True)

    async def test_at_most_one_owns(self) -> None:
        """However often two processes compete, they never own the id at once, and each gets it."""
        gateway_id = GatewayId(self.unique("gw"))
        async with self.make() as rivals:

            async def compete(mine: GatewayOwnership, theirs: GatewayOwnership) -> None:
                for _ in range(5):
                    await self._acquire(mine, gateway_id)
                    for _ in range(3):
                        assert mine.held
                        assert not theirs.held
                        await anyio.lowlevel.checkpoint()
                    await mine.release()
                    await anyio.lowlevel.checkpoint()

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(compete, rivals.one, rivals.other)
                tasks.start_soon(compete, rivals.other, rivals.one)

    async def test_other_ids_are_other_matters(self) -> None:
        """Two processes own two ids at once; releasing one leaves the other."""
        first, second = GatewayId(self.unique("gw")), GatewayId(self.unique("gw"))
        async with self.make() as rivals:
            await self._acquire(rivals.one, first)
            await self._acquire(rivals.other, second)
            assert rivals.one.held
            await rivals.one.release()
            assert rivals.other.held

    async def test_releasing_gives_up_only_what_is_ones_own(self) -> None:
        """`release` is idempotent, needs no ownership, and never takes the id from the other process."""
        gateway_id = GatewayId(self.unique("gw"))
        async with self.make() as rivals:
            await rivals.one.release()
            await self._acquire(rivals.one, gateway_id)
            await rivals.one.release()
            await self._acquire(rivals.other, gateway_id)
            await rivals.one.release()
            await self.quiet()
            assert rivals.other.held
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._acquire, rivals.one, gateway_id)
                await self.quiet()
                assert not rivals.one.held
                tasks.cancel_scope.cancel()

    async def test_a_loss_is_told(self) -> None:
        """`wait_lost` returns when the id was taken away, also if asked later; then `held` is False for good."""
        gateway_id = GatewayId(self.unique("gw"))
        async with self.make() as rivals:
            await self._acquire(rivals.one, gateway_id)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._wait_lost, rivals.one)
                await self.quiet()
                await rivals.revoke(gateway_id)
            assert rivals.one.held is False
            await self._wait_lost(rivals.one)
            await self._acquire(rivals.other, gateway_id)
            await rivals.one.release()
            assert (rivals.one.held, rivals.other.held) == (False, True)

    async def test_the_loser_may_claim_anew(self) -> None:
        """After a loss `acquire` works again, waiting like anyone; the new ownership is not lost."""
        gateway_id = GatewayId(self.unique("gw"))
        async with self.make() as rivals:
            await self._acquire(rivals.one, gateway_id)
            await rivals.revoke(gateway_id)
            await self._wait_lost(rivals.one)
            await self._acquire(rivals.one, gateway_id)
            assert rivals.one.held
            await self._assert_not_lost(rivals.one)

    async def test_releasing_is_no_loss(self) -> None:
        """`wait_lost` does not return for `release`, nor while the id is held."""
        gateway_id = GatewayId(self.unique("gw"))
        async with self.make() as rivals:
            await self._acquire(rivals.one, gateway_id)
            await self._assert_not_lost(rivals.one)
            async with anyio.create_task_group() as tasks:
                lost = anyio.Event()

                async def wait_lost() -> None:
                    await rivals.one.wait_lost()
                    lost.set()

                tasks.start_soon(wait_lost)
                await self.quiet()
                await rivals.one.release()
                await self.quiet()
                assert not lost.is_set()
                tasks.cancel_scope.cancel()

    async def test_a_cancelled_claim_leaves_nothing(self) -> None:
        """Cancelling an `acquire` that waits leaves no claim: the id is there for whoever comes next."""
        gateway_id = GatewayId(self.unique("gw"))
        async with self.make() as rivals:
            await self._acquire(rivals.one, gateway_id)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._acquire, rivals.other, gateway_id)
                await self.quiet()
                tasks.cancel_scope.cancel()
            await rivals.one.release()
            await self.quiet()
            assert not rivals.other.held
            await self._acquire(rivals.one, gateway_id)
            assert rivals.one.held

    async def test_acquiring_may_be_tried_again(self) -> None:
        """While the registry can't be reached `acquire` raises `ServiceUnavailableError`; later it works."""
        gateway_id = GatewayId(self.unique("gw"))
        async with self.make() as rivals:
            await rivals.reachable(False)
            try:
                await self._acquire(rivals.one, gateway_id)
            except ServiceUnavailableError:
                pass
            else:
                raise AssertionError("no ServiceUnavailableError")
            assert not rivals.one.held
            await rivals.reachable(True)
            await self._acquire(rivals.one, gateway_id)
            assert rivals.one.held

    async def _acquire(self, ownership: GatewayOwnership, gateway_id: GatewayId) -> None:
        with anyio.fail_after(self.patience):
            await ownership.acquire(gateway_id)

    async def _wait_lost(self, ownership: GatewayOwnership) -> None:
        with anyio.fail_after(self.patience):
            await ownership.wait_lost()

    async def _assert_not_lost(self, ownership: GatewayOwnership) -> None:
        lost = anyio.Event()

        async def wait_lost() -> None:
            await ownership.wait_lost()
            lost.set()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait_lost)
            await self.quiet()
            assert not lost.is_set()
            tasks.cancel_scope.cancel()
