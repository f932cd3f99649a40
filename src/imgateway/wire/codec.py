"""What every codec does."""

from typing import Protocol

from imgateway.model import Refusal
from imgateway.wire.messages import ClientMessage, ServerMessage


class Codec(Protocol):
    """Turns text frames into values and values into text frames. Pure: no I/O, no state; one instance serves all."""

    @property
    def name(self) -> str:
        """The WebSocket subprotocol that selects this codec."""
        ...

    def decode(self, text: str, /) -> ClientMessage | tuple[Refusal, str | None]:
        """A client's frame as a value.

        Any text that is not a valid frame comes back as a refusal `INVALID_MESSAGE`, with the `client_msg_id` it is
        about where one is readable. Never raises, whatever the text.
        """
        ...

    def encode(self, message: ServerMessage, timestamp: int, /) -> bytes:
        """The UTF-8 payload of a server's frame; `timestamp` is the gateway's clock."""
        ...
