"""RFC 6455 from the receiving side: what a peer's frames amount to. The same rules for every parser."""

import codecs
from typing import Final, NamedTuple, Protocol

from imgateway.codes import RFC_INVALID_PAYLOAD, RFC_NO_STATUS, RFC_PROTOCOL_ERROR, RFC_TOO_BIG, may_be_sent
from imgateway.wire.frames import TEXT

CONTINUATION: Final = 0x0
CLOSE: Final = 0x8
PING: Final = 0x9

MAX_FRAGMENTS: Final = 1024
"""Most frames of one message. Without it a message of one-byte fragments costs far more memory than its size."""

_FIRST_CONTROL_OPCODE: Final = 0x8

_utf8_decoder: Final = codecs.getincrementaldecoder("utf-8")


class Ping(NamedTuple):
    """A ping frame that waits for its pong."""

    payload: bytes


class PeerClosed(NamedTuple):
    """The peer's close frame; 1005 where it names no code (section 7.1.5). Nothing follows."""

    code: int


class Violation(NamedTuple):
    """The peer has broken a rule, and the connection is to be closed with this code. Nothing follows."""

    code: int
    text: str


Arrival = str | bytes | Ping | PeerClosed | Violation | None
"""A whole message, a ping, an ending; or None for any other frame: a fragment, a pong."""


class FrameParser(Protocol):
    """Takes a client's bytes apart. Holds at most one unfinished message, bounded in bytes and fragments."""

    def feed(self, data: bytes, /) -> list[Arrival]:
        """What `data` completes, in order. Not to be called again after a `PeerClosed` or a `Violation`."""
        ...

    def close(self) -> None:
        """Let go of everything held. Idempotent."""
        ...


class MessageAssembler:
    """Puts frames together that a parser has found well-formed: opcode, length, mask and reserved bits are right.

    Args:
        max_bytes: the largest message.
    """

    __slots__ = ("_decoder", "_fragments", "_pieces", "_size", "max_bytes")

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._pieces: list[str] | list[bytes] | None = None
        self._decoder: codecs.IncrementalDecoder | None = None
        self._fragments = 0
        self._size = 0

    @property
    def in_message(self) -> bool:
        """Whether a fragmented message has begun and not ended."""
        return self._pieces is not None

    def add(self, opcode: int, payload: bytes, fin: bool, /) -> Arrival:
        """Take the next frame; what it completes."""
        if opcode >= _FIRST_CONTROL_OPCODE:
            return _control(opcode, payload)
        if opcode == CONTINUATION:
            if self._pieces is None:
                return Violation(RFC_PROTOCOL_ERROR, "a continuation of nothing")
        elif self._pieces is not None:
            return Violation(RFC_PROTOCOL_ERROR, "a message within a message")
        elif len(payload) > self.max_bytes:
            return Violation(RFC_TOO_BIG, "the message is too large")
        elif fin:
            return _decoded(payload) if opcode == TEXT else payload
        else:
            self._pieces = []
            self._decoder = _utf8_decoder() if opcode == TEXT else None
            self._fragments = self._size = 0
        return self._fragment(self._pieces, payload, fin)

    def _fragment(self, pieces: list[str] | list[bytes], payload: bytes, fin: bool) -> Arrival:
        self._fragments += 1
        self._size += len(payload)
        if self._size > self.max_bytes:
            return Violation(RFC_TOO_BIG, "the message is too large")
        if self._fragments > MAX_FRAGMENTS:
            return Violation(RFC_TOO_BIG, "too many fragments")
        try:
            piece = payload if self._decoder is None else self._decoder.decode(payload, fin)
        except UnicodeDecodeError:
            return Violation(RFC_INVALID_PAYLOAD, "the text is not UTF-8")
        pieces.append(piece)  # type: ignore[arg-type]  # all of one kind: the decoder says which
        if not fin:
            return None
        message = b"".join(pieces) if self._decoder is None else "".join(pieces)  # type: ignore[arg-type]  # likewise
        self._pieces = self._decoder = None
        return message


def close_frame(code: int, text: str = "", /) -> bytes:
    """A server's close frame (section 5.5.1); `text` has at most 123 bytes; 1005 stands for one without a code."""
    if code == RFC_NO_STATUS:
        return bytes((0x80 | CLOSE, 0))
    payload = code.to_bytes(2, "big") + text.encode()
    return bytes((0x80 | CLOSE, len(payload))) + payload


def _decoded(payload: bytes) -> str | Violation:
    try:
        return payload.decode()
    except UnicodeDecodeError:
        return Violation(RFC_INVALID_PAYLOAD, "the text is not UTF-8")


def _control(opcode: int, payload: bytes) -> Arrival:
    if opcode == PING:
        return Ping(payload)
    if opcode != CLOSE:
        return None
    if not payload:
        return PeerClosed(RFC_NO_STATUS)
    code = int.from_bytes(payload[:2], "big")
    if len(payload) == 1 or not may_be_sent(code):
        return Violation(RFC_PROTOCOL_ERROR, "a close frame with a code that may not be sent")
    text = _decoded(payload[2:])
    return PeerClosed(code) if isinstance(text, str) else text
