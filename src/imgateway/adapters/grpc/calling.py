"""One call: from a request to a back end and back."""

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor
from functools import partial
from time import monotonic
from typing import Final

import attrs

from imgateway.adapters.grpc.field_error import FieldError
from imgateway.adapters.grpc.identity_metadata import with_user
from imgateway.adapters.grpc.places import Places
from imgateway.adapters.grpc.problems import problem_of, problem_of_garbage, problem_of_request
from imgateway.adapters.grpc.routing import Captures, IdentityError, MessageCall, Route
from imgateway.model import Identity
from imgateway.ports import RpcStream
from imgateway.rpc import Metadata, RestAnswer, RestProblem, RestRequest, RestRoute, RpcFailure

LARGE_BYTES: Final = 32 * 1024
"""From this size on texts and messages are converted in a thread: megabytes take seconds, and everybody would wait."""


@attrs.frozen(eq=False)
class Caller:
    """Makes the calls, and says what clients may see of what comes back.

    Args:
        places: where the services are.
        names: of the metadata of back ends that clients may see.
        threads: where large texts and messages are converted; few, as each takes the interpreter from the event loop.
    """

    _places: Places
    _names: frozenset[str]
    _threads: Executor

    async def message(
        self, call: MessageCall, data: bytes, identity: Identity, metadata: Metadata, seconds: float, /
    ) -> RestAnswer | RestProblem:
        """Make the unary call of a client's message."""
        user_id = identity.user_id
        make = partial(call.request, data, user_id)
        return await self.unary(call, len(data), make, with_user(metadata, user_id), seconds)

    async def request(
        self, size: int, make: Callable[[], bytes], seconds: float, /
    ) -> tuple[bytes, float] | RestProblem:
        """A serialised request, and how much of the time is left after making it."""
        begun = monotonic()
        try:
            message = await self.beside(size, make)
        except (FieldError, IdentityError) as error:
            return problem_of_request(error)
        return message, seconds - (monotonic() - begun)

    async def unary(
        self, binding: Route | MessageCall, size: int, make: Callable[[], bytes], metadata: Metadata, seconds: float, /
    ) -> RestAnswer | RestProblem:
        """Make a unary call with the message that `make` makes of a text of so many bytes."""
        made = await self.request(size, make, seconds)
        if isinstance(made, RestProblem):
            return made
        message, left = made
        rpc = binding.rpc
        outcome = await self._places.of(rpc).unary(rpc, message, metadata, left, binding.idempotent)
        if isinstance(outcome, RpcFailure):
            return self.refused(rpc, outcome)
        try:
            body = await self.converted(binding, outcome.message)
        except ValueError as error:
            return problem_of_garbage(rpc, error)
        return RestAnswer(body, self.shown(outcome.headers), self.shown(outcome.trailers))

    async def stream(
        self, route: Route, size: int, make: Callable[[], bytes], metadata: Metadata, seconds: float, /
    ) -> "GrpcRestStream | RestProblem":
        """Begin the call of a server-streaming method, with a message as in `unary`."""
        made = await self.request(size, make, seconds)
        if isinstance(made, RestProblem):
            return made
        message, left = made
        rpc = route.rpc
        stream = await self._places.of(rpc).stream(rpc, message, metadata, left)
        return self.refused(rpc, stream) if isinstance(stream, RpcFailure) else GrpcRestStream(route, stream, self)

    async def converted(self, binding: Route | MessageCall, message: bytes, /) -> bytes:
        """A message as JSON; raises ValueError where it is none."""
        return await self.beside(len(message), lambda: binding.answer(message))

    async def beside(self, size: int, convert: Callable[[], bytes], /) -> bytes:
        """Convert at once, or where it is much, beside the event loop; cancelled, it waits no longer."""
        if size < LARGE_BYTES:
            return convert()
        return await asyncio.get_running_loop().run_in_executor(self._threads, convert)

    def shown(self, metadata: Metadata, /) -> Metadata:
        """What clients may see of it."""
        if not self._names or not metadata:
            return ()
        return tuple(pair for pair in metadata if pair[0] in self._names)

    def refused(self, rpc: str, failure: RpcFailure, /) -> RestProblem:
        """A failed call, with those trailers that may be seen."""
        problem = problem_of(rpc, failure)
        trailers = self.shown(failure.trailers)
        return attrs.evolve(problem, trailers=trailers) if trailers else problem


@attrs.frozen(eq=False)
class GrpcMatch:
    """Implements `ports.RestMatch`; made by `GrpcTranscoder.find`."""

    _route: Route
    _captures: Captures
    _caller: Caller

    @property
    def route(self) -> RestRoute:
        """Which."""
        return self._route.rest

    async def unary(self, request: RestRequest, /) -> RestAnswer | RestProblem:
        """Make the call."""
        size, make, metadata = self._parts(request)
        return await self._caller.unary(self._route, size, make, metadata, request.seconds)

    async def stream(self, request: RestRequest, /) -> "GrpcRestStream | RestProblem":
        """Begin the call of a server-streaming route."""
        size, make, metadata = self._parts(request)
        return await self._caller.stream(self._route, size, make, metadata, request.seconds)

    def _parts(self, request: RestRequest) -> tuple[int, Callable[[], bytes], Metadata]:
        user_id = None if request.identity is None else request.identity.user_id
        make = partial(self._route.request, self._captures, request.query, request.body, user_id)
        return len(request.body), make, with_user(request.metadata, user_id)


@attrs.define(eq=False)
class GrpcRestStream:
    """Implements `ports.RestStream`; made by `GrpcMatch.stream`."""

    _route: Route
    _stream: RpcStream
    _caller: Caller
    problem: RestProblem | None = attrs.field(default=None, init=False)

    @property
    def headers(self) -> Metadata:
        """The initial metadata that may be shown."""
        return self._caller.shown(self._stream.headers)

    @property
    def trailers(self) -> Metadata:
        """The trailing metadata that may be shown."""
        return self._caller.shown(self._stream.trailers)

    def __aiter__(self) -> AsyncIterator[bytes]:
        """The messages as JSON, in order."""
        return self._messages()

    async def _messages(self) -> AsyncIterator[bytes]:
        async for message in self._stream:
            try:
                text = await self._caller.converted(self._route, message)
            except ValueError as error:
                self.problem = problem_of_garbage(self._route.rpc, error)
                await self._stream.aclose()
                return
            yield text
        if self._stream.failure is not None:
            self.problem = self._caller.refused(self._route.rpc, self._stream.failure)

    async def aclose(self) -> None:
        """Cancel the call if it is not over."""
        await self._stream.aclose()
