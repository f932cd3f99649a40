"""Frames parsed by picows, in C. The only module that knows it.

Of picows no more is used than its parser: it is made to believe in a socket and in an upgrade that has just taken
place, gets the bytes as if it had read them, and what it writes goes nowhere.
"""

import asyncio
from typing import TYPE_CHECKING, Any, Final

from picows import WSAutoPingStrategy, WSFrame, WSListener, WSMsgType, WSTransport
from picows.picows import WSProtocol  # type: ignore[attr-defined]  # there, but not in its stubs

from imgateway.codes import RFC_INVALID_PAYLOAD, RFC_PROTOCOL_ERROR
from imgateway.wire.inbound import Arrival, FrameParser, MessageAssembler, PeerClosed, Violation

READ_BUFFER_BYTES: Final = 2048
"""What each connection holds for unparsed bytes; grows up to twice the largest message, and stays so."""

_TEXT: Final = WSMsgType.TEXT
_OPCODES: Final = {kind: int(kind.value) for kind in WSMsgType}
_UPGRADE: Final = (
    b"GET / HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


class _Unplugged(asyncio.Transport):
    """Stands where picows expects a socket."""

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Only a socket, since picows insists on one."""
        return self if name == "socket" else default

    def get_write_buffer_size(self) -> int:
        """Never empty, or picows would write to the file descriptor by itself."""
        return 1

    def fileno(self) -> int:
        """None."""
        return -1

    def setsockopt(self, *_: object) -> None:
        """Nothing to set."""

    def getsockopt(self, *_: object) -> int:
        """Nothing was set."""
        return 0

    def write(self, data: Any) -> None:
        """Nowhere."""

    def close(self) -> None:
        """Nothing to close."""


class _Silence:
    """Stands where picows expects a logger; a real one would be copied for each connection."""

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802  # logging's name
        """For no level."""
        return False

    def log(self, *_: object, **__: object) -> None:
        """Nothing."""

    debug = info = warning = error = exception = log


_UNPLUGGED: Final = _Unplugged()
_SILENCE: Final = _Silence()


class PicowsParser(WSListener):
    """Implements `wire.inbound.FrameParser`. To be made within a running event loop.

    picows checks opcodes, masks, lengths and control frames; reserved bits, the sequence of fragments, the size of a
    message and its UTF-8 are checked here.

    Args:
        max_message_bytes: the largest message.
    """

    __slots__ = ("_arrived", "_assembler", "_ended", "_protocol")

    def __init__(self, max_message_bytes: int) -> None:
        self._arrived: list[Arrival] = []
        self._assembler = MessageAssembler(max_message_bytes)
        self._ended = False
        self._protocol: Any = WSProtocol(
            None, None, False, self._itself, _SILENCE, False, None,
            False, 1, 1, WSAutoPingStrategy.PING_WHEN_IDLE, False,
            max_message_bytes, None, READ_BUFFER_BYTES,
        )  # fmt: skip
        self._protocol.connection_made(_UNPLUGGED)
        self.feed(_UPGRADE)
        # What picows keeps of the upgrade for as long as the connection lives.
        self._protocol.transport.request.headers = self._protocol.transport.response.headers = None

    def feed(self, data: bytes, /) -> list[Arrival]:
        """What `data` completes, in order."""
        protocol = self._protocol
        size = len(data)
        buffer = protocol.get_buffer(size)
        if size <= len(buffer):
            buffer[:size] = data
            protocol.buffer_updated(size)
        else:
            self._feed_in_pieces(memoryview(data))
        if protocol.transport.is_close_frame_sent and not self._ended:
            # picows found fault with what came after all that has arrived.
            self._ended = True
            sent = protocol.transport.close_handshake.sent
            self._arrived.append(Violation(int(getattr(sent.code, "value", sent.code)), sent.reason))
        arrived, self._arrived = self._arrived, []
        return arrived

    def close(self) -> None:
        """Let go of everything held."""
        self._protocol = None

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """A frame, as picows tells it."""
        if self._ended:
            return
        kind = frame.msg_type
        if kind is _TEXT and frame.fin and not frame.rsv1 and not frame.rsv2 and not frame.rsv3:
            if not self._assembler.in_message:
                try:
                    self._arrived.append(frame.get_payload_as_utf8_text())
                except UnicodeDecodeError:
                    self._end(Violation(RFC_INVALID_PAYLOAD, "the text is not UTF-8"))
                return
        elif frame.rsv1 or frame.rsv2 or frame.rsv3:
            self._end(Violation(RFC_PROTOCOL_ERROR, "reserved bits must be 0"))
            return
        arrival = self._assembler.add(_OPCODES[kind], frame.get_payload_as_bytes(), bool(frame.fin))
        if isinstance(arrival, PeerClosed | Violation):
            self._end(arrival)
        else:
            self._arrived.append(arrival)

    def _end(self, arrival: PeerClosed | Violation) -> None:
        self._arrived.append(arrival)
        self._ended = True

    def _feed_in_pieces(self, data: memoryview) -> None:
        protocol, start = self._protocol, 0
        while start < len(data) and not self._ended and not protocol.transport.is_close_frame_sent:
            buffer = protocol.get_buffer(-1)
            piece = data[start : start + len(buffer)]
            buffer[: len(piece)] = piece
            protocol.buffer_updated(len(piece))
            start += len(piece)

    def _itself(self, _: object) -> WSListener:
        return self


if TYPE_CHECKING:

    def _conforms(parser: PicowsParser) -> FrameParser:
        return parser
