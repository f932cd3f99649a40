"""The WebSocket endpoint: from an upgrade request to a live connection."""

from collections.abc import Mapping

from starlette.types import Receive, Scope, Send

from imgateway.adapters.starlette.asgi_transport import AsgiTransport
from imgateway.adapters.starlette.client_address import client_address, networks
from imgateway.adapters.starlette.handshake import Handshake, read_handshake, redact_token
from imgateway.adapters.starlette.origins import origin_allowed
from imgateway.adapters.starlette.problems import problem, send_denial
from imgateway.codes import TABLE, Code
from imgateway.core.admission import Admitted
from imgateway.core.clock import SystemClock
from imgateway.core.gateway import Gateway
from imgateway.model import ConnectRequest, Refusal
from imgateway.ports import Codec, TransportOffer
from imgateway.wire.json_codec import JsonCodec
from imgateway.wire.messages import UNSET, ErrorMessage


class WebSocketEndpoint:
    """An ASGI application for one WebSocket route.

    Everything is decided before the upgrade. Where the server offers its transport
    (`scope["extensions"]["imgateway"]`, `ports.TransportOffer`) the application returns as soon as the client is
    welcomed and the connection lives on without a task; elsewhere it stays and moves the messages itself.
    """

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._trusted = networks(gateway.settings.server.trusted_proxies)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        await receive()  # `websocket.connect`: there is nothing else it could be
        handshake = read_handshake(scope)
        redact_token(scope)
        admitted = await self._decide(scope, handshake)
        if isinstance(admitted, Refusal):
            await _refuse(admitted, handshake, scope, send)
        else:
            await self._serve(admitted, handshake, scope, receive, send)

    async def _decide(self, scope: Scope, handshake: Handshake) -> Admitted | Refusal:
        refusal = handshake.malformed or self._foreign(scope, handshake.headers)
        if refusal is not None:
            self._gateway.refused(refusal)
            return refusal
        peer = scope.get("client")
        forwarded_for = [value.decode("latin-1") for name, value in scope["headers"] if name == b"x-forwarded-for"]
        client_ip = client_address(None if peer is None else peer[0], forwarded_for, self._trusted)
        request = ConnectRequest(handshake.credentials(client_ip), handshake.device_id, handshake.platform)
        return await self._gateway.admit(request)

    def _foreign(self, scope: Scope, headers: Mapping[str, str]) -> Refusal | None:
        if not origin_allowed(
            headers.get("origin"),
            headers.get("host"),
            secure=scope.get("scheme") == "wss",
            allowed=self._gateway.settings.server.allowed_origins,
        ):
            return Refusal(Code.FORBIDDEN, "Pages of this origin may not connect.", "origin")
        return None

    async def _serve(
        self, admitted: Admitted, handshake: Handshake, scope: Scope, receive: Receive, send: Send
    ) -> None:
        try:
            await send({"type": "websocket.accept", "subprotocol": handshake.subprotocol})
        except BaseException:
            self._gateway.leave(admitted)
            raise
        codec = self._codec(handshake)
        offer: TransportOffer | None = (scope.get("extensions") or {}).get("imgateway")
        if offer is not None:
            await self._gateway.open(admitted, codec, offer.attach)
            return
        transport = AsgiTransport(receive, send)
        try:
            await self._gateway.open(admitted, codec, transport.attach)
        except BaseException:
            transport.end()
            raise
        await transport.run()

    def _codec(self, handshake: Handshake) -> Codec:
        codecs = self._gateway.codecs
        return next((codec for codec in codecs if codec.name == handshake.subprotocol), codecs[0])


async def _refuse(refusal: Refusal, handshake: Handshake, scope: Scope, send: Send) -> None:
    if handshake.error_frame:
        error = ErrorMessage(
            refusal.code.value,
            refusal.message,
            refusal.details,
            retry_after=UNSET if refusal.retry_after is None else refusal.retry_after,
        )
        await send({"type": "websocket.accept", "subprotocol": handshake.subprotocol})
        await send({"type": "websocket.send", "text": JsonCodec().encode(error, SystemClock().now()).decode()})
        await send({"type": "websocket.close", "code": TABLE[refusal.code].close_code, "reason": refusal.code.value})
    elif "websocket.http.response" in (scope.get("extensions") or {}):
        await send_denial(problem(refusal), send)
    else:
        # The server can't do better: it answers 403 whatever the reason.
        await send({"type": "websocket.close", "code": TABLE[refusal.code].close_code})
