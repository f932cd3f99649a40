"""The gateway: its parts composed and given a life."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from types import TracebackType
from typing import Self

import anyio
import anyio.abc

from imgateway.codes import Code
from imgateway.core.admission import Admitted
from imgateway.core.connection import LiveConnection
from imgateway.core.draining import close_paced
from imgateway.core.hub import ConnectionHub
from imgateway.core.parts import GatewayParts
from imgateway.core.router import LocalRouter
from imgateway.core.settings import Settings
from imgateway.core.settings_services import KafkaSettings
from imgateway.core.tenure import Tenure
from imgateway.core.under_way import UnderWay
from imgateway.errors import LifecycleError, ServiceUnavailableError
from imgateway.model import CloseReason, ConnectRequest, Credentials, GatewayId, Identity, Refusal, ServiceInstance
from imgateway.ports import Codec, Transcoder, Transport, TransportListener

SERVICE_NAME = "im-gateway"
CUT_OFF_SECONDS = 5.0
"""How long leaving waits for sockets that were cut off, and for presence to be removed."""
LEAST_SECONDS = 0.5
"""So long it waits in any case, after a drain that took all its time."""
RETRY_SECONDS = 1.0
"""How often what could not be written to the undelivered topic is offered again."""
PARTING_SHARE = 0.6
"""Of the time for draining: over so much of it the clients are sent away."""
CUT_OFF_SHARE = 0.85
"""Of the time for draining: after so much of it who has not left is cut off; the rest is for writing and committing."""
WRITE_SHARE = 0.9
"""Of the time for draining: after so much of it nothing is written any more; the rest is for giving the id up."""

_STARTING = Refusal(Code.UNAVAILABLE, "The gateway is not ready yet.", "not_ready", 1)
_LAPSED = Refusal(Code.DRAINING, "The gateway has lost its id and claims it anew.", "not_ready", 1)
_DRAINING = Refusal(Code.DRAINING, "The gateway is draining.", "draining", 1)

_log = logging.getLogger(__name__)


class Gateway:
    """One gateway, on any transport and any broker.

    An asynchronous context manager, entered and left by the same task. Entering opens the parts and returns at once;
    the gateway becomes ready in the background, and keeps trying while a part is not available (`wait_ready`).
    Leaving cuts off whoever is still connected: call `drain` first to part politely. When leaving returns, every task
    has ended, every socket is closed, and presence is removed as far as its store could be reached.

    All methods belong to the event loop's thread.

    Args:
        settings: limits and times.
        open_parts: opens what the gateway stands on; entered and left with the gateway.
    """

    def __init__(self, settings: Settings, open_parts: Callable[[], AbstractAsyncContextManager[GatewayParts]]) -> None:
        self.settings = settings
        self.gateway_id: GatewayId = settings.gateway_id
        self._open_parts = open_parts
        self._life: _Life | None = None
        self._requests = UnderWay()
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        if self._life is not None:
            raise LifecycleError("the gateway is running already")
        async with AsyncExitStack() as stack:
            parts = await stack.enter_async_context(self._open_parts())
            tasks = await stack.enter_async_context(anyio.create_task_group())
            self._life = _Life(self.settings, parts, tasks, self._requests)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        life, self._life = self._life, None
        if life is not None:
            await life.end()
        if error is not None and not isinstance(error, anyio.get_cancelled_exc_class()):
            # The body's own: it shall come out as it is, not wrapped into a group by the tasks that had no part in it.
            await self._stack.__aexit__(None, None, None)
            return None
        return await self._stack.__aexit__(kind, error, traceback)

    # Readiness.

    @property
    def ready(self) -> bool:
        """Whether clients are welcome: everything the gateway stands on is there, and it is not draining."""
        return all(self.readiness().values())

    def readiness(self) -> Mapping[str, bool]:
        """For each part by name, whether it is fine."""
        return {"gateway": False} if self._life is None else self._life.readiness()

    async def wait_ready(self) -> None:
        """Return when clients are let in for the first time."""
        await self._alive().begun.wait()

    # Clients.

    @property
    def codecs(self) -> tuple[Codec, ...]:
        """What clients may speak; the first is the default."""
        return self._alive().parts.codecs

    @property
    def connections(self) -> list[LiveConnection]:
        """A snapshot of everyone whose socket is open."""
        return [] if self._life is None else self._life.hub.connections

    @property
    def transcoder(self) -> Transcoder | None:
        """What answers REST requests; None where there are none, and while the gateway does not run."""
        return None if self._life is None else self._life.parts.transcoder

    async def verify(self, credentials: Credentials, /) -> Identity | Refusal:
        """Who sends a request: the check of `admit`, without a connection and also while the gateway drains."""
        return _STARTING if self._life is None else await self._life.hub.admission.verify(credentials)

    @property
    def draining(self) -> bool:
        """Whether it parts from its clients, or is gone: a new connection belongs elsewhere."""
        return self._life is None or self._life.draining

    def call_begun(self) -> None:
        """A request is going to be answered by a call: a drain waits for `call_finished`."""
        self._requests.begin()

    def call_finished(self, rpc: str, code: str, seconds: float, /) -> None:
        """End what `call_begun` has begun, and count it; see `ports.GatewayObserver.call_finished`."""
        self._requests.end()
        if self._life is not None:
            self._life.parts.observer.call_finished(rpc, code, seconds)

    async def admit(self, request: ConnectRequest, /) -> Admitted | Refusal:
        """Decide on a client before the upgrade.

        An `Admitted` must be given to `open` or, if the upgrade does not come about, to `leave`.
        """
        if self._life is None:
            return _STARTING
        return await self._life.hub.admission.admit(request)

    def refused(self, refusal: Refusal, /) -> None:
        """Count a client that was turned away before it could be decided on: a foreign page, a senseless request."""
        if self._life is not None:
            self._life.parts.observer.connect_decided(refusal.code.value)

    def leave(self, admitted: Admitted, /) -> None:
        """Give up an admission. Idempotent."""
        if self._life is not None:
            self._life.hub.admission.leave(admitted.place)

    async def open(
        self, admitted: Admitted, codec: Codec, attach: Callable[[TransportListener], Transport], /
    ) -> LiveConnection:
        """Turn an accepted upgrade into a live connection; its welcome is on its way when this returns.

        `attach` is called once and must hand the transport to the listener; from then on the listener hears
        everything, `lost` last.
        """
        return await self._alive().hub.open(admitted, codec, attach)

    async def drain(self) -> None:
        """Part from everyone politely, within `drain_seconds`.

        In order: not ready; deregistered; clients told to reconnect and closed (1012) once their messages in flight
        are answered, each one's presence removed with it; calls of requests have ended; reading ends; what was taken
        is written, positions are committed; ownership is released. Deliveries go on until the last socket is closed.
        Calls that take longer go on until the gateway is left.

        Idempotent: later calls wait for the first. Cancelling leaves the gateway not ready; so does running out of
        time, and leaving it does the rest.
        """
        if self._life is not None:
            await self._life.drain()

    def _alive(self) -> "_Life":
        if self._life is None:
            raise LifecycleError("the gateway is not running")
        return self._life


class _Life:
    """What exists between entering and leaving."""

    def __init__(self, settings: Settings, parts: GatewayParts, tasks: anyio.abc.TaskGroup, requests: UnderWay) -> None:
        self.settings = settings
        self.parts = parts
        self.begun = anyio.Event()
        self._tasks = tasks
        self._requests = requests
        self.draining = False
        self._drained = anyio.Event()
        self._drain_ends_at: float | None = None
        self.hub = ConnectionHub(settings, parts)
        self.hub.admission.closed = _STARTING
        self._router = LocalRouter(
            self.hub.registry,
            parts.publisher,
            parts.observer,
            parts.clock,
            settings.gateway_id,
            parts.topics.undelivered,
        )
        address, _, port = settings.advertise.rpartition(":")
        self._tenure = Tenure(
            parts,
            settings.gateway_id,
            ServiceInstance(SERVICE_NAME, settings.gateway_id, address, int(port)),
            self._router,
            on_begun=self._begin,
            on_lost=self._lose,
            on_stall=self.hub.let_go_of_slow,
            is_hurried=lambda: self.hub.hurried,
            max_unsettled=(settings.kafka or KafkaSettings()).max_unsettled_records,
        )
        tasks.start_soon(self.hub.run)
        tasks.start_soon(self._tenure.run)
        tasks.start_soon(self._retry_undelivered)

    def readiness(self) -> Mapping[str, bool]:
        transcoder = self.parts.transcoder
        return {
            "gateway": not self.draining,
            "ownership": self.parts.ownership.held,
            "broker": self._tenure.consuming,
            "registry": self._tenure.registered,
            "presence": self.hub.presence.available,
            "routes": transcoder is None or transcoder.loaded,
        } | {part: fine() for part, fine in self.parts.health.items()}

    async def drain(self) -> None:
        if self.draining:
            await self._drained.wait()
            return
        self.draining = True
        self.hub.admission.closed = _DRAINING
        seconds = self.settings.gateway.drain_seconds
        begun_at = anyio.current_time()
        self._drain_ends_at = begun_at + seconds
        _log.info("draining", extra={"connections": len(self.hub.connections)})
        try:
            with anyio.move_on_after(seconds) as time:
                with anyio.move_on_after(seconds * CUT_OFF_SHARE):
                    await _try("deregistering", self._tenure.deregister)
                    await close_paced(self.hub.connections, seconds * PARTING_SHARE)
                    await self.hub.wait_empty()
                    await self._requests.wait_none()
                await self._cut_off()
                # From here on whatever came could only be undelivered; the next owner of the id will read it.
                self._tenure.stop_reading()
                with anyio.CancelScope(deadline=begun_at + seconds * WRITE_SHARE) as writing:
                    # At a time: a store or a broker that is down does not keep the other from what it can do.
                    async with anyio.create_task_group() as last:
                        last.start_soon(self.hub.presence.flush)
                        await self.parts.publisher.flush()
                        await _try("committing", self._tenure.commit)
                await _try("releasing ownership", self._tenure.step_down)
            if time.cancelled_caught or writing.cancelled_caught:
                _log.warning("draining took too long", extra={"connections": len(self.hub.connections)})
            else:
                _log.info("drained")
        finally:
            self._drained.set()

    async def end(self) -> None:
        """Cut off and stop; bounded in time, not to be cancelled."""
        self.hub.admission.closed = _DRAINING
        seconds = CUT_OFF_SECONDS
        if self._drain_ends_at is not None:
            # What a drain could not do in its time is tried again, and not waited for as long again.
            seconds = min(seconds, max(LEAST_SECONDS, self._drain_ends_at - anyio.current_time()))
        with anyio.move_on_after(seconds, shield=True):
            with anyio.move_on_after(seconds / 2):
                await self._cut_off()
            # At a time, for the same reason as in a drain.
            async with anyio.create_task_group() as last:
                last.start_soon(self.hub.presence.flush)
                await _try("releasing ownership", self._tenure.step_down)
        self._tasks.cancel_scope.cancel()

    async def _cut_off(self) -> None:
        for connection in self.hub.connections:
            connection.cut_off(CloseReason.of(Code.DRAINING))
        await self.hub.wait_empty()

    def _begin(self) -> None:
        if not self.draining:
            self.hub.admission.closed = None
            self.hub.admission.turnstile.begin_anew()
            self.begun.set()
            _log.info("ready", extra={"gateway_id": self.settings.gateway_id})

    def _lose(self) -> None:
        if not self.draining:
            self.hub.admission.closed = _LAPSED
        for connection in self.hub.connections:
            connection.close(CloseReason.of(Code.DRAINING))

    async def _retry_undelivered(self) -> None:
        while True:
            await anyio.sleep(RETRY_SECONDS)
            self._router.retry()


async def _try(what: str, step: Callable[[], Awaitable[None]]) -> None:
    """Take a step of parting; one that can't be taken does not keep the others from it."""
    try:
        await step()
    except ServiceUnavailableError as error:
        _log.warning("could not part completely", extra={"step": what, "why": str(error)})
