"""WebSocket frames as a client sends and reads them (RFC 6455 section 5), without extensions."""

from collections.abc import Iterator
from typing import Final

CONTINUATION: Final = 0x0
TEXT: Final = 0x1
CLOSE: Final = 0x8
PING: Final = 0x9
PONG: Final = 0xA

MAX_MESSAGE_BYTES: Final = 16 * 1024 * 1024

_FIN: Final = 0x80
_RESERVED: Final = 0x70
_MASKED: Final = 0x80
_NO_MASK: Final = b"\0\0\0\0"


class FrameError(Exception):
    """The server does not keep to RFC 6455."""


def client_frame(opcode: int, payload: bytes, /) -> bytes:
    """A whole message. Its mask key is zero: servers have to apply it all the same, and we save the work."""
    size = len(payload)
    if size < 126:
        head = bytes((_FIN | opcode, _MASKED | size))
    elif size < 65536:
        head = bytes((_FIN | opcode, _MASKED | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((_FIN | opcode, _MASKED | 127)) + size.to_bytes(8, "big")
    return head + _NO_MASK + payload


class FrameReader:
    """Makes messages and control frames of what TCP brings, however it is cut."""

    __slots__ = ("_fragments", "_opcode", "_rest")

    def __init__(self) -> None:
        self._rest = b""
        self._fragments = b""
        self._opcode = CONTINUATION

    def feed(self, data: bytes, /) -> Iterator[tuple[int, bytes]]:
        """Opcode and payload of each message that is complete now; has to be read to its end.

        Raises:
            FrameError: on whatever no server may send, and on messages over `MAX_MESSAGE_BYTES`.
        """
        if self._rest:
            data = self._rest + data
        at, end = 0, len(data)
        while end - at >= 2:
            first, size, start = data[at], data[at + 1], at + 2
            if size >= 126:
                start = at + (4 if size == 126 else 10)
                if size & _MASKED:
                    raise FrameError("a masked frame")
                if end < start:
                    break
                size = int.from_bytes(data[at + 2 : start], "big")
            if size + len(self._fragments) > MAX_MESSAGE_BYTES:
                raise FrameError("a message too large")
            stop = start + size
            if end < stop:
                break
            at = stop
            if first == _FIN | TEXT and self._opcode == CONTINUATION:
                yield TEXT, data[start:stop]
            elif (message := self._message(first, data[start:stop])) is not None:
                yield message
        self._rest = data[at:]

    def _message(self, first: int, payload: bytes) -> tuple[int, bytes] | None:
        opcode, final = first & 0x0F, bool(first & _FIN)
        if first & _RESERVED:
            raise FrameError("a frame with reserved bits")
        if opcode >= CLOSE:
            if not final or len(payload) > 125:
                raise FrameError("a control frame that is long or in fragments")
            return opcode, payload
        if (opcode == CONTINUATION) != (self._opcode != CONTINUATION):
            raise FrameError("a fragment out of place")
        self._opcode = opcode or self._opcode
        self._fragments += payload
        if not final:
            return None
        message = self._opcode, self._fragments
        self._opcode, self._fragments = CONTINUATION, b""
        return message
