"""Server frames (RFC 6455 section 5.2): built once, written to any number of sockets.

A server's frames are not masked, so the same bytes serve every recipient.
"""

from typing import Final

TEXT: Final = 0x1
BINARY: Final = 0x2

_FIN = 0x80


class Frame:
    """One complete, unfragmented data frame.

    Attributes:
        wire: header and payload, ready for the socket.
        opcode: `TEXT` or `BINARY`.
        size: bytes on the wire, header included.
    """

    __slots__ = ("_header_size", "opcode", "size", "wire")

    def __init__(self, opcode: int, payload: bytes) -> None:
        length = len(payload)
        if length < 126:
            header = bytes((_FIN | opcode, length))
        elif length < 65536:
            header = bytes((_FIN | opcode, 126)) + length.to_bytes(2, "big")
        else:
            header = bytes((_FIN | opcode, 127)) + length.to_bytes(8, "big")
        self.wire = header + payload
        self.size = len(self.wire)
        self.opcode = opcode
        self._header_size = len(header)

    @property
    def payload(self) -> bytes:
        """The payload alone, for transports that build their own frames."""
        return self.wire[self._header_size :]


def text_frame(payload: bytes, /) -> Frame:
    """A text frame; `payload` must be UTF-8."""
    return Frame(TEXT, payload)


def binary_frame(payload: bytes, /) -> Frame:
    """A binary frame."""
    return Frame(BINARY, payload)
