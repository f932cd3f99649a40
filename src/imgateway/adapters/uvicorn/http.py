"""uvicorn's HTTP connection, with limits on what a client may do before its request is complete."""

import asyncio
from http import HTTPStatus
from typing import Any

import httptools
from uvicorn._types import ASGI3Application
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from imgateway.adapters.uvicorn.heads import head_problem
from imgateway.adapters.uvicorn.joining import JoiningTransport
from imgateway.adapters.uvicorn.logs import QUIET
from imgateway.adapters.uvicorn.offers import parse_behind_head
from imgateway.adapters.uvicorn.problems import Headers, problem_response
from imgateway.adapters.uvicorn.until_close import UntilClose

_TOO_LARGE = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "The request head is too large."


class _RefusedError(Exception):
    """Raised inside the parser's callbacks to stop it."""

    def __init__(self, status: HTTPStatus, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


class GatewayHttpProtocol(HttpToolsProtocol):
    """Give it to uvicorn as `http=`.

    A refusal is a problem body (RFC 9457) and the end of the connection. Refused are a request head that is too large
    (431) or has no Host or several (400), other versions of HTTP (505), other transfer codings than chunked (501), and
    upgrades to WebSocket by another method than GET (405), over HTTP/1.0 (400), of another version than 13 (426), and
    those with a body or followed by data before the answer (400): a client must wait for it (RFC 6455 section 4.1), and
    passing such data on could make two parsers disagree on where a message begins. Other upgrades are not taken up.

    Nothing is logged: uvicorn's lines carry the query string, and so tokens.

    Attributes:
        head_seconds: how long a client may take for a request head, from the connection or from the first byte of a
            later request; then it is cut off. Idle keep-alive is limited by uvicorn's `timeout_keep_alive`, and so is
            what is left of a body after the answer.
        stall_seconds: how long a client may take nothing of an answer that waits for it; then it is cut off. What the
            kernel has taken does not wait, and it takes more only when a good part of its own buffer is empty.
        max_head_bytes: the largest request head.
        max_head_lines: most header lines.
    """

    head_seconds = 10.0
    stall_seconds = 60.0
    max_head_bytes = 32 * 1024
    max_head_lines = 100

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.logger = QUIET
        self.access_log = False
        self._deadline: asyncio.TimerHandle | None = None
        self._stalling: asyncio.TimerHandle | None = None
        self._running: RequestResponseCycle | None = None
        self._in_head = True
        self._head_bytes = 0
        self._head_lines = 0
        self._unparsed = 0
        self._message_ended = False
        self._offered = False
        self._refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """A client has connected."""
        super().connection_made(transport)
        self._start_deadline()

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is gone."""
        self._stop_deadline()
        self._stop_stalling()
        # uvicorn tells the latest request of it; with pipelining another one is being answered.
        if self._running is not None and not self._running.response_complete:
            self._running.disconnected = True
            self._running.message_event.set()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Bytes from the client."""
        if self._refused:
            return
        # What still comes of a body whose request is answered does not keep the connection alive.
        if self._in_head or self._is_answering():
            self._unset_keepalive_if_required()
        if self._in_head and self._deadline is None and not self._is_answering():
            self._start_deadline()
        try:
            self._parse(data)
        except httptools.HttpParserError as error:
            why = error.__context__
            if isinstance(why, _RefusedError):
                self._refuse(why.status, why.detail)
            else:
                self._refuse(HTTPStatus.BAD_REQUEST, "This is not a valid HTTP request.")
        else:
            # The parser's callbacks tell of whole lines only; a line that never ends is counted here.
            # Where a request ended in these bytes, what of the next one came with them is too little to matter.
            self._unparsed = self._unparsed + len(data) if self._in_head and not self._message_ended else 0
            self._message_ended = False
            if self._unparsed > self.max_head_bytes:
                self._refuse(*_TOO_LARGE)

    def pause_writing(self) -> None:
        """Much of an answer waits for the client."""
        super().pause_writing()
        self._watch_stalling()

    def resume_writing(self) -> None:
        """The client has taken most of it."""
        self._stop_stalling()
        super().resume_writing()

    def timeout_keep_alive_handler(self) -> None:
        """No further request came; what still waits of the last answer is not waited for without end."""
        super().timeout_keep_alive_handler()
        self._watch_stalling()

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._head_bytes = 0
        self._head_lines = 0

    def on_url(self, url: bytes) -> None:
        """A piece of the request target."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header line, or a trailer line of a chunked body, which is dropped (RFC 9110 section 6.5.1)."""
        self._head_lines += 1
        self._count(len(name) + len(value) + 4)
        if self._in_head:
            # As uvicorn does it, without a call for each line.
            name = name.lower()
            value = value.strip(b" \t")  # RFC 9110 section 5.5
            if name == b"expect" and value.lower() == b"100-continue":
                self.expect_100_continue = True
            self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """The request head is complete."""
        self._in_head = False
        self._stop_deadline()
        self._unset_keepalive_if_required()  # where the head came together with the rest of an unread body
        problem = head_problem(self.parser.get_http_version(), self.headers)
        if problem is not None:
            raise _RefusedError(*problem)
        self._offered = self.parser.should_upgrade() and not self._should_upgrade()
        before = self.cycle
        super().on_headers_complete()
        cycle = self.cycle
        if cycle is not before:  # else it is an upgrade
            cycle.transport = JoiningTransport(self.transport, cycle, self._watch_stalling)  # type: ignore[assignment]  # all that it uses
            if cycle.scope["http_version"] == "1.0":
                cycle.send = UntilClose(cycle).send  # type: ignore[method-assign]  # it calls it by the instance

    def on_message_complete(self) -> None:
        """The request's body is complete."""
        if self._offered:  # httptools says so at the end of such a head
            self._offered = False
            return
        self._in_head = True
        self._message_ended = True
        super().on_message_complete()

    def _parse(self, data: bytes) -> None:
        rest: bytes | memoryview = data
        while True:
            try:
                self.parser.feed_data(rest)
            except httptools.HttpParserUpgrade as upgrade:
                if self._should_upgrade():
                    self._upgrade(followed=upgrade.args[0] < len(rest))
                    return
                rest = memoryview(rest)[upgrade.args[0] :]
            else:
                return
            parse_behind_head(self)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def _count(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > self.max_head_bytes or self._head_lines > self.max_head_lines:
            raise _RefusedError(*_TOO_LARGE)

    def _is_answering(self) -> bool:
        # uvicorn declares it as never None, but before the first request it is.
        return self.cycle is not None and not self.cycle.response_complete  # type: ignore[redundant-expr]  # see above

    def _start_deadline(self) -> None:
        self._deadline = self.loop.call_later(self.head_seconds, self.transport.abort)

    def _stop_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _watch_stalling(self) -> None:
        waiting = self.transport.get_write_buffer_size()
        if waiting and self._stalling is None:
            self._stalling = self.loop.call_later(self.stall_seconds, self._check_stalling, waiting)

    def _check_stalling(self, waited: int) -> None:
        self._stalling = None
        if self.transport.get_write_buffer_size() < waited:
            self._watch_stalling()
        else:
            self.transport.abort()

    def _stop_stalling(self) -> None:
        if self._stalling is not None:
            self._stalling.cancel()
            self._stalling = None

    def _upgrade(self, *, followed: bool) -> None:
        if self.scope["http_version"] != "1.1":
            self._refuse(HTTPStatus.BAD_REQUEST, "A WebSocket needs HTTP/1.1.")
        elif followed:
            self._refuse(HTTPStatus.BAD_REQUEST, "Nothing may follow the upgrade request before it is answered.")
        else:
            self.handle_websocket_upgrade()

    def _refuse(self, status: HTTPStatus, detail: str, headers: Headers = ()) -> None:
        self._refused = True
        if self._is_answering():
            if self.pipeline or self.cycle.response_started:
                self.transport.abort()
                return
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.transport.write(problem_response(status, detail, [*self.server_state.default_headers, *headers]))
        # Closing a socket that holds unread data resets it, and the client would never see the answer; so what still
        # comes is dropped until the client closes or the deadline passes.
        self._stop_deadline()
        self._start_deadline()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        else:
            self.transport.close()
