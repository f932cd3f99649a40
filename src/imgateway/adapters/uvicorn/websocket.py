"""uvicorn's WebSocket connection, able to hand out its socket."""

import asyncio
import base64
import binascii
import functools
import hashlib
import importlib.util
from collections.abc import Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import unquote

import httptools
from uvicorn.config import Config
from uvicorn.protocols.utils import ClientDisconnected, get_local_addr, get_remote_addr, is_ssl
from uvicorn.server import ServerState

from imgateway.adapters.uvicorn.channel import AsgiChannel
from imgateway.adapters.uvicorn.logs import QUIET
from imgateway.adapters.uvicorn.problems import Headers, head, problem_response, response
from imgateway.adapters.uvicorn.transport import SocketTransport
from imgateway.adapters.uvicorn.websockets_parser import WebsocketsParser
from imgateway.codes import RFC_ABNORMAL, RFC_INTERNAL_ERROR, RFC_NORMAL, TABLE, Code
from imgateway.errors import LifecycleError, SettingsError
from imgateway.model import CloseReason
from imgateway.wire.inbound import FrameParser, close_frame

if TYPE_CHECKING:
    from imgateway.ports import Transport, TransportListener, TransportOffer

EXTENSION: Final = "imgateway"
VERSION: Final = b"13"
MAX_LINE_BYTES: Final = 8192
"""The longest request target, and the longest header line."""

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_KEY_BYTES: Final = 16


@functools.cache
def frame_parser(transport: Literal["auto", "picows", "asgi"], /) -> Callable[[int], FrameParser]:
    """What parses frames: picows, or the websockets library; "auto" takes picows where it is installed.

    Raises:
        SettingsError: picows is wanted and not installed.
    """
    installed = importlib.util.find_spec("picows") is not None
    if transport == "picows" and not installed:
        raise SettingsError(["server.transport: picows is not installed; it comes with the extra imgateway[fast]"])
    if transport == "asgi" or not installed:
        return WebsocketsParser
    from imgateway.adapters.uvicorn.picows_parser import PicowsParser

    return PicowsParser


class GatewayWebSocketProtocol(asyncio.Protocol):
    """Implements `ports.TransportOffer`; give it to uvicorn as `ws=`.

    It answers the upgrade request (RFC 6455 section 4.2) as the application says. Each connection offers itself in
    `scope["extensions"]["imgateway"]`; for an application that does not attach to it, it is an ASGI WebSocket like any
    other, with uvicorn's settings for its size and its keepalive. On one that is attached, `receive` gives only the
    final disconnect, and `send` fails as on a closed connection. No extension is ever negotiated.

    Between its request and the moment when somebody takes it over, nothing is read from the client.

    Attributes:
        transport_class: what drives the socket.
        parser: what takes the client's bytes apart, for messages of at most so many bytes; None is what
            `frame_parser("auto")` gives.
    """

    transport_class = SocketTransport
    parser: Callable[[int], FrameParser] | None = None

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        if not config.loaded:
            config.load()
        self._config = config
        self._app_state = app_state
        self._connections: set[Any] = server_state.connections
        self._tasks = server_state.tasks
        self._default_headers = server_state.default_headers
        self._url = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._key = b""
        self._task: asyncio.Task[None] | None = None
        self._connect_told = False
        self._denial: tuple[int, Headers, bytes] | None = None
        self._answered = False
        self._accepted = False
        self._lost = False
        self._channel: AsgiChannel | None = None
        self._socket: SocketTransport | None = None
        self.transport: asyncio.Transport

    def attach(self, listener: "TransportListener", /) -> "Transport":
        """Hand over the socket; see the port.

        Where the connection ended meanwhile, `lost` follows.

        Raises:
            LifecycleError: the upgrade is not accepted, somebody is attached already, or the application has sent or
                received by itself.
        """
        if not self._accepted or self._socket is not None:
            raise LifecycleError("attach once, after the upgrade was accepted and before anything else is done with it")
        return self._take_over(listener)

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Uvicorn gives the connection over."""
        self.transport = transport
        self._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is gone before anybody took it over."""
        self._connections.discard(self)
        self._lost = True

    def data_received(self, data: bytes) -> None:
        """The whole upgrade request, from uvicorn."""
        if self._task is not None or self._answered:
            return
        request = httptools.HttpRequestParser(self)
        try:
            request.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._upgrade(request.get_method())
        except httptools.HttpParserError:
            self._refuse(HTTPStatus.BAD_REQUEST, "This is not a valid HTTP request.")
        else:
            self._refuse(HTTPStatus.BAD_REQUEST, "This is not an upgrade request.")

    def on_url(self, url: bytes) -> None:
        """The request target, from the parser."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header line, from the parser."""
        self._headers.append((name.lower(), value))

    # What uvicorn calls on each of its connections when it stops.

    def shutdown(self) -> None:
        """Refuse what is not upgraded yet, and close what nobody has taken over."""
        if self._accepted:
            self._close_unclaimed(TABLE[Code.DRAINING].close_code)
        elif not self._answered:
            self._refuse(HTTPStatus.SERVICE_UNAVAILABLE, "The server is stopping.", [(b"retry-after", b"1")])

    # The ASGI application's side.

    async def receive(self) -> dict[str, Any]:
        """What comes from the client."""
        if not self._connect_told:
            self._connect_told = True
            return {"type": "websocket.connect"}
        if self._accepted and self._socket is None:
            self._open_channel()
        if self._channel is not None:
            return await self._channel.receive()
        code = RFC_ABNORMAL if self._socket is None else await _end_of(self._socket)
        return {"type": "websocket.disconnect", "code": code, "reason": ""}

    async def send(self, message: Any) -> None:
        """What the application says.

        Raises:
            ClientDisconnected: the connection is over.
            RuntimeError: it may not be said now.
        """
        kind = message["type"]
        if self._accepted and self._socket is None:
            self._open_channel()
        if self._channel is not None:
            await self._channel.send(message)
        elif self._socket is not None or self.transport.is_closing():
            raise ClientDisconnected
        elif self._answered:
            raise RuntimeError(f"unexpected {kind!r} after the connection was refused")
        elif self._denial is not None:
            if kind != "websocket.http.response.body":
                raise RuntimeError(f"expected websocket.http.response.body, got {kind!r}")
            status, headers, body = self._denial
            self._denial = status, headers, body + message.get("body", b"")
            if not message.get("more_body", False):
                self._answer(response(status, [*self._default_headers, *headers], self._denial[2]))
        elif kind == "websocket.accept":
            self._accept(message.get("subprotocol"), message.get("headers") or ())
        elif kind == "websocket.close":
            self._answer(response(HTTPStatus.FORBIDDEN, self._default_headers, b""))
        elif kind == "websocket.http.response.start":
            self._denial = message["status"], list(message.get("headers") or ()), b""
        else:
            raise RuntimeError(f"expected an answer to the upgrade request, got {kind!r}")

    # Inside.

    def _upgrade(self, method: bytes) -> None:
        headers: dict[bytes, bytes] = {}
        for name, value in self._headers:
            headers[name] = headers[name] + b"," + value if name in headers else value
        self._key = headers.get(b"sec-websocket-key", b"").strip()
        version = headers.get(b"sec-websocket-version")
        if len(self._url) > MAX_LINE_BYTES:
            self._refuse(HTTPStatus.REQUEST_URI_TOO_LONG, "The request target is too long.")
        elif any(len(name) + len(value) > MAX_LINE_BYTES for name, value in self._headers):
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "A header line is too long.")
        elif method != b"GET":
            self._refuse(HTTPStatus.METHOD_NOT_ALLOWED, "A WebSocket is opened with GET.", [(b"allow", b"GET")])
        elif b"websocket" not in _tokens(headers.get(b"upgrade")) or b"upgrade" not in _tokens(
            headers.get(b"connection")
        ):
            self._refuse(HTTPStatus.BAD_REQUEST, "Only an upgrade to websocket is possible.")
        elif b"transfer-encoding" in headers or headers.get(b"content-length", b"0") != b"0":
            self._refuse(HTTPStatus.BAD_REQUEST, "An upgrade request has no body.")
        elif version is None:
            self._refuse(HTTPStatus.BAD_REQUEST, "Sec-WebSocket-Version is missing.")
        elif version != VERSION:
            wanted = [(b"sec-websocket-version", VERSION), (b"upgrade", b"websocket")]
            self._refuse(HTTPStatus.UPGRADE_REQUIRED, "The WebSocket version is 13.", wanted)
        elif not _is_key(self._key):
            self._refuse(HTTPStatus.BAD_REQUEST, "Sec-WebSocket-Key must be 16 bytes in Base64.")
        else:
            self.transport.pause_reading()
            path, _, query = self._url.partition(b"?")
            self._run_application(path, query, _tokens(headers.get(b"sec-websocket-protocol"), lower=False))

    def _run_application(self, path: bytes, query: bytes, subprotocols: list[bytes]) -> None:
        root = self._config.root_path
        scope = {
            "type": "websocket",
            "asgi": {"version": self._config.asgi_version, "spec_version": "2.4"},
            "http_version": "1.1",
            "scheme": "wss" if is_ssl(self.transport) else "ws",
            "server": get_local_addr(self.transport),
            "client": get_remote_addr(self.transport),
            "root_path": root,
            "path": root + unquote(path.decode("latin-1")),
            "raw_path": root.encode() + path,
            "query_string": query,
            "headers": self._headers,
            "subprotocols": [name.decode("latin-1") for name in subprotocols],
            "state": self._app_state.copy(),
            "extensions": {"websocket.http.response": {}, EXTENSION: self},
        }
        self._url, self._headers = b"", []
        self._task = asyncio.get_running_loop().create_task(self._run(scope))
        self._tasks.add(self._task)
        self._task.add_done_callback(self._tasks.discard)

    async def _run(self, scope: dict[str, Any]) -> None:
        try:
            await self._config.loaded_app(scope, self.receive, self.send)
        except ClientDisconnected:
            pass
        except Exception:
            QUIET.exception("the application has failed")
            self._fail()
        else:
            if not self._answered:
                QUIET.error("the application returned without an answer to the upgrade request")
                self._fail()
        finally:
            self._task = None
            if self._socket is not None:
                self._socket.on_end = None
                if self._channel is not None:
                    self._socket.close(CloseReason(RFC_NORMAL))
            elif self._accepted:
                self._close_unclaimed(RFC_NORMAL)
            elif not self._answered:
                self.transport.abort()

    def _fail(self) -> None:
        if self._socket is not None:
            self._socket.close(CloseReason(RFC_INTERNAL_ERROR))
        elif self._accepted:
            self._close_unclaimed(RFC_INTERNAL_ERROR)
        elif not self._answered:
            self._refuse(HTTPStatus.INTERNAL_SERVER_ERROR, "The application has failed.")

    def _accept(self, subprotocol: str | None, headers: Headers) -> None:
        digest = hashlib.sha1(self._key + _GUID, usedforsecurity=False).digest()
        lines = [
            (b"Upgrade", b"websocket"),
            (b"Connection", b"Upgrade"),
            (b"Sec-WebSocket-Accept", base64.b64encode(digest)),
        ]
        if subprotocol:
            lines.append((b"Sec-WebSocket-Protocol", subprotocol.encode("latin-1")))
        self.transport.write(head(HTTPStatus.SWITCHING_PROTOCOLS, [*lines, *self._default_headers, *headers]))
        self._answered = self._accepted = True

    def _open_channel(self) -> None:
        """The application moves the messages itself."""
        self._channel = AsgiChannel(self._config.ws_ping_interval, self._config.ws_ping_timeout)
        self._channel.begin(self._take_over(self._channel))

    def _take_over(self, listener: "TransportListener") -> SocketTransport:
        self._connections.discard(self)
        socket = self._socket = self.transport_class(
            self.transport, self.parser or frame_parser("auto"), self._config.ws_max_size, listener, self._connections
        )
        if self._lost:
            asyncio.get_running_loop().call_soon(socket.connection_lost, None)
        return socket

    def _close_unclaimed(self, code: int) -> None:
        if not self.transport.is_closing():
            self.transport.write(close_frame(code))
            self.transport.close()

    def _refuse(self, status: HTTPStatus, detail: str, headers: Headers = ()) -> None:
        self._answer(problem_response(status, detail, [*self._default_headers, *headers]))

    def _answer(self, answer: bytes) -> None:
        self._answered = True
        if not self.transport.is_closing():
            self.transport.write(answer)
            self.transport.close()


async def _end_of(socket: SocketTransport) -> int:
    """The close code, when the connection has ended."""
    if socket.ended_with is None:
        ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        socket.on_end = lambda code: None if ended.done() else ended.set_result(code)
        return await ended
    return socket.ended_with


def _tokens(value: bytes | None, *, lower: bool = True) -> list[bytes]:
    """The members of a comma-separated header (RFC 9110 section 5.6.1)."""
    members = [member.strip() for member in (value or b"").split(b",")]
    return [member.lower() if lower else member for member in members if member]


def _is_key(key: bytes) -> bool:
    try:
        return len(binascii.a2b_base64(key, strict_mode=True)) == _KEY_BYTES
    except binascii.Error:
        return False


if TYPE_CHECKING:

    def _conforms(protocol: GatewayWebSocketProtocol) -> TransportOffer:
        return protocol
