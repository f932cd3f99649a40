"""A client connection without a client."""

from collections import deque

import attrs

from imgateway.codes import Code
from imgateway.model import CloseReason, ConnectionId, DeviceId, SendOutcome, Undelivered, UserId
from imgateway.ports import Codec, ConnectionRegistry, Settlement
from imgateway.wire.frames import Frame
from imgateway.wire.json_codec import JsonCodec


@attrs.define(eq=False)
class RecordingConnection:
    """Implements `ports.ClientConnection`: plays the socket, whose kernel takes bytes when the test says so.

    Attributes:
        capacity: bytes that may wait for the kernel; with 0 every frame is one too many.
        registry: where it is taken out of when it is closed, or None. The test puts it in.
        frames: the frames that the kernel took, in order.
        reason: why the connection was closed, or None.
    """

    user_id: UserId
    connection_id: ConnectionId
    device_id: DeviceId | None = None
    codec: Codec = attrs.field(factory=JsonCodec)
    capacity: int = 262_144
    registry: ConnectionRegistry | None = None
    frames: list[Frame] = attrs.field(factory=list, init=False)
    reason: CloseReason | None = attrs.field(default=None, init=False)
    _waiting: deque[tuple[Frame, Settlement | None]] = attrs.field(factory=deque, init=False)

    def send(self, frame: Frame, settlement: Settlement | None = None, /) -> SendOutcome:
        """Take a frame, unless the connection is closed or too much waits."""
        if self.reason is not None:
            return SendOutcome.CLOSED
        if sum(waiting.size for waiting, _ in self._waiting) + frame.size > self.capacity:
            self.close(CloseReason.of(Code.SLOW_CONSUMER))
            self._miss(Undelivered.SLOW_CONSUMER)
            return SendOutcome.OVERFLOW
        self._waiting.append((frame, settlement))
        return SendOutcome.QUEUED

    def close(self, reason: CloseReason, /) -> None:
        """Take nothing more. What waits is settled by `hand_over` or `lose`."""
        if self.reason is None:
            self.reason = reason
            if self.registry is not None:
                self.registry.remove(self)

    def hand_over(self) -> None:
        """The kernel takes everything that waits."""
        while self._waiting:
            frame, settlement = self._waiting.popleft()
            self.frames.append(frame)
            if settlement is not None:
                settlement.handed_over(self.user_id)

    def lose(self) -> None:
        """The socket ends; what waits is missed."""
        self.close(CloseReason(1006))
        self._miss(Undelivered.NO_CONNECTION)

    def _miss(self, reason: Undelivered) -> None:
        while self._waiting:
            _, settlement = self._waiting.popleft()
            if settlement is not None:
                settlement.missed(self.user_id, reason)
