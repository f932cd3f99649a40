"""RFC 6455 from the socket's side: bytes in, whole messages out."""

import codecs
from typing import Final, NamedTuple

from websockets.exceptions import PayloadTooBig
from websockets.frames import Frame, Opcode
from websockets.server import ServerProtocol

from imgateway.adapters.uvicorn.logs import QUIET

MAX_FRAGMENTS: Final = 1024
"""Most frames of one message. Without it a message of one-byte fragments costs far more memory than its size."""

_utf8_decoder: Final = codecs.getincrementaldecoder("utf-8")


class Ping(NamedTuple):
    """A ping frame that waits for its pong."""

    payload: bytes


Arrived = str | bytes | Ping | Opcode
"""A whole message, a ping, or the opcode of any other frame: a fragment, a pong, a close frame."""


class _TooManyFragments(PayloadTooBig):
    """Lets the parser close with 1009."""

    def __init__(self) -> None:
        super().__init__(None, MAX_FRAGMENTS)

    def __str__(self) -> str:
        return "too many fragments"


class StrictServerProtocol(ServerProtocol):
    """websockets' parser and state machine, without extensions, with the checks it leaves to its users.

    It also checks that text is UTF-8, fragment by fragment (1007, RFC 6455 section 8.1), and counts the fragments of a
    message (1009). A violation ends the parsing right there: what came before it is still told, what follows is not.

    Attributes:
        inbox: None, or what arrived since it was last emptied, in order. While it is a list, `events_received` gives
            nothing, and pings are left to whoever empties it.
    """

    def __init__(self, *, max_size: int | None) -> None:
        super().__init__(extensions=[], max_size=max_size, logger=QUIET)
        self.inbox: list[Arrived] | None = None
        self._fragments = 0
        self._pieces: list[str] | list[bytes] = []
        self._decoder: codecs.IncrementalDecoder | None = None

    def recv_frame(self, frame: Frame) -> None:
        """Check one frame, and keep what it completes."""
        opcode = frame.opcode
        if opcode is Opcode.PING and self.inbox is not None:
            self.inbox.append(Ping(bytes(frame.data)))
            return
        if opcode is Opcode.CLOSE:
            # A control frame may come between the fragments of a message (RFC 6455 section 5.4); websockets takes a
            # close frame there for a violation.
            self.current_size = None
        super().recv_frame(frame)
        arrived: Arrived = opcode
        if opcode is Opcode.TEXT or opcode is Opcode.BINARY or opcode is Opcode.CONT:
            message = self._assemble(frame)
            if message is not None:
                arrived = message
        if self.inbox is not None:
            self.events.clear()
            self.inbox.append(arrived)

    def _assemble(self, frame: Frame) -> str | bytes | None:
        data = frame.data
        if frame.opcode is not Opcode.CONT:
            if frame.fin:
                return str(data, "utf-8") if frame.opcode is Opcode.TEXT else bytes(data)
            self._fragments = 0
            self._pieces = []
            self._decoder = _utf8_decoder() if frame.opcode is Opcode.TEXT else None
        self._fragments += 1
        if self._fragments > MAX_FRAGMENTS:
            raise _TooManyFragments
        pieces: list[str] | list[bytes] = self._pieces
        piece = bytes(data) if self._decoder is None else self._decoder.decode(data, frame.fin)
        pieces.append(piece)  # type: ignore[arg-type]  # all of one kind: the decoder says which
        if not frame.fin:
            return None
        message = b"".join(pieces) if self._decoder is None else "".join(pieces)  # type: ignore[arg-type]  # likewise
        self._pieces = []
        self._decoder = None
        return message
