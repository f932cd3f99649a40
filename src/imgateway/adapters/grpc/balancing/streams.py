"""A server-streaming call under way."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import attrs
import grpc

from imgateway.adapters.grpc.balancing.outcomes import UNAVAILABLE, failure_of, metadata
from imgateway.adapters.grpc.tasks import is_cancelled
from imgateway.codes import RpcCode
from imgateway.rpc import Metadata, RpcFailure


@attrs.define(eq=False)
class GrpcStream:
    """Implements `ports.RpcStream`. Messages are read as they are asked for; gRPC's flow control holds the rest."""

    _call: Any
    _rpc: str
    _on_end: Callable[[RpcCode], None]
    headers: Metadata = attrs.field(default=(), init=False)
    trailers: Metadata = attrs.field(default=(), init=False)
    failure: RpcFailure | None = attrs.field(default=None, init=False)
    _begun: bool = attrs.field(default=False, init=False)
    _over: bool = attrs.field(default=False, init=False)

    def __aiter__(self) -> AsyncIterator[bytes]:
        """The messages, in order."""
        return self

    async def __anext__(self) -> bytes:
        """The next message."""
        if self._over:
            raise StopAsyncIteration
        try:
            message = await self._call.read()
            if not self._begun:
                self._begun = True
                self.headers = metadata(await self._call.initial_metadata())
            if message is not grpc.aio.EOF:
                found: bytes = message
                return found
            self.trailers = metadata(await self._call.trailing_metadata())
            self._end(RpcCode.OK)
        except grpc.aio.AioRpcError as error:
            self.failure = failure_of(error, self._rpc)
            self.trailers = self.failure.trailers
            self._end(self.failure.code)
        except asyncio.CancelledError:
            if is_cancelled():
                raise
            # Its channel was closed under it.
            self.failure = UNAVAILABLE
            self._end(RpcCode.CANCELLED)
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """Cancel the call if it is not over."""
        self._call.cancel()
        self._end(RpcCode.CANCELLED)

    def _end(self, code: RpcCode) -> None:
        if not self._over:
            self._over = True
            self._on_end(code)
