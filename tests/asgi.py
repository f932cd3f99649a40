"""An ASGI server without a network: the test is the client."""

from collections import deque
from collections.abc import Iterable, MutableMapping
from typing import Any

import anyio
import attrs

Message = MutableMapping[str, Any]


def websocket_scope(
    query: str = "",
    headers: Iterable[tuple[str, str]] = (),
    *,
    subprotocols: Iterable[str] = (),
    client: tuple[str, int] | None = ("192.0.2.1", 1),
    scheme: str = "ws",
    denial: bool = True,
) -> dict[str, Any]:
    """The scope of an upgrade request; `denial` says whether the server can answer a refusal with a response."""
    return {
        "type": "websocket",
        "path": "/ws",
        "scheme": scheme,
        "query_string": query.encode("latin-1"),
        "headers": [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers],
        "subprotocols": list(subprotocols),
        "client": client,
        "extensions": {"websocket.http.response": {}} if denial else {},
    }


@attrs.define(eq=False)
class Channel:
    """The server's end of an application.

    Attributes:
        sent: what the application sent.
        gate: while set, `send` does not return: the client does not read.
        gone: what `send` raises, as servers do when the client has left.
        asked: how often `receive` was called.
    """

    sent: list[Message] = attrs.field(factory=list)
    gate: anyio.Event | None = None
    gone: Exception | None = None
    asked: int = 0
    _arriving: deque[Message] = attrs.field(factory=lambda: deque([{"type": "websocket.connect"}]))
    _arrived: anyio.Event = attrs.field(factory=anyio.Event)

    def arrive(self, **message: Any) -> None:
        """Hand the application a message."""
        self._arriving.append(message)
        self._arrived.set()

    def text(self, text: str, /) -> None:
        """The client sends a text message."""
        self.arrive(type="websocket.receive", text=text)

    def leave(self, code: int = 1001) -> None:
        """The client leaves."""
        self.arrive(type="websocket.disconnect", code=code)

    async def receive(self) -> Message:
        self.asked += 1
        while not self._arriving:
            self._arrived = anyio.Event()
            await self._arrived.wait()
        return self._arriving.popleft()

    async def send(self, message: Message) -> None:
        if self.gate is not None:
            await self.gate.wait()
        if self.gone is not None:
            raise self.gone
        self.sent.append(message)

    @property
    def texts(self) -> list[str]:
        """The text messages that the client got."""
        return [message["text"] for message in self.sent if message["type"] == "websocket.send"]

    @property
    def closed(self) -> Message | None:
        """The close frame that the client got."""
        return next((message for message in self.sent if message["type"] == "websocket.close"), None)
