"""Choosing an instance for each call: the less busy of two by chance, among the healthy."""

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final, Self

import anyio
import anyio.lowlevel
import attrs
import grpc

from imgateway.adapters.grpc.balancing.budget import RetryBudget
from imgateway.adapters.grpc.balancing.endpoint import Endpoint
from imgateway.adapters.grpc.balancing.health import Health
from imgateway.adapters.grpc.balancing.instances import Instances
from imgateway.adapters.grpc.balancing.outcomes import NO_MESSAGE, UNAVAILABLE, failure_of, metadata
from imgateway.adapters.grpc.balancing.streams import GrpcStream
from imgateway.adapters.grpc.balancing.tls import TlsFiles, channel_maker
from imgateway.adapters.grpc.tasks import is_cancelled, owned_tasks
from imgateway.codes import RpcCode
from imgateway.rpc import RETRY_AFTER_SECONDS, Metadata, RpcAnswer, RpcFailure

ATTEMPTS: Final = 3
OPEN_SECONDS: Final = 1.0
"""How long a call waits while it is open whether an instance can be used."""
RETRY_PAUSE_SECONDS: Final = 0.02

_OPTIONS: Final[tuple[tuple[str, Any], ...]] = (
    ("grpc.enable_retries", 0),
    ("grpc.service_config_disable_resolution", 1),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_http_proxy", 0),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 5000),  # also how long an attempt to connect may take
    ("grpc.max_reconnect_backoff_ms", 2000),
    ("grpc.keepalive_time_ms", 15_000),  # see `endpoint.PROBE_SECONDS`
    ("grpc.keepalive_timeout_ms", 5000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.ping_timeout_ms", 5000),
)
_NOBODY: Final = attrs.evolve(UNAVAILABLE, retry_after=RETRY_AFTER_SECONDS)

_log = logging.getLogger(__name__)


@attrs.define(eq=False)
class GrpcBalancer:
    """Implements `ports.Balancer` for asyncio; made by `open`.

    Of two usable instances chosen by chance the less busy one gets the call; a new one passes part of its calls on at
    first. Usable is who is connected, says that it serves, gives signs of life, and has not failed several times in a
    row. Of those that fail at most half are left alone, and where nobody is usable all that say they serve are used.
    """

    _make_channel: Callable[[str], grpc.aio.Channel]
    _service: str
    _tasks: asyncio.TaskGroup
    _on_newest: Callable[[], None]
    _endpoints: dict[str, Endpoint] = attrs.field(factory=dict, init=False)
    _refused: set[str] = attrs.field(factory=set, init=False)
    _all: tuple[Endpoint, ...] = attrs.field(default=(), init=False)
    _retiring: set[Endpoint] = attrs.field(factory=set, init=False)
    _changed: asyncio.Event = attrs.field(factory=asyncio.Event, init=False)
    _budget: RetryBudget = attrs.field(factory=RetryBudget, init=False)
    _known: bool = attrs.field(default=False, init=False)
    _closed: bool = attrs.field(default=False, init=False)

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        instances: Instances,
        /,
        *,
        service: str,
        tls: TlsFiles | None,
        max_response_bytes: int,
        on_newest: Callable[[], None] = lambda: None,
    ) -> AsyncIterator[Self]:
        """A balancer; closed when the context is left. Returns at once, whether anybody can be reached or not.

        Args:
            instances: where they are.
            service: whose health is asked for; empty for the whole server's.
            tls: how they are spoken to; None: without TLS.
            max_response_bytes: the longest message taken.
            on_newest: called whenever `channel` may be another one, or leads to another server; must not block.

        Raises:
            SettingsError: a TLS file is of no use.
        """
        options = [*_OPTIONS, ("grpc.max_receive_message_length", max_response_bytes)]
        make_channel = channel_maker(tls, options)
        async with owned_tasks() as tasks:
            balancer = cls(make_channel, service, tasks, on_newest)
            following = tasks.create_task(balancer._follow(instances))
            try:
                yield balancer
            finally:
                following.cancel()
                with anyio.CancelScope(shield=True):  # a scope that is cancelled would cancel this as well
                    await balancer.aclose()

    async def unary(
        self, rpc: str, request: bytes, metadata_: Metadata, seconds: float, idempotent: bool, /
    ) -> RpcAnswer | RpcFailure:
        """Call a method; again on another instance where that is safe. See `ports.Balancer`."""
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + seconds
        self._budget.called()
        tried: tuple[Endpoint, ...] = ()
        while True:
            endpoint = self._pick(tried, streaming=False) or await self._wait(ends_at, streaming=False)
            if endpoint is None:
                return _NOBODY
            left = ends_at - loop.time()
            outcome = await self._attempt(endpoint, rpc, request, metadata_, left, loop)
            if isinstance(outcome, RpcAnswer) or outcome.code is not RpcCode.UNAVAILABLE or not idempotent:
                return outcome
            tried = (*tried, endpoint)
            pause = random.random() * RETRY_PAUSE_SECONDS * 2 ** len(tried)
            if len(tried) >= ATTEMPTS or loop.time() + pause >= ends_at or not self._budget.take():
                return outcome
            await asyncio.sleep(pause)

    async def stream(
        self, rpc: str, request: bytes, metadata_: Metadata, seconds: float, /
    ) -> "GrpcStream | RpcFailure":
        """Begin a server-streaming call on one instance."""
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + seconds
        endpoint = self._pick((), streaming=True) or await self._wait(ends_at, streaming=True)
        if endpoint is None:
            return _NOBODY
        endpoint.begin(loop.time(), streaming=True)
        call = endpoint.method(rpc, streaming=True)(
            request, timeout=max(0.0, ends_at - loop.time()), metadata=metadata_
        )

        def ended(code: RpcCode) -> None:
            endpoint.end(loop.time(), code, streaming=True, seconds=seconds)

        return GrpcStream(call, rpc, ended)

    def channel(self) -> grpc.aio.Channel | None:
        """The channel of the newest instance that is there: of the one that came, or came back from an outage, last."""
        there = [endpoint for endpoint in self._all if endpoint.there]
        return max(there, key=lambda endpoint: endpoint.ready_at).channel if there else None

    async def aclose(self) -> None:
        """Part from all instances; calls under way are cancelled. Idempotent."""
        self._closed = True
        gone = [*self._all, *self._retiring]
        self._all = ()
        self._endpoints.clear()
        self._changed.set()
        await asyncio.gather(*(endpoint.close() for endpoint in gone))

    async def _attempt(
        self,
        endpoint: Endpoint,
        rpc: str,
        request: bytes,
        metadata_: Metadata,
        seconds: float,
        loop: asyncio.AbstractEventLoop,
    ) -> RpcAnswer | RpcFailure:
        endpoint.begin(loop.time(), streaming=False)
        code = RpcCode.CANCELLED
        try:
            call = endpoint.method(rpc, streaming=False)(request, timeout=max(0.0, seconds), metadata=metadata_)
            message = await call
            if message is None:  # a good status came alone
                code = NO_MESSAGE.code
                return NO_MESSAGE
            answer = RpcAnswer(
                message, metadata(await call.initial_metadata()), metadata(await call.trailing_metadata())
            )
            code = RpcCode.OK
            return answer
        except grpc.aio.AioRpcError as error:
            failure = failure_of(error, rpc)
            code = failure.code
            return failure
        except asyncio.CancelledError:
            if not is_cancelled():
                return _NOBODY  # its channel was closed under it
            # gRPC has swallowed the cancellation and raises one of its own, which no scope of anyio takes for its own.
            await anyio.lowlevel.checkpoint_if_cancelled()
            raise
        finally:
            endpoint.end(loop.time(), code, streaming=False, seconds=seconds)

    def _pick(self, tried: tuple[Endpoint, ...], *, streaming: bool) -> Endpoint | None:
        endpoints = self._all
        if len(endpoints) == 1:
            only = endpoints[0]
            return only if only.reachable else None
        now = asyncio.get_running_loop().time()
        usable = [endpoint for endpoint in endpoints if endpoint.usable(now)]
        usable = usable or [endpoint for endpoint in endpoints if endpoint.reachable]
        if tried:
            usable = [endpoint for endpoint in usable if endpoint not in tried] or usable
        if len(usable) < 2:
            return usable[0] if usable else None
        chosen, other = random.sample(usable, 2)
        if other.load(streaming) < chosen.load(streaming):
            chosen, other = other, chosen
        takes = chosen.warmth(now) / other.warmth(now)
        return chosen if takes >= 1.0 or random.random() < takes else other

    async def _wait(self, ends_at: float, *, streaming: bool) -> Endpoint | None:
        """Wait for an instance while it is open whether one can be reached, but not long."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout_at(min(ends_at, loop.time() + OPEN_SECONDS)):
                while not self._closed and (not self._known or any(endpoint.pending for endpoint in self._all)):
                    self._changed.clear()
                    await self._changed.wait()
                    if (endpoint := self._pick((), streaming=streaming)) is not None:
                        return endpoint
        except TimeoutError:
            pass
        return None

    def _may_eject(self) -> bool:
        now = asyncio.get_running_loop().time()
        ejected = sum(endpoint.ejected(now) for endpoint in self._all)
        return 2 * (ejected + 1) <= len(self._all)

    async def _follow(self, instances: Instances) -> None:
        end = await instances.follow(self._take)
        try:
            await asyncio.Event().wait()
        finally:
            end()

    def _take(self, addresses: frozenset[str]) -> None:
        """These are all there are."""
        if self._closed:
            return
        self._known = True
        gone = self._endpoints.keys() - addresses
        for address in gone:
            endpoint = self._endpoints.pop(address)
            self._retiring.add(endpoint)
            self._tasks.create_task(self._retire(endpoint))
        refused = set[str]()
        for address in addresses - self._endpoints.keys():
            try:
                channel = self._make_channel(address)
            except (ValueError, TypeError) as error:  # as gRPC sees fit
                if address not in self._refused:
                    _log.warning("an address is none", extra={"address": ascii(address), "why": str(error)})
                refused.add(address)
                continue
            health = Health(channel, self._service, self._changed.set)
            endpoint = self._endpoints[address] = Endpoint(address, channel, health, self._may_eject)
            endpoint.start(self._tasks, self._heard)
        self._refused = refused
        self._all = tuple(self._endpoints.values())
        self._changed.set()
        if gone:
            self._on_newest()

    def _heard(self, came_or_went: bool) -> None:
        self._changed.set()
        if came_or_went:
            self._on_newest()

    async def _retire(self, endpoint: Endpoint) -> None:
        await endpoint.retire()
        self._retiring.discard(endpoint)
