"""Frames parsed by the `websockets` library: correct, careful, and mostly in Python."""

from collections.abc import Generator
from typing import TYPE_CHECKING

from websockets.exceptions import PayloadTooBig, ProtocolError
from websockets.frames import Frame
from websockets.streams import StreamReader

from imgateway.codes import RFC_PROTOCOL_ERROR, RFC_TOO_BIG
from imgateway.wire.inbound import Arrival, FrameParser, MessageAssembler, PeerClosed, Violation


class WebsocketsParser:
    """Implements `wire.inbound.FrameParser`.

    Args:
        max_message_bytes: the largest message.
    """

    __slots__ = ("_arrived", "_assembler", "_frames", "_reader")

    def __init__(self, max_message_bytes: int) -> None:
        self._arrived: list[Arrival] = []
        self._assembler = MessageAssembler(max_message_bytes)
        self._reader = StreamReader()
        self._frames = self._parse()
        next(self._frames)

    def feed(self, data: bytes, /) -> list[Arrival]:
        """What `data` completes, in order."""
        self._reader.feed_data(data)
        next(self._frames, None)
        arrived, self._arrived = self._arrived, []
        return arrived

    def close(self) -> None:
        """Let go of everything held."""
        self._frames.close()
        self._reader.discard()

    def _parse(self) -> Generator[None, None, None]:
        arrival: Arrival = None
        while not isinstance(arrival, PeerClosed | Violation):
            try:
                frame = yield from Frame.parse(
                    self._reader.read_exact, mask=True, max_size=self._assembler.max_bytes, extensions=()
                )
            except PayloadTooBig:
                arrival = Violation(RFC_TOO_BIG, "the message is too large")
            except ProtocolError as error:
                arrival = Violation(RFC_PROTOCOL_ERROR, str(error))
            else:
                arrival = self._assembler.add(frame.opcode, bytes(frame.data), frame.fin)
            self._arrived.append(arrival)


if TYPE_CHECKING:

    def _conforms(parser: WebsocketsParser) -> FrameParser:
        return parser
