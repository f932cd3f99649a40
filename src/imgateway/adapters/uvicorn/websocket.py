"""uvicorn's WebSocket connection, able to hand out its socket."""

import asyncio
from typing import TYPE_CHECKING, Any, cast

from uvicorn.config import Config
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState
from websockets.http11 import Request

from imgateway.adapters.uvicorn.inbound import StrictServerProtocol
from imgateway.adapters.uvicorn.logs import QUIET
from imgateway.adapters.uvicorn.transport import SocketTransport
from imgateway.codes import RFC_INTERNAL_ERROR
from imgateway.errors import LifecycleError
from imgateway.model import CloseReason

if TYPE_CHECKING:
    from imgateway.ports import Transport, TransportListener, TransportOffer

EXTENSION = "imgateway"
_BAD_REQUEST = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class _HandedOver(asyncio.Transport):
    """Stands where the socket was, for uvicorn to close when the application returns."""

    def close(self) -> None:
        """Nothing: the socket belongs to another."""


_HANDED_OVER = _HandedOver()


class GatewayWebSocketProtocol(WebSocketsSansIOProtocol):
    """Implements `ports.TransportOffer`; give it to uvicorn as `ws=`.

    Each connection offers itself in `scope["extensions"]["imgateway"]`. One that nobody attaches to is uvicorn's own,
    but for three things: no permessage-deflate, at most 1,024 fragments a message, and no line below WARNING in the
    log (uvicorn's carry the query string). On one that is attached, `receive` gives only the final disconnect, `send`
    fails as on a closed connection, and uvicorn's keepalive is off.

    Attributes:
        transport_class: what an attached listener gets.
    """

    transport_class = SocketTransport

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.logger = QUIET
        self.conn = self._rfc = StrictServerProtocol(max_size=config.ws_max_size)
        self._attached: SocketTransport | None = None

    def attach(self, listener: "TransportListener", /) -> "Transport":
        """Hand over the socket; see the port.

        What arrived since the upgrade was accepted is told first. Where the connection ended meanwhile, `lost` follows.

        Raises:
            LifecycleError: the upgrade is not accepted, or somebody is attached already.
        """
        if self._attached is not None or not self.handshake_complete:
            raise LifecycleError("attach once, after the upgrade was accepted")
        self.stop_keepalive()
        alive = not self.disconnected
        self._attached = attached = self.transport_class(
            self.transport, self._rfc, listener, self.connections, cast(asyncio.Queue[Any], self.queue)
        )
        self.connections.discard(self)
        attached.begin(self._unread_messages(), alive)
        self.transport = _HANDED_OVER
        self.disconnected = True
        # websockets' parser keeps the request for as long as it lives; its headers are most of an idle connection.
        self.request.headers.clear()
        self.request.path = ""
        del self.scope, self.response
        self.frames = []
        return attached

    def _unread_messages(self) -> list[str | bytes]:
        messages: list[str | bytes] = []
        while not self.queue.empty():
            event = self.queue.get_nowait()
            if event["type"] == "websocket.receive":
                text, data = event.get("text"), event.get("bytes")
                messages.append(text if text is not None else data or b"")
        return messages

    def handle_connect(self, event: Request) -> None:
        """The upgrade request is complete."""
        super().handle_connect(event)
        if self.response.status_code == 101:
            cast(dict[str, Any], self.scope["extensions"])[EXTENSION] = self

    def data_received(self, data: bytes) -> None:
        """Bytes from the peer; first of all the whole upgrade request, from uvicorn."""
        super().data_received(data)
        if not self.handshake_initiated:
            # uvicorn leaves a request that websockets can't read (a line over 8 KiB, a body) without an answer.
            self.transport.write(b"".join(self.conn.data_to_send()) or _BAD_REQUEST)
            self.transport.close()

    async def send(self, message: Any) -> None:
        """What the application says."""
        await super().send(message)
        if self.close_sent and self.initial_response is not None:
            # uvicorn takes a refusal for an application that forgot to answer, and logs each one as an error.
            self.handshake_complete = True

    def send_500_response(self) -> None:
        """The application has failed."""
        if self._attached is None:
            super().send_500_response()
        else:
            self._attached.close(CloseReason(RFC_INTERNAL_ERROR))

    def on_task_complete(self, task: asyncio.Task[None]) -> None:
        """The application has returned."""
        super().on_task_complete(task)
        if self._attached is not None:
            self._attached.application_returned()


if TYPE_CHECKING:

    def _conforms(protocol: GatewayWebSocketProtocol) -> TransportOffer:
        return protocol
