"""REST and clients' calls, answered by a back end's methods."""

from collections.abc import AsyncIterator
from typing import Protocol

from imgateway.model import Identity
from imgateway.rpc import Metadata, RestAnswer, RestProblem, RestRequest, RestRoute


class RestStream(Protocol):
    """A server stream under way. Belongs to the task that asked for it."""

    @property
    def headers(self) -> Metadata:
        """The initial metadata that may be shown; known from the first message on."""
        ...

    @property
    def trailers(self) -> Metadata:
        """The trailing metadata that may be shown; known at the end."""
        ...

    @property
    def problem(self) -> RestProblem | None:
        """Why it broke off; None before the end, and after a good one."""
        ...

    def __aiter__(self) -> AsyncIterator[bytes]:
        """JSON texts without line breaks, in the order sent. Ends where the stream ends: look at `problem` then."""
        ...

    async def aclose(self) -> None:
        """Cancel the call if it is not over. Idempotent."""
        ...


class RestMatch(Protocol):
    """A route that fits a request's method and path."""

    @property
    def route(self) -> RestRoute:
        """Which."""
        ...

    async def unary(self, request: RestRequest, /) -> RestAnswer | RestProblem:
        """Make the call. Raises nothing for what clients or back ends do; cancelling cancels the call."""
        ...

    async def stream(self, request: RestRequest, /) -> RestStream | RestProblem:
        """Begin the call of a server-streaming route. The stream must be closed."""
        ...


class Transcoder(Protocol):
    """Knows which HTTP requests and which client messages are calls of which methods, and makes them."""

    def find(self, http_method: str, path: str, /) -> "RestMatch | frozenset[str]":
        """The route for a method and an undecoded path with its prefix, or the methods that the path would take.

        Never blocks. An empty set: the path is unknown. HEAD finds what GET finds.
        """
        ...

    async def message(
        self, message_type: str, data: bytes, identity: Identity, metadata: Metadata, seconds: float, /
    ) -> RestAnswer | RestProblem:
        """Make the unary call that a client message of this type stands for, out of its `data` (a JSON object)."""
        ...

    @property
    def message_types(self) -> frozenset[str]:
        """Types of client messages that are calls; never changes."""
        ...

    @property
    def loaded(self) -> bool:
        """Whether routes are known: False until a back end that describes itself was asked for the first time."""
        ...

    def openapi(self) -> bytes:
        """The routes as an OpenAPI 3.1 document (JSON).

        May be called in any thread. May block, for seconds where routes are many.
        """
        ...
