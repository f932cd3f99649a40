"""An application that sends back what it gets, by the gateway's own transport and outbox."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket

from imgateway.adapters.uvicorn import (
    BoundServer,
    GatewayHttpProtocol,
    GatewayWebSocketProtocol,
    server_config,
    serving,
)
from imgateway.codes import Code
from imgateway.core.outbox import Outbox
from imgateway.model import CloseReason
from imgateway.ports import Transport, TransportOffer
from imgateway.wire.frames import Frame, binary_frame, text_frame

MAX_FRAME_BYTES = 16 * 1024 * 1024


class Echo:
    """Listens to one connection and echoes.

    Attributes:
        transport: whom it answers by; set once attached.
        close_code: what ended the connection, or None.
    """

    def __init__(self, capacity: int = 2 * MAX_FRAME_BYTES) -> None:
        self.transport: Transport | None = None
        self.close_code: int | None = None
        self._outbox = Outbox(capacity)

    def receive_text(self, text: str, /) -> None:
        """Echo."""
        self._send(text_frame(text.encode()))

    def receive_binary(self, data: bytes, /) -> None:
        """Echo."""
        self._send(binary_frame(data))

    def heard(self) -> None:
        """Nothing."""

    def pinged(self) -> None:
        """Nothing."""

    def drained(self) -> None:
        """Nothing."""

    def lost(self, close_code: int, /) -> None:
        """The end."""
        self.close_code = close_code

    def _send(self, frame: Frame) -> None:
        assert self.transport is not None
        if self._outbox.offer(frame, self.transport.buffered_bytes):
            self.transport.write(self._outbox.take(0.0))
        else:
            self.transport.close(CloseReason.of(Code.SLOW_CONSUMER))


class EchoHost:
    """The application, and what became of its connections.

    Attributes:
        app: the ASGI application: `/attached` hands the socket over, `/plain` is any other WebSocket route.
        echoes: one for each attached connection, in order.
    """

    def __init__(self, capacity: int = 2 * MAX_FRAME_BYTES) -> None:
        self.app = Starlette(
            routes=[WebSocketRoute("/attached", self._attached), WebSocketRoute("/plain", self._plain)],
        )
        self.echoes: list[Echo] = []
        self._capacity = capacity

    async def _attached(self, socket: WebSocket) -> None:
        await socket.accept()
        echo = Echo(self._capacity)
        self.echoes.append(echo)
        offer: TransportOffer = socket.scope["extensions"]["imgateway"]
        echo.transport = offer.attach(echo)

    async def _plain(self, socket: WebSocket) -> None:
        await socket.accept()
        while True:
            message = await socket.receive()
            if message["type"] == "websocket.disconnect":
                return
            await socket.send({**message, "type": "websocket.send"})


@asynccontextmanager
async def echo_server(
    host: EchoHost,
    *,
    max_frame_bytes: int = MAX_FRAME_BYTES,
    ws: type[GatewayWebSocketProtocol] = GatewayWebSocketProtocol,
    http: type[GatewayHttpProtocol] = GatewayHttpProtocol,
) -> AsyncIterator[BoundServer]:
    """Serve it on a free port."""
    config = server_config(host.app, host="127.0.0.1", port=0, max_frame_bytes=max_frame_bytes)
    config.ws = ws
    config.http = http
    async with serving(config) as bound:
        yield bound
