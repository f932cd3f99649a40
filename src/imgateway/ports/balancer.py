"""Calling the instances of one service."""

from collections.abc import AsyncIterator
from typing import Protocol

from imgateway.rpc import Metadata, RpcAnswer, RpcFailure


class RpcStream(Protocol):
    """The answer of a server-streaming call under way. Belongs to the task that asked for it."""

    @property
    def headers(self) -> Metadata:
        """The initial metadata; known once the first message or the end is there, empty before."""
        ...

    @property
    def trailers(self) -> Metadata:
        """The trailing metadata; known at the end, empty before."""
        ...

    @property
    def failure(self) -> RpcFailure | None:
        """Why it broke off; None before the end, and after a good one."""
        ...

    def __aiter__(self) -> AsyncIterator[bytes]:
        """The serialised messages in the order sent. Ends where the stream ends: look at `failure` then."""
        ...

    async def aclose(self) -> None:
        """Cancel the call if it is not over. Idempotent."""
        ...


class Balancer(Protocol):
    """Spreads calls over the healthy instances of one service, and keeps away from those that fail."""

    async def unary(
        self, rpc: str, request: bytes, metadata: Metadata, seconds: float, idempotent: bool, /
    ) -> RpcAnswer | RpcFailure:
        """Call a method once, or where that is safe (`idempotent`, and `UNAVAILABLE`) again within the same time.

        Never raises for what a back end or the network does; cancelling cancels the call.

        Args:
            rpc: `pkg.Service/Method`.
            request: the serialised message.
            metadata: what goes along.
            idempotent: whether calling twice does what calling once does.
            seconds: for everything, retries and waiting for a connection included.
        """
        ...

    async def stream(self, rpc: str, request: bytes, metadata: Metadata, seconds: float, /) -> RpcStream | RpcFailure:
        """Begin a server-streaming call; an `RpcFailure` where there is nobody to call. Must be closed."""
        ...

    async def aclose(self) -> None:
        """Part from all instances; calls under way are cancelled. Idempotent."""
        ...
