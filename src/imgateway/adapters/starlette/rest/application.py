"""REST as a bare ASGI application: what fits a route becomes a call, everything else a problem."""

import asyncio
import logging
from functools import lru_cache
from time import perf_counter
from urllib.parse import quote

from starlette.types import Receive, Scope, Send

from imgateway.adapters.starlette.client_address import client_address, networks
from imgateway.adapters.starlette.handshake import bearer
from imgateway.adapters.starlette.rest import refusals
from imgateway.adapters.starlette.rest.body import announced_problem, leave_unread, read_body
from imgateway.adapters.starlette.rest.deadline import named_seconds
from imgateway.adapters.starlette.rest.exchange import Exchange
from imgateway.adapters.starlette.rest.forwarding import Forwarding
from imgateway.adapters.starlette.rest.negotiation import reads_json, stream_framing
from imgateway.adapters.starlette.rest.pages import Pages, is_preflight
from imgateway.adapters.starlette.rest.shown_metadata import shown
from imgateway.adapters.starlette.rest.streaming import answer_stream
from imgateway.adapters.starlette.rest.watching import Watch
from imgateway.codes import RpcCode
from imgateway.core.gateway import Gateway
from imgateway.core.settings_grpc import GrpcSettings
from imgateway.model import Credentials, Identity, Refusal
from imgateway.ports import RestMatch
from imgateway.rpc import NOT_KNOWN_YET, RestProblem, RestRequest, RestRoute

_OK = RpcCode.OK.name
_CANCELLED = RpcCode.CANCELLED.name
_JSON = b"application/json"

_log = logging.getLogger(__name__)


class RestApplication:
    """An ASGI application for HTTP requests under the prefix; answers each of them, whatever happens. Needs asyncio.

    A client that leaves cancels its call. Nothing that a client sent is logged.
    """

    def __init__(self, gateway: Gateway, settings: GrpcSettings, /) -> None:
        server = gateway.settings.server
        self._gateway = gateway
        self._settings = settings
        self._trusted = networks(server.trusted_proxies)
        self._forwarding = Forwarding(settings.forward_headers)
        self._pages = Pages(server.allowed_origins, sent=self._forwarding.names, returned=settings.return_metadata)
        self._address = lru_cache(maxsize=4096)(self._client_address)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        started = perf_counter()
        exchange = Exchange.of(scope, receive, send, closing=self._gateway.draining)
        if b"origin" in exchange.headers:
            page = self._pages.lines(exchange)
            if page is None:
                await self._refuse(exchange, refusals.FOREIGN)
                return
            exchange.page = page
        transcoder = self._gateway.transcoder
        if transcoder is None or not transcoder.loaded:
            await self._refuse(exchange, NOT_KNOWN_YET)
            return
        try:
            path = _path(scope)
            found = frozenset[str]() if path is None else transcoder.find(scope["method"], path)
        except Exception:
            _log.exception("finding a route failed")
            await self._refuse(exchange, refusals.FAILED)
            return
        if isinstance(found, frozenset):
            await self._without_route(exchange, found)
            return
        code = _CANCELLED
        self._gateway.call_begun()
        try:
            code = await self._call(exchange, found)
        except Exception:
            code = refusals.FAILED.code
            _log.exception("a call failed", extra={"rpc": found.route.rpc})
            if exchange.begun:
                raise  # the server can only end the connection
            await self._refuse(exchange, refusals.FAILED)
        finally:
            self._gateway.call_finished(found.route.rpc, code, perf_counter() - started)

    async def _without_route(self, exchange: Exchange, methods: frozenset[str]) -> None:
        if not methods:
            await self._refuse(exchange, refusals.NOT_FOUND)
            return
        allowed = ", ".join(sorted(methods | {"OPTIONS"} | ({"HEAD"} if "GET" in methods else set()))).encode()
        if exchange.scope["method"] != "OPTIONS":
            await self._refuse(exchange, refusals.OTHER_METHODS, allowed)
        elif is_preflight(exchange):
            await exchange.nothing((*self._pages.preflight(allowed), (b"allow", allowed)))
        else:
            await exchange.nothing(((b"allow", allowed),))

    async def _refuse(self, exchange: Exchange, problem: RestProblem, allowed: bytes | None = None) -> None:
        leave_unread(exchange, self._settings.max_request_bytes)
        await exchange.refuse(problem, () if allowed is None else ((b"allow", allowed),))

    async def _call(self, exchange: Exchange, match: RestMatch) -> str:
        request = await self._request(exchange, match.route)
        if request is None:
            return _CANCELLED
        if isinstance(request, RestProblem):
            await self._refuse(exchange, request)
            return request.code
        watch = Watch(exchange.receive, at_once=match.route.server_streaming)
        try:
            if match.route.server_streaming:
                return await self._stream(exchange, match, request)
            answer = await match.unary(request)
        except asyncio.CancelledError:
            if watch.forgives():
                return _CANCELLED
            raise
        finally:
            watch.end()
        if isinstance(answer, RestProblem):
            await exchange.refuse(answer)
            return answer.code
        await exchange.answer(200, _JSON, answer.body, shown(answer.headers, answer.trailers))
        return _OK

    async def _stream(self, exchange: Exchange, match: RestMatch, request: RestRequest) -> str:
        framing = stream_framing(exchange.joined(b"accept"))
        assert framing is not None  # noqa: S101  # else it is no request
        stream = await match.stream(request)
        if isinstance(stream, RestProblem):
            await exchange.refuse(stream)
            return stream.code
        try:
            return await answer_stream(exchange, stream, framing)
        finally:
            await stream.aclose()

    async def _request(self, exchange: Exchange, route: RestRoute) -> RestRequest | RestProblem | None:
        """The request, read and authenticated; None where the client left before that."""
        if route.client_streaming:
            return refusals.CLIENT_STREAMING
        identity = None if route.public else await self._identify(exchange)
        if isinstance(identity, RestProblem):
            return identity
        if problem := _unreadable(exchange, route):
            return problem
        seconds = named_seconds(exchange)
        if isinstance(seconds, RestProblem):
            return seconds
        longest = self._settings.max_deadline_seconds
        if seconds is None:
            seconds = longest if route.server_streaming else self._settings.default_deadline_seconds
        seconds = min(seconds, longest)
        metadata = self._forwarding.metadata(exchange)
        if isinstance(metadata, RestProblem):
            return metadata
        body = b""
        if exchange.has_body and route.takes_body:
            begun = perf_counter()
            received = await self._body(exchange, seconds)
            if not isinstance(received, bytes):
                return received
            body = received
            seconds = max(seconds - (perf_counter() - begun), 0.001)
        else:
            leave_unread(exchange, self._settings.max_request_bytes)
        query = exchange.scope["query_string"]
        if not query.isascii():
            return refusals.invalid("A query must be percent-encoded.")
        return RestRequest(query.decode(), body, identity, metadata, seconds)

    async def _body(self, exchange: Exchange, seconds: float) -> bytes | RestProblem | None:
        limit = self._settings.max_request_bytes
        return announced_problem(exchange, limit) or await read_body(exchange, limit, seconds)

    async def _identify(self, exchange: Exchange) -> Identity | RestProblem:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in exchange.headers.items()}
        if b"authorization" in exchange.repeated:
            return refusals.TWO_TOKENS
        peer = exchange.scope.get("client")
        address = self._address(None if peer is None else peer[0], exchange.joined(b"x-forwarded-for"))
        proven = await self._gateway.verify(Credentials(bearer(headers.get("authorization")), headers, address))
        return refusals.refused(proven) if isinstance(proven, Refusal) else proven

    def _client_address(self, peer: str | None, forwarded_for: bytes | None) -> str | None:
        lines = () if forwarded_for is None else (forwarded_for.decode("latin-1"),)
        return client_address(peer, lines, self._trusted)


def _unreadable(exchange: Exchange, route: RestRoute) -> RestProblem | None:
    accept = exchange.joined(b"accept")
    if route.server_streaming:
        return refusals.READS_NO_STREAM if stream_framing(accept) is None else None
    return None if reads_json(accept) else refusals.READS_NO_JSON


def _path(scope: Scope) -> str | None:
    """The path as the client wrote it, below where the application is mounted; None where there is no such path."""
    raw: bytes = scope.get("raw_path") or quote(scope["path"]).encode()
    if not raw.isascii():
        return None
    path = raw.decode().partition("?")[0]
    root = scope.get("root_path", "")
    return path.removeprefix(quote(root)) if root else path
