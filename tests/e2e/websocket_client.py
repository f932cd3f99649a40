"""A well-behaved client, by the `websockets` library, that speaks the gateway's frames."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Self

import anyio
import attrs
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.http11 import Response
from websockets.typing import Subprotocol

PATIENCE_SECONDS = 45.0
"""How long anything may take on a busy machine before a test fails."""

Data = dict[str, Any]
Headers = Mapping[str, str] | Sequence[tuple[str, str]]


def header_lines(headers: Headers | None, /) -> list[tuple[str, str]]:
    """Header lines as a new list."""
    return list(headers.items() if isinstance(headers, Mapping) else headers or ())


@attrs.define(eq=False)
class Client:
    """One open WebSocket.

    Attributes:
        welcome: the data of the first frame.
    """

    socket: ClientConnection
    welcome: Data = attrs.field(factory=dict)

    async def send(self, type_: str, **data: Any) -> None:
        """Send a frame of the protocol."""
        await self.socket.send(json.dumps({"type": type_, "data": data}))

    async def send_message(self, client_msg_id: str = "m-1", **data: Any) -> None:
        """Send a `send-message`; `data` replaces or adds members."""
        message = {"conversationId": "c-1", "content": "hello", "messageType": 1, "client_msg_id": client_msg_id}
        await self.send("send-message", **{**message, **data})

    async def frame(self) -> Data:
        """The next frame."""
        with anyio.fail_after(PATIENCE_SECONDS):
            text = await self.socket.recv()
        assert isinstance(text, str), "every frame is text"
        frame = json.loads(text)
        assert set(frame) == {"type", "data", "timestamp"}, frame
        assert isinstance(frame["timestamp"], int)
        return frame  # type: ignore[no-any-return]  # checked above as far as it can be

    async def expect(self, type_: str) -> Data:
        """The data of the next frame, which must be of `type_`."""
        frame = await self.frame()
        assert frame["type"] == type_, frame
        assert isinstance(frame["data"], dict)
        return frame["data"]

    async def nothing_came(self) -> None:
        """Assert that nothing was sent to this client that it has not read yet, and that it is still open."""
        await self.send("ping")
        assert await self.expect("pong") == {}

    async def ended(self) -> int:
        """The code that the server closed with; frames before it are dropped."""
        with anyio.fail_after(PATIENCE_SECONDS):
            while True:
                try:
                    await self.socket.recv()
                except ConnectionClosed as closed:
                    return 1006 if closed.rcvd is None else closed.rcvd.code

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.socket.close()


async def open_socket(
    url: str,
    *,
    headers: Headers | None = None,
    subprotocols: Sequence[str] | None = None,
    origin: str | None = None,
    **options: Any,
) -> ClientConnection:
    """A WebSocket that was accepted.

    Raises:
        InvalidStatus: the server refused.
    """
    fields = header_lines(headers)
    if origin is not None:
        fields.append(("Origin", origin))
    offered = None if subprotocols is None else [Subprotocol(name) for name in subprotocols]
    return await connect(
        url,
        additional_headers=fields,
        subprotocols=offered,
        **{
            "compression": None,
            "ping_interval": None,
            "max_size": None,
            "proxy": None,
            "open_timeout": PATIENCE_SECONDS,
            "close_timeout": PATIENCE_SECONDS,
            **options,
        },
    )


async def refusal(url: str, **options: Any) -> Response:
    """The HTTP response to an upgrade request that is refused."""
    try:
        socket = await open_socket(url, **options)
    except InvalidStatus as refused:
        return refused.response
    await socket.close()
    raise AssertionError("the upgrade was accepted")
