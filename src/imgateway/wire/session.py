"""The state machine of a client session: what a client may say when, how often it may be wrong. No I/O, no clock."""

from collections.abc import Mapping
from enum import Enum, auto
from types import MappingProxyType

import attrs

from imgateway.codes import Code
from imgateway.model import Refusal
from imgateway.wire.codec import Codec
from imgateway.wire.messages import Call, ClientMessage, MarkRead, Ping, RefreshToken, SendMessage


class SessionState(Enum):
    """Where a session stands."""

    OPENING = auto()
    """Upgraded, but not welcomed."""
    OPEN = auto()
    DRAINING = auto()
    """Told to reconnect; about to be closed."""
    CLOSED = auto()


class SessionMove(Enum):
    """What takes a session from one state to the next."""

    WELCOME = auto()
    DRAIN = auto()
    CLOSE = auto()


MOVES: Mapping[tuple[SessionState, SessionMove], SessionState] = MappingProxyType(
    {
        (SessionState.OPENING, SessionMove.WELCOME): SessionState.OPEN,
        (SessionState.OPENING, SessionMove.DRAIN): SessionState.OPENING,
        (SessionState.OPENING, SessionMove.CLOSE): SessionState.CLOSED,
        (SessionState.OPEN, SessionMove.DRAIN): SessionState.DRAINING,
        (SessionState.OPEN, SessionMove.CLOSE): SessionState.CLOSED,
        (SessionState.DRAINING, SessionMove.DRAIN): SessionState.DRAINING,
        (SessionState.DRAINING, SessionMove.CLOSE): SessionState.CLOSED,
        (SessionState.CLOSED, SessionMove.DRAIN): SessionState.CLOSED,
        (SessionState.CLOSED, SessionMove.CLOSE): SessionState.CLOSED,
    }
)
"""Every legal move; any other is a mistake of the program (`KeyError`)."""

ADMITTED: Mapping[SessionState, frozenset[type[ClientMessage]]] = MappingProxyType(
    {
        SessionState.OPENING: frozenset(),
        SessionState.OPEN: frozenset((SendMessage, MarkRead, Call, Ping, RefreshToken)),
        SessionState.DRAINING: frozenset((Ping,)),
        SessionState.CLOSED: frozenset(),
    }
)
"""What a client may say in each state."""


@attrs.frozen
class Rejected:
    """A frame that was refused.

    Attributes:
        client_msg_id: the message it is about, where one is readable.
        final: whether it was one malformed frame too many: the connection ends.
    """

    refusal: Refusal
    client_msg_id: str | None
    final: bool = False


@attrs.define(eq=False)
class ClientSession:
    """One client's side of the protocol, from upgrade to close.

    Attributes:
        codec: how frames are read.
        max_content_bytes: longest `content`, in UTF-8 bytes.
        max_malformed_frames: the malformed frame that is answered last: the session ends with it. Counted over
            the session's life.
    """

    codec: Codec
    max_content_bytes: int
    max_malformed_frames: int
    state: SessionState = SessionState.OPENING
    _malformed: int = 0

    def move(self, move: SessionMove, /) -> None:
        """Go where the table says.

        Raises:
            KeyError: the table has no such move.
        """
        self.state = MOVES[self.state, move]

    def receive(self, text: str, /) -> ClientMessage | Rejected | None:
        """What a text frame means: a message to act on, a rejection to answer, or None where nobody listens."""
        if self.state is SessionState.CLOSED:
            return None
        message = self.codec.decode(text)
        if isinstance(message, tuple):
            return self._malformed_frame(*message)
        if type(message) not in ADMITTED[self.state]:
            client_msg_id = getattr(message, "client_msg_id", None)
            refusal = Refusal(Code.DRAINING, "The gateway is draining; send again after reconnecting.", retry_after=1)
            return Rejected(refusal, client_msg_id if isinstance(client_msg_id, str) else None)
        if isinstance(message, SendMessage) and self._too_long(message.content):
            refusal = Refusal(
                Code.MESSAGE_TOO_LARGE, f"content is longer than {self.max_content_bytes} bytes.", "content_too_large"
            )
            return Rejected(refusal, message.client_msg_id)
        return message

    def _too_long(self, content: str) -> bool:
        # A character takes one to four bytes, so most messages are settled by their length alone.
        characters = len(content)
        if characters * 4 <= self.max_content_bytes:
            return False
        return characters > self.max_content_bytes or len(content.encode()) > self.max_content_bytes

    def _malformed_frame(self, refusal: Refusal, client_msg_id: str | None) -> Rejected:
        self._malformed += 1
        return Rejected(refusal, client_msg_id, final=self._malformed >= self.max_malformed_frames)
