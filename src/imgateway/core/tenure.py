"""The time in which this process owns its gateway id: only then does it read its topic, and only then is it known."""

import logging
import math
from collections.abc import Callable
from functools import partial

import anyio
import anyio.abc
import anyio.lowlevel
import attrs

from imgateway.core.delivery import DeliveryPump
from imgateway.core.parts import GatewayParts
from imgateway.core.retrying import until_available
from imgateway.errors import FencedError, ServiceUnavailableError
from imgateway.model import GatewayId, ServiceInstance
from imgateway.ports import DownstreamRouter

CLOSE_SECONDS = 5.0
FENCED_PAUSE_SECONDS = 30.0
"""How long nothing is read after somebody else began to read in our name."""

_log = logging.getLogger(__name__)


@attrs.define(eq=False)
class Tenure:
    """Acquires ownership, then the downstream topic, then registers; and starts over when ownership is lost.

    Parting goes step by step: `deregister`, `stop_reading`, `commit`, `step_down`. After the first of them nothing is
    begun anew.

    Attributes:
        on_begun: called each time everything is in place.
        on_lost: called when ownership was lost, before it is claimed anew: nothing of ours may go on.
        on_stall: see `DeliveryPump`; so are `is_hurried` and `max_unsettled`.
        consuming: whether the downstream topic is being read.
        registered: whether others can find this gateway.
    """

    parts: GatewayParts
    gateway_id: GatewayId
    instance: ServiceInstance
    router: DownstreamRouter
    on_begun: Callable[[], None]
    on_lost: Callable[[], None]
    on_stall: Callable[[float], None]
    is_hurried: Callable[[], bool] = lambda: False
    max_unsettled: int = 10_000
    consuming: bool = False
    registered: bool = False
    _pump: DeliveryPump | None = None
    _parting: bool = False
    _read_enough: bool = False
    _close_by: float = math.inf
    _registering: anyio.CancelScope = attrs.field(factory=anyio.CancelScope)
    _reading: anyio.CancelScope = attrs.field(factory=anyio.CancelScope)
    _serving: anyio.CancelScope = attrs.field(factory=anyio.CancelScope)
    _over: anyio.Event = attrs.field(factory=anyio.Event)

    async def run(self) -> None:
        """Hold office until cancelled or stepped down, again and again."""
        try:
            with self._serving:
                while not self._parting:
                    await self._serve()
        finally:
            self._over.set()

    async def deregister(self) -> None:
        """Be found no more, while what is still on its way here is read on.

        Raises:
            ServiceUnavailableError: the registry can't be reached.
        """
        self._parting = True
        self.registered = False
        self._registering.cancel()
        await self.parts.registrar.deregister(self.instance)

    def stop_reading(self) -> None:
        """Take no more records. What was taken can be settled and committed on."""
        self._parting = self._read_enough = True
        self._reading.cancel()

    async def commit(self) -> None:
        """Commit what is settled.

        Raises:
            ServiceUnavailableError: the broker can't be reached.
        """
        if self._pump is not None:
            await self._pump.commit()

    async def step_down(self) -> None:
        """Read no more, and give the id up. Idempotent.

        Of the time that the caller has, half is for the consumer to end; a broker that does not answer does not keep
        the id from being given up.

        Raises:
            ServiceUnavailableError: the registry can't be reached.
        """
        self.stop_reading()
        now = anyio.current_time()
        self._close_by = now + max(0.0, anyio.current_effective_deadline() - now) / 2
        self._serving.cancel()
        await self._over.wait()
        await self.parts.ownership.release()

    async def _serve(self) -> None:
        ownership = self.parts.ownership
        await until_available("ownership", partial(ownership.acquire, self.gateway_id))
        async with anyio.create_task_group() as office:
            office.start_soon(self._hold_office)
            await ownership.wait_lost()
            _log.error("ownership of the gateway id was lost", extra={"gateway_id": self.gateway_id})
            self.consuming = self.registered = False
            self.on_lost()
            office.cancel_scope.cancel()
        # Whoever owns the id now is the one to be found under it.
        with anyio.move_on_after(CLOSE_SECONDS):
            try:
                await self.parts.registrar.deregister(self.instance)
            except ServiceUnavailableError as error:
                _log.warning("could not deregister", extra={"why": str(error)})

    async def _hold_office(self) -> None:
        # Reading ends only by failing: then it begins anew, from the last committed position.
        await until_available("broker", self._read_in_peace)

    async def _read_in_peace(self) -> None:
        try:
            await self._read()
        except FencedError:
            # Whoever came after us may be right to. If so our ownership ends as well; if it does not, the topic is
            # ours to claim again, but not in a fight.
            _log.error("somebody else reads in this gateway's name", extra={"pause_seconds": FENCED_PAUSE_SECONDS})
            await anyio.sleep(FENCED_PAUSE_SECONDS)
            raise

    async def _read(self) -> None:
        parts = self.parts
        consumer = parts.consumer()
        try:
            await consumer.start()
            self._pump = pump = DeliveryPump(
                consumer,
                self.router,
                parts.observer,
                parts.clock,
                lambda: parts.ownership.held,
                self.on_stall,
                self.is_hurried,
                self.max_unsettled,
            )
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(pump.commit_regularly)
                tasks.start_soon(self._become_known)
                failure = await self._pump_until_failure(pump)
                tasks.cancel_scope.cancel()
            raise failure
        finally:
            self.consuming = False
            self._pump = None
            close_by = min(anyio.current_time() + CLOSE_SECONDS, self._close_by)
            with anyio.CancelScope(deadline=close_by, shield=True):
                await consumer.aclose()

    async def _pump_until_failure(self, pump: DeliveryPump) -> ServiceUnavailableError:
        with anyio.CancelScope() as self._reading:
            if not self._read_enough:
                self.consuming = True
                try:
                    await pump.run()
                except ServiceUnavailableError as error:
                    return error
        self.consuming = False
        while True:
            # The consumer is kept for the last commit.
            await anyio.sleep_forever()

    async def _become_known(self) -> None:
        if self._parting:
            return
        with anyio.CancelScope() as self._registering:
            await until_available("registry", partial(self.parts.registrar.register, self.instance))
            # Ownership may have been lost, or parting begun, in the turn in which the answer came: a task whose wait is
            # over is not cancelled before its next one.
            await anyio.lowlevel.checkpoint_if_cancelled()
            if not self.parts.ownership.held:
                return
            self.registered = True
            self.on_begun()
