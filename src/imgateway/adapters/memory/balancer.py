"""A service answered by functions of the same process."""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from typing import Final

import anyio
import attrs

from imgateway.codes import RpcCode
from imgateway.rpc import Metadata, RpcAnswer, RpcFailure

Answers = Callable[[bytes, Metadata], Awaitable[bytes | RpcFailure]]
Streams = Callable[[bytes, Metadata], AsyncGenerator[bytes | RpcFailure, None]]
"""Yields messages; a failure is the last thing it yields."""

_CLOSED: Final = RpcFailure(RpcCode.UNAVAILABLE, "The service can't be reached just now.", reached=False)
_UNKNOWN: Final = RpcFailure(RpcCode.UNIMPLEMENTED, "There is no such method.")
_TOO_LATE: Final = RpcFailure(RpcCode.DEADLINE_EXCEEDED, "The call took too long.", reached=False)


@attrs.define(eq=False)
class MemoryBalancer:
    """Implements `ports.Balancer`; the one instance there is never fails by itself.

    Args:
        answers: functions for unary methods, by `pkg.Service/Method`.
        streams: functions for server-streaming methods.
    """

    _answers: Mapping[str, Answers]
    _streams: Mapping[str, Streams]
    _under_way: set[anyio.CancelScope] = attrs.field(factory=set, init=False)
    _open: set["MemoryRpcStream"] = attrs.field(factory=set, init=False)
    _closed: bool = attrs.field(default=False, init=False)

    async def unary(
        self, rpc: str, request: bytes, metadata: Metadata, seconds: float, idempotent: bool, /
    ) -> RpcAnswer | RpcFailure:
        """Ask the function, for as long as there is time."""
        if self._closed:
            return _CLOSED
        answers = self._answers.get(rpc)
        if answers is None:
            return _UNKNOWN
        with anyio.CancelScope(deadline=anyio.current_time() + seconds) as scope:
            self._under_way.add(scope)
            try:
                outcome = await answers(request, metadata)
                return outcome if isinstance(outcome, RpcFailure) else RpcAnswer(outcome)
            finally:
                self._under_way.discard(scope)
        return _TOO_LATE if anyio.current_time() >= scope.deadline else _CLOSED

    async def stream(
        self, rpc: str, request: bytes, metadata: Metadata, seconds: float, /
    ) -> "MemoryRpcStream | RpcFailure":
        """Begin to ask the function."""
        if self._closed:
            return _CLOSED
        streams = self._streams.get(rpc)
        if streams is None:
            return _UNKNOWN
        stream = MemoryRpcStream(streams(request, metadata), anyio.current_time() + seconds, self._open.discard)
        self._open.add(stream)
        return stream

    async def aclose(self) -> None:
        """Cancel what is under way."""
        self._closed = True
        for scope in tuple(self._under_way):
            scope.cancel()
        for stream in tuple(self._open):
            await stream.cut()


@attrs.define(eq=False)
class MemoryRpcStream:
    """Implements `ports.RpcStream`; made by `MemoryBalancer.stream`."""

    _source: AsyncGenerator[bytes | RpcFailure, None]
    _ends_at: float
    _on_end: Callable[["MemoryRpcStream"], None]
    headers: Metadata = attrs.field(default=(), init=False)
    trailers: Metadata = attrs.field(default=(), init=False)
    failure: RpcFailure | None = attrs.field(default=None, init=False)
    _over: bool = attrs.field(default=False, init=False)
    _reading: anyio.CancelScope | None = attrs.field(default=None, init=False)
    _when_cut: RpcFailure = attrs.field(default=_TOO_LATE, init=False)

    def __aiter__(self) -> AsyncIterator[bytes]:
        """What the function yields, for as long as there is time."""
        return self

    async def __anext__(self) -> bytes:
        """The next message."""
        if self._over:
            raise StopAsyncIteration
        found: bytes | RpcFailure | None
        with anyio.CancelScope(deadline=self._ends_at) as self._reading:
            found = await anext(self._source, None)
        if self._reading.cancelled_caught:
            found = self._when_cut
        self._reading = None
        if isinstance(found, bytes):
            return found
        self.failure = found
        await self.aclose()
        raise StopAsyncIteration

    async def cut(self) -> None:
        """End it because the balancer is closed: whoever reads, or reads on, finds it unavailable."""
        self._when_cut = _CLOSED
        if self._reading is not None:
            self._reading.cancel()
        else:
            self.failure = _CLOSED
            await self.aclose()

    async def aclose(self) -> None:
        """End the function."""
        self._over = True
        self._on_end(self)
        await self._source.aclose()
