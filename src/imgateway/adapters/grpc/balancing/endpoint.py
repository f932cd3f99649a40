"""One instance of a service: its channel, its health, and how its calls went."""

import asyncio
import logging
import random
from collections.abc import Callable
from typing import Any, Final

import attrs
import grpc
from grpc_health.v1 import health_pb2

from imgateway.codes import RpcCode

READY: Final = grpc.ChannelConnectivity.READY
EJECT_AFTER: Final = 3
"""So many failures in a row, and an instance is left alone for some time."""
EJECT_SECONDS: Final = 2.0
MOST_EJECT_SECONDS: Final = 20.0
LEAST_DEADLINE_SECONDS: Final = 0.2
"""A call that had less time proves nothing against its instance."""
SUSPECT_SECONDS: Final = 0.3
"""An instance that answers nothing for so long, while it has calls, comes second."""
WARM_SECONDS: Final = 3.0
"""So long after its connection is there an instance's share grows."""
GRACE_SECONDS: Final = 30.0
"""How long an instance that is gone may take to answer what it was asked."""
HEALTH_PAUSE_SECONDS: Final = 0.5

_WATCH: Final = "/grpc.health.v1.Health/Watch"
_log = logging.getLogger(__name__)


@attrs.define(eq=False)
class Endpoint:
    """An instance. Its counters are the balancer's to change.

    Attributes:
        outstanding: calls under way.
        serving: what its health service says, or True where it says nothing.
        tried: whether an attempt to connect is over.
        ready_at: when it was connected to, by the loop's clock.
    """

    address: str
    channel: grpc.aio.Channel
    outstanding: int = 0
    serving: bool = True
    connected: bool = False
    tried: bool = False
    ready_at: float = 0.0
    _failures: int = 0
    _ejections: int = 0
    _ejected_until: float = 0.0
    _answered_at: float = 0.0
    _calls: dict[str, Any] = attrs.field(factory=dict)
    _idle: asyncio.Event = attrs.field(factory=asyncio.Event)

    def call(self, rpc: str, *, streaming: bool = False) -> Any:
        """What calls a method with bytes, made once."""
        made = self._calls.get(rpc)
        if made is None:
            make = self.channel.unary_stream if streaming else self.channel.unary_unary
            made = self._calls[rpc] = make(f"/{rpc}")
        return made

    def usable(self, now: float) -> bool:
        """Whether it may get calls."""
        return self.connected and self.serving and now >= self._ejected_until

    def ejected(self, now: float) -> bool:
        """Whether it is left alone for how its calls went."""
        return now < self._ejected_until

    def load(self, now: float) -> float:
        """What is compared: calls under way, weighed up while it is new or seems to hang."""
        load = self.outstanding + 1.0
        warm = now - self.ready_at
        if warm < WARM_SECONDS:
            load *= WARM_SECONDS / max(warm, 0.1)
        if self.outstanding and now - self._answered_at > SUSPECT_SECONDS:
            load += 1000.0
        return load

    def begun(self, now: float) -> None:
        """A call goes to it."""
        if not self.outstanding:
            self._answered_at = now
        self.outstanding += 1

    def ended(self, now: float, code: RpcCode, seconds: float, may_eject: Callable[[], bool]) -> None:
        """A call is over; a cancelled one says nothing."""
        self.outstanding -= 1
        if not self.outstanding:
            self._idle.set()
        if code is RpcCode.CANCELLED:
            return
        if code is RpcCode.UNAVAILABLE or (code is RpcCode.DEADLINE_EXCEEDED and seconds >= LEAST_DEADLINE_SECONDS):
            self._failures += 1
            if self._failures >= EJECT_AFTER and now >= self._ejected_until and may_eject():
                self._ejections += 1
                pause = min(EJECT_SECONDS * 2 ** (self._ejections - 1), MOST_EJECT_SECONDS)
                self._ejected_until = now + pause * random.uniform(0.8, 1.2)
                self._failures = EJECT_AFTER - 1  # the first call after that decides
                _log.warning("an instance is left alone", extra={"address": self.address, "seconds": round(pause, 1)})
        elif code is not RpcCode.DEADLINE_EXCEEDED:
            self._answered_at = now
            self._failures = 0
            self._ejections = max(0, self._ejections - 1) if self._ejections and now > self._ejected_until else 0

    async def watch_connection(self, on_change: Callable[[bool], None]) -> None:
        """Keep it connected, and know whether it is, until cancelled; `on_change` hears whether it is newly so."""
        loop = asyncio.get_running_loop()
        while True:
            state = self.channel.get_state(try_to_connect=True)
            connected = state is READY
            new = connected and not self.connected
            if new:
                self.ready_at = loop.time()
            self.connected = connected
            self.tried = self.tried or state in (READY, grpc.ChannelConnectivity.TRANSIENT_FAILURE)
            on_change(new)
            await self.channel.wait_for_state_change(state)

    async def watch_health(self, service: str, on_change: Callable[[], None]) -> None:
        """Know whether it says that it serves, until cancelled; one that says nothing of it does."""
        watch: Any = self.channel.unary_stream(
            _WATCH,
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        asked = service
        while True:
            call = watch(health_pb2.HealthCheckRequest(service=asked), wait_for_ready=True)
            try:
                async for answer in call:
                    if answer.status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN and asked:
                        asked = ""
                        break
                    self.serving = answer.status in (
                        health_pb2.HealthCheckResponse.SERVING,
                        health_pb2.HealthCheckResponse.SERVICE_UNKNOWN,
                    )
                    on_change()
                else:
                    self.serving = True
            except grpc.aio.AioRpcError as error:
                # Nothing is known now: the connection's state decides.
                self.serving = True
                if error.code() is grpc.StatusCode.UNIMPLEMENTED:
                    return
            finally:
                call.cancel()
            await asyncio.sleep(HEALTH_PAUSE_SECONDS * random.uniform(0.5, 1.0))

    async def retire(self) -> None:
        """Let its calls end, for some time, and close its channel."""
        try:
            async with asyncio.timeout(GRACE_SECONDS):
                while self.outstanding:
                    self._idle.clear()
                    await self._idle.wait()
        except TimeoutError:
            pass
        await self.close()

    async def close(self) -> None:
        """Close the channel; its calls are cancelled. Whoever waits for them in `retire` is let go."""
        self._calls.clear()
        self.outstanding = 0
        self._idle.set()
        await self.channel.close(None)
