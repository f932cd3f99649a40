"""One instance of a service: its channel, its health, and how its calls go."""

import asyncio
import logging
import random
from collections.abc import Callable, Coroutine
from typing import Any, Final

import attrs
import grpc

from imgateway.adapters.grpc.balancing.ejection import Ejection
from imgateway.adapters.grpc.balancing.health import Health
from imgateway.codes import RpcCode

LEAST_DEADLINE_SECONDS: Final = 0.2
"""A call that had less time proves nothing against its instance."""
SILENT_SECONDS: Final = 0.3
"""An instance that was asked something and gives no sign of life for so long comes second."""
PROBE_SECONDS: Final = 10.0
"""How often an instance is asked for a sign of life, whether it has calls or not.

More often than keepalive: an instance that lives sends something before HTTP/2 pings are due, and servers
by their defaults end connections on which pings come more often than their own data (gRFC A8).
"""
PROBE_TIMEOUT_SECONDS: Final = 2.0
PROBE_PAUSE_SECONDS: Final = 0.1
WARM_SECONDS: Final = 3.0
"""So long after its connection is there an instance's share of the calls grows."""
LEAST_WARMTH: Final = 0.1
GRACE_SECONDS: Final = 30.0
"""How long an instance that is gone may take to answer what it was asked."""
CLOSE_SECONDS: Final = 0.5
"""How long is waited for what gRPC tells of a closed channel: clients may hold calls of it for longer."""
WATCH_PAUSE_SECONDS: Final = 1.0
"""After something that nobody foresaw, so long passes until an instance is watched again."""

_CHECK: Final = "/grpc.health.v1.Health/Check"
_READY: Final = grpc.ChannelConnectivity.READY
_FAILED: Final = grpc.ChannelConnectivity.TRANSIENT_FAILURE
_NO_SIGN_OF_LIFE: Final = frozenset({RpcCode.UNAVAILABLE, RpcCode.DEADLINE_EXCEEDED, RpcCode.CANCELLED})
_log = logging.getLogger(__name__)


@attrs.define(eq=False)
class Endpoint:
    """An instance; the balancer tells it which calls begin and end.

    Attributes:
        may_eject: whether one more instance may be left alone.
        connected: whether calls can be sent.
        connecting: whether that is going to be known soon: no attempt has failed since the last connection.
        ready_at: when it came, or came back after an attempt to connect had failed, by the loop's clock.
    """

    address: str
    channel: grpc.aio.Channel
    health: Health
    may_eject: Callable[[], bool]
    connected: bool = False
    connecting: bool = True
    ready_at: float = 0.0
    _calls: int = 0
    _streams: int = 0
    _owes_since: float | None = None
    _doubted: asyncio.Event = attrs.field(factory=asyncio.Event)
    _closed: bool = False
    _connecting: asyncio.Task[None] = attrs.field(init=False)
    _asking: tuple[asyncio.Task[None], ...] = ()
    _idle: asyncio.Event = attrs.field(factory=asyncio.Event)
    _ejection: Ejection = attrs.field(factory=Ejection)
    _methods: dict[tuple[str, bool], Any] = attrs.field(factory=dict)

    def method(self, rpc: str, *, streaming: bool) -> Any:
        """What calls a method with bytes, made once."""
        made = self._methods.get((rpc, streaming))
        if made is None:
            make = self.channel.unary_stream if streaming else self.channel.unary_unary
            made = self._methods[rpc, streaming] = make(f"/{rpc}")
        return made

    @property
    def there(self) -> bool:
        """Whether it came and has not gone since: a connection that is only being renewed is no absence."""
        return self.connected or (self.connecting and self.ready_at > 0.0)

    @property
    def reachable(self) -> bool:
        """Whether it is connected and says that it serves."""
        return self.connected and self.health.serving is True

    @property
    def pending(self) -> bool:
        """Whether it is going to be known soon if it is reachable."""
        return self.connecting or (self.connected and self.health.serving is None)

    def usable(self, now: float) -> bool:
        """Whether nothing speaks against it. One that is silent is asked at once whether it lives."""
        if not self.reachable or self._ejection.active(now):
            return False
        silent = self._owes_since is not None and now - self._owes_since > SILENT_SECONDS
        if silent:
            self._doubted.set()
        return not silent

    def ejected(self, now: float) -> bool:
        """Whether it is left alone for how its calls went."""
        return self._ejection.active(now)

    def load(self, streaming: bool) -> int:
        """The calls under way, or the streams: one that is open and quiet is no work."""
        return self._streams if streaming else self._calls

    def warmth(self, now: float) -> float:
        """Up to 1.0: how much of its share it takes, while it is new."""
        return min(1.0, max(LEAST_WARMTH, (now - self.ready_at) / WARM_SECONDS))

    def begin(self, now: float, streaming: bool) -> None:
        """A call goes to it."""
        if streaming:
            self._streams += 1
        else:
            self._calls += 1
            self._ask(now)

    def end(self, now: float, code: RpcCode, streaming: bool, seconds: float) -> None:
        """A call that had so many seconds is over, and its outcome speaks for or against the instance.

        A cancelled one says nothing. Nor does a stream's deadline: it may last as long as it likes.
        """
        if streaming:
            self._streams -= 1
        else:
            self._calls -= 1
        if not (self._calls or self._streams):
            self._idle.set()
        late = code is RpcCode.DEADLINE_EXCEEDED and not streaming
        if late:
            self._doubted.set()
        if code is RpcCode.UNAVAILABLE or (late and seconds >= LEAST_DEADLINE_SECONDS):
            if self._ejection.due(now) and self.may_eject():
                pause = self._ejection.begin(now)
                _log.warning("an instance is left alone", extra={"address": self.address, "seconds": round(pause, 1)})
        elif code not in _NO_SIGN_OF_LIFE:
            self._owes_since = None
            self._ejection.forgive(now)

    def start(self, tasks: asyncio.TaskGroup, on_change: Callable[[bool], None]) -> None:
        """Keep it connected and know how it is, until it is closed.

        `on_change` hears whether it came, for the first time or again, or went.
        """
        self._connecting = tasks.create_task(self._ever_again(lambda: self.watch_connection(on_change)))
        self._asking = (
            tasks.create_task(self._ever_again(self.health.watch)),
            tasks.create_task(self._ever_again(self.watch_life)),
        )

    async def _ever_again(self, watch: Callable[[], Coroutine[Any, Any, None]]) -> None:
        while not self._closed:
            try:
                await watch()
            except Exception:  # whatever an instance does, the others and the gateway live on
                if not self._closed:
                    _log.exception("watching an instance has failed", extra={"address": self.address})
                    await asyncio.sleep(WATCH_PAUSE_SECONDS)

    async def watch_connection(self, on_change: Callable[[bool], None]) -> None:
        """Keep it connected, and know whether it is."""
        loop = asyncio.get_running_loop()
        while not self._closed:
            state = self.channel.get_state(try_to_connect=True)
            there, was, self.connected = self.there, self.connected, state is _READY
            new = self.connected and not was
            if new:
                if not there:
                    self.ready_at = loop.time()
                self._owes_since = None
                self.health.connected()
            # Servers end connections in order (GOAWAY): until another attempt fails, that is no outage.
            self.connecting = not self.connected and state is not _FAILED and (was or self.connecting)
            on_change(new or (there and not self.there))
            await self.channel.wait_for_state_change(state)

    async def watch_life(self) -> None:
        """Ask it for a sign of life when it is doubted, and from time to time, until cancelled.

        Whatever is answered is one, also that there is no such method. A health service's `Watch` is none: it says
        nothing while nothing changes, whether the process runs or hangs.
        """
        loop = asyncio.get_running_loop()
        check: Any = self.channel.unary_unary(_CHECK)
        while True:
            try:
                async with asyncio.timeout(PROBE_SECONDS * random.uniform(0.8, 1.0)):
                    await self._doubted.wait()
            except TimeoutError:
                pass
            if self.connected:
                self._ask(loop.time())
                try:
                    await check(b"", timeout=PROBE_TIMEOUT_SECONDS)
                    self._owes_since = None
                except grpc.aio.AioRpcError as error:
                    if RpcCode(error.code().value[0]) not in _NO_SIGN_OF_LIFE:
                        self._owes_since = None
            if self._owes_since is not None:
                await asyncio.sleep(PROBE_PAUSE_SECONDS)
            self._doubted.clear()

    async def retire(self) -> None:
        """Let its calls end, for some time, and close its channel."""
        self.may_eject = lambda: False
        self.health.stop()
        try:
            async with asyncio.timeout(GRACE_SECONDS):
                while self._calls or self._streams:
                    self._idle.clear()
                    await self._idle.wait()
        except TimeoutError:
            pass
        await self.close()

    async def close(self) -> None:
        """Close the channel; its calls are cancelled. Whoever waits for them in `retire` is let go.

        Its own calls end first, and then it is waited for what gRPC tells of the closed channel: later it would come to
        an event loop that may be closed.
        """
        self._closed = True
        self._methods.clear()
        self.health.stop()
        self._calls = self._streams = 0
        self._idle.set()
        for task in self._asking:
            task.cancel()
        await asyncio.gather(*self._asking, return_exceptions=True)
        self._asking = ()  # a cancelled task holds where it was cancelled, and so its call, and so the channel
        await self.channel.close(None)
        await asyncio.wait([self._connecting], timeout=CLOSE_SECONDS)
        self._connecting.cancel()

    def _ask(self, now: float) -> None:
        if self._owes_since is None:
            self._owes_since = now
