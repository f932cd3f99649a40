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
    """

    __slots__ = ("_header_size", "opcode", "wire")

    def __init__(self, opcode: int, payload: bytes) -> None:
        size = len(payload)
        if size < 126:
            header = bytes((_FIN | opcode, size))
        elif size < 65536:
            header = bytes((_FIN | opcode, 126)) + size.to_bytes(2, "big")
        else:
            header = bytes((_FIN | opcode, 127)) + size.to_bytes(8, "big")
        self.wire = header + payload
        self.opcode = opcode
        self._header_size = len(header)

    @property
    def payload(self) -> bytes:
        """The payload alone, for transports that build their own frames."""
        return self.wire[self._header_size :]

    def __len__(self) -> int:
        """Bytes on the wire, header included."""
        return len(self.wire)


def text_frame(payload: bytes, /) -> Frame:
    """A text frame; `payload` must be UTF-8."""
    return Frame(TEXT, payload)


def binary_frame(payload: bytes, /) -> Frame:
    """A binary frame."""
    return Frame(BINARY, payload)
