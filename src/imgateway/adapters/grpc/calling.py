"""One call: from a request to a back end and back."""

from collections.abc import AsyncIterator, Iterable
from typing import Self

import attrs

from imgateway.adapters.grpc.field_error import FieldError
from imgateway.adapters.grpc.identity_metadata import with_user
from imgateway.adapters.grpc.problems import problem_of, problem_of_garbage, problem_of_request
from imgateway.adapters.grpc.routing import Captures, IdentityError, MessageCall, Route
from imgateway.model import Identity, UserId
from imgateway.ports import Balancer, RpcStream
from imgateway.rpc import Metadata, RestAnswer, RestProblem, RestRequest, RestRoute, RpcFailure


@attrs.frozen
class ShownMetadata:
    """Which of a back end's metadata clients may see."""

    _names: frozenset[str]

    @classmethod
    def of(cls, names: Iterable[str], /) -> Self:
        """By the settings."""
        return cls(frozenset(names))

    def filter(self, metadata: Metadata, /) -> Metadata:
        """What may be seen of it."""
        if not self._names or not metadata:
            return ()
        return tuple(pair for pair in metadata if pair[0] in self._names)


@attrs.frozen(eq=False)
class GrpcMatch:
    """Implements `ports.RestMatch`; made by `GrpcTranscoder.find`."""

    _route: Route
    _captures: Captures
    _balancer: Balancer
    _shown: ShownMetadata

    @property
    def route(self) -> RestRoute:
        """Which."""
        return self._route.rest

    async def unary(self, request: RestRequest, /) -> RestAnswer | RestProblem:
        """Make the call."""
        message = self._bound(request)
        if isinstance(message, RestProblem):
            return message
        route, metadata = self._route, _metadata(request)
        return await _unary(route, route.rest.rpc, self._balancer, self._shown, message, metadata, request.seconds)

    async def stream(self, request: RestRequest, /) -> "GrpcRestStream | RestProblem":
        """Begin the call of a server-streaming route."""
        message = self._bound(request)
        if isinstance(message, RestProblem):
            return message
        rpc = self._route.rest.rpc
        stream = await self._balancer.stream(rpc, message, _metadata(request), request.seconds)
        if isinstance(stream, RpcFailure):
            return _refused(rpc, stream, self._shown)
        return GrpcRestStream(self._route, stream, self._shown)

    def _bound(self, request: RestRequest) -> bytes | RestProblem:
        try:
            return self._route.request(self._captures, request.query, request.body, _user_id(request))
        except (FieldError, IdentityError) as error:
            return problem_of_request(error)


async def call_message(
    call: MessageCall,
    balancer: Balancer,
    shown: ShownMetadata,
    data: bytes,
    identity: Identity,
    metadata: Metadata,
    seconds: float,
    /,
) -> RestAnswer | RestProblem:
    """Make the unary call of a client's message."""
    try:
        message = call.request(data, identity.user_id)
    except (FieldError, IdentityError) as error:
        return problem_of_request(error)
    return await _unary(call, call.rpc, balancer, shown, message, with_user(metadata, identity.user_id), seconds)


async def _unary(
    binding: Route | MessageCall,
    rpc: str,
    balancer: Balancer,
    shown: ShownMetadata,
    message: bytes,
    metadata: Metadata,
    seconds: float,
) -> RestAnswer | RestProblem:
    outcome = await balancer.unary(rpc, message, metadata, seconds, binding.idempotent)
    if isinstance(outcome, RpcFailure):
        return _refused(rpc, outcome, shown)
    try:
        body = binding.answer(outcome.message)
    except ValueError as error:
        return problem_of_garbage(rpc, error)
    return RestAnswer(body, shown.filter(outcome.headers), shown.filter(outcome.trailers))


def _user_id(request: RestRequest) -> UserId | None:
    return None if request.identity is None else request.identity.user_id


def _metadata(request: RestRequest) -> Metadata:
    return with_user(request.metadata, _user_id(request))


def _refused(rpc: str, failure: RpcFailure, shown: ShownMetadata) -> RestProblem:
    problem = problem_of(rpc, failure)
    trailers = shown.filter(failure.trailers)
    return attrs.evolve(problem, trailers=trailers) if trailers else problem


@attrs.define(eq=False)
class GrpcRestStream:
    """Implements `ports.RestStream`; made by `GrpcMatch.stream`."""

    _route: Route
    _stream: RpcStream
    _shown: ShownMetadata
    problem: RestProblem | None = attrs.field(default=None, init=False)

    @property
    def headers(self) -> Metadata:
        """The initial metadata that may be shown."""
        return self._shown.filter(self._stream.headers)

    @property
    def trailers(self) -> Metadata:
        """The trailing metadata that may be shown."""
        return self._shown.filter(self._stream.trailers)

    def __aiter__(self) -> AsyncIterator[bytes]:
        """The messages as JSON, in order."""
        return self._messages()

    async def _messages(self) -> AsyncIterator[bytes]:
        rpc = self._route.rest.rpc
        async for message in self._stream:
            try:
                text = self._route.answer(message)
            except ValueError as error:
                self.problem = problem_of_garbage(rpc, error)
                await self._stream.aclose()
                return
            yield text
        if self._stream.failure is not None:
            self.problem = _refused(rpc, self._stream.failure, self._shown)

    async def aclose(self) -> None:
        """Cancel the call if it is not over."""
        await self._stream.aclose()
