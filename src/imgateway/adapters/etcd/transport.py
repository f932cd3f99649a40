"""Calls to etcd's gRPC gateway (JSON over HTTP under `/v3`), over several endpoints.

etcd3-py carries the requests and nothing more: `call_rpc(…, raw=True)` for unary calls and for streams. Around it this
module has what its 0.1.6 lacks or gets wrong: its constructor asks for the version with a blocking call; its errors are
a TypeError with etcd from 3.6 on; its streams break with aiohttp from 3.10 on, and its watch loses events; it knows one
endpoint, never renews a token, and takes a CA file only along with a client certificate.
"""

import errno
import json
import logging
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Self

import aiohttp
import anyio
import attrs
from etcd3 import AioClient

from imgateway.adapters.etcd.access import Endpoint, EtcdAccess
from imgateway.adapters.etcd.errors import (
    EtcdError,
    GrpcCode,
    not_etcd,
    not_understood,
    refused,
    unreachable,
)
from imgateway.errors import LifecycleError

ATTEMPT_SECONDS = 3.0
MAX_ANSWER_BYTES = 64 * 1024 * 1024
_NO_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=None)
"""Time is limited by cancel scopes here; aiohttp's default would cut a watch off after five minutes."""
_BROKEN = (errno.ECONNRESET, errno.EPIPE)

_log = logging.getLogger(__name__)


class _Plumbing(AioClient):  # type: ignore[misc]  # etcd3-py has no types
    """The library's client for one endpoint, without the blocking questions of its constructor."""

    def _retrieve_version(self) -> None:
        pass

    def _verify_version(self) -> None:
        pass

    def _get_prefix(self) -> None:
        self.api_prefix = "/v3"


@attrs.define(eq=False)
class AnswerStream:
    """The answers of a streaming call."""

    _response: aiohttp.ClientResponse
    _endpoint: str
    _buffer: bytearray = attrs.field(factory=bytearray, init=False)

    async def next(self) -> dict[str, Any]:
        """The next answer. After a cancelled call the stream is good for nothing but to be closed.

        Raises:
            EtcdError: the stream ended or broke, or etcd ended it with an error.
        """
        searched = 0
        while True:
            end = self._buffer.find(b"\n", searched)
            if end >= 0:
                line = bytes(self._buffer[:end])
                del self._buffer[: end + 1]
                searched = 0
                if line.strip():
                    return self._parsed(line)
                continue
            searched = len(self._buffer)
            if searched > MAX_ANSWER_BYTES:
                raise EtcdError(GrpcCode.UNKNOWN, "an answer is too large", endpoint=self._endpoint)
            try:
                chunk = await self._response.content.readany()
            except (aiohttp.ClientError, OSError) as error:
                raise unreachable(error, self._endpoint) from error
            if not chunk:
                raise EtcdError(GrpcCode.UNAVAILABLE, "the stream ended", endpoint=self._endpoint)
            self._buffer += chunk

    def _parsed(self, line: bytes) -> dict[str, Any]:
        answer = _parsed(200, line, self._endpoint)
        error = answer.get("error")
        if isinstance(error, dict):
            raise _refusal({"code": error.get("grpc_code"), **error}, self._endpoint)
        result = answer.get("result", answer)
        if not isinstance(result, dict):
            raise not_understood(self._endpoint)
        return result


@attrs.define(eq=False)
class EtcdTransport:
    """Sends requests to whichever endpoint answered last; goes on to the next where one does not.

    Tokens are asked for as needed, and anew when etcd no longer knows them. Safe for concurrent use.
    """

    _access: EtcdAccess
    _tls: ssl.SSLContext | None = attrs.field(init=False)
    _plumbing: dict[Endpoint, _Plumbing] = attrs.field(factory=dict, init=False)
    _current: int = attrs.field(default=0, init=False)
    _token: str | None = attrs.field(default=None, init=False, repr=False)
    _closed: bool = attrs.field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        self._tls = self._access.ssl_context()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def call(
        self, method: str, request: Mapping[str, Any], /, *, seconds: float = ATTEMPT_SECONDS
    ) -> dict[str, Any]:
        """The answer to one request; `seconds` for each endpoint that is asked.

        A request may take effect although this raises, and it may take effect twice.

        Raises:
            EtcdError: no endpoint answered, or etcd answered with an error.
        """
        body = json.dumps(request)
        untried, may_be_stale, may_renew = len(self._access.endpoints), True, self._access.user is not None
        while True:
            endpoint = self._endpoint()
            try:
                with anyio.fail_after(seconds):
                    return await self._exchange(endpoint, method, body, await self._headers(endpoint))
            except EtcdError as failure:
                if failure.code == GrpcCode.UNAUTHENTICATED and may_renew:
                    self._token, may_renew = None, False
                    continue
                if failure.code != GrpcCode.UNAVAILABLE:
                    raise
                error: EtcdError = failure
            except (aiohttp.ClientError, OSError, TimeoutError) as cause:
                if may_be_stale and _is_stale(cause):
                    may_be_stale = False
                    continue
                error = unreachable(cause, str(endpoint))
                error.__cause__ = cause
            untried -= 1
            self._turn_from(endpoint)
            if not untried:
                raise error
            _log.info("an etcd endpoint does not answer", extra={"why": str(error)})

    @asynccontextmanager
    async def streaming(self, method: str, request: Mapping[str, Any], /) -> AsyncIterator[AnswerStream]:
        """The answers to a streaming request, until the context is left.

        Raises:
            EtcdError: the endpoint does not answer (the next call goes to another), or etcd answered with an error.
        """
        endpoint = self._endpoint()
        try:
            with anyio.fail_after(ATTEMPT_SECONDS):
                # A stream on a member that was cut off from the others shall end, not stand still.
                headers = {**await self._headers(endpoint), "Grpc-Metadata-Hasleader": "true"}
                response = await self._post(endpoint, method, json.dumps(request), headers)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            self._turn_from(endpoint)
            raise unreachable(error, str(endpoint)) from error
        try:
            if response.status != 200:
                with anyio.fail_after(ATTEMPT_SECONDS):
                    raise _refusal(_parsed(response.status, await _read(response), str(endpoint)), str(endpoint))
            yield AnswerStream(response, str(endpoint))
        finally:
            response.close()

    async def aclose(self) -> None:
        """Close every connection. Idempotent."""
        self._closed = True
        while self._plumbing:
            _, plumbing = self._plumbing.popitem()
            await plumbing.close()

    def _endpoint(self) -> Endpoint:
        if self._closed:
            raise LifecycleError("the etcd client is closed")
        return self._access.endpoints[self._current]

    def _turn_from(self, endpoint: Endpoint) -> None:
        # Of two calls that failed at the same endpoint, only the first turns away from it.
        endpoints = self._access.endpoints
        if endpoints[self._current] == endpoint:
            self._current = (self._current + 1) % len(endpoints)

    async def _headers(self, endpoint: Endpoint) -> dict[str, str]:
        headers = {"Content-Type": "application/json"}
        if self._access.user is None:
            return headers
        if self._token is None:
            body = json.dumps({"name": self._access.user, "password": self._access.password or ""})
            try:
                answer = await self._exchange(endpoint, "/auth/authenticate", body, headers)
            except EtcdError as failure:
                if failure.code != GrpcCode.UNAVAILABLE:
                    # Whatever the reason, it is none of the call that was to be made.
                    failure.code = GrpcCode.PERMISSION_DENIED
                raise
            if not isinstance(token := answer.get("token"), str):
                raise not_understood(str(endpoint))
            self._token = token
        return {**headers, "Authorization": self._token}

    async def _exchange(self, endpoint: Endpoint, method: str, body: str, headers: dict[str, str]) -> dict[str, Any]:
        response = await self._post(endpoint, method, body, headers)
        async with response:
            answer = _parsed(response.status, await _read(response), str(endpoint))
            if response.status != 200 or "error" in answer:
                raise _refusal(answer, str(endpoint))
            return answer

    async def _post(
        self, endpoint: Endpoint, method: str, body: str, headers: dict[str, str]
    ) -> aiohttp.ClientResponse:
        plumbing = self._plumbing.get(endpoint)
        if plumbing is None:
            # Connections are as many as this process has tasks for; the pool must not keep one waiting for another.
            protocol = "https" if endpoint.tls else "http"
            plumbing = _Plumbing(endpoint.host, endpoint.port, protocol, pool_size=0)
            self._plumbing[endpoint] = plumbing
        tls = {"ssl": self._tls} if endpoint.tls else {}
        response: aiohttp.ClientResponse = await plumbing.call_rpc(
            method, body, raw=True, headers=headers, timeout=_NO_TIMEOUT, allow_redirects=False, **tls
        )
        return response


def _is_stale(error: Exception) -> bool:
    """Whether a pooled connection may have shown so that the server had closed it before."""
    if isinstance(error, aiohttp.ServerDisconnectedError | aiohttp.ClientPayloadError):
        return True
    return isinstance(error, OSError) and error.errno in _BROKEN


async def _read(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > MAX_ANSWER_BYTES:
            raise EtcdError(GrpcCode.UNKNOWN, "an answer is too large")
    return bytes(body)


def _parsed(status: int, body: bytes, endpoint: str) -> dict[str, Any]:
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        raise not_etcd(status, body, endpoint) from None
    if not isinstance(answer, dict):
        raise not_etcd(status, body, endpoint)
    return answer


def _refusal(answer: Mapping[str, Any], endpoint: str) -> EtcdError:
    code, message = answer.get("code"), answer.get("message") or answer.get("error")
    return refused(code if isinstance(code, int) else GrpcCode.UNKNOWN, str(message), endpoint)
