"""What waits for one socket, bounded in bytes, and which records are waiting for those bytes to reach the kernel."""

from collections import deque

import attrs

from imgateway.ports import Settlement
from imgateway.wire.frames import Frame


@attrs.define(eq=False)
class Outbox:
    """Frames in order, and the stream positions at which records are handed over.

    A position counts bytes since the connection began: a record is with the kernel once the bytes written, less those
    the transport still buffers, reach the position of its frame's end.

    Attributes:
        capacity: most bytes that may wait, in here and in the transport together. A single frame is always taken
            when nothing else waits, however large, or it could never be sent.
        pending_bytes: bytes waiting in here.
    """

    capacity: int
    pending_bytes: int = 0
    _pending: list[Frame] = attrs.field(factory=list)
    _written: int = 0
    _unsettled: deque[tuple[int, float, Settlement]] | None = None

    def offer(self, frame: Frame, buffered: int, settlement: Settlement | None = None, now: float = 0.0, /) -> bool:
        """Take a frame; False where it would exceed the capacity. `buffered` is what the transport still holds."""
        waiting = self.pending_bytes + buffered
        if waiting and waiting + len(frame.wire) > self.capacity:
            return False
        self._pending.append(frame)
        self.pending_bytes += len(frame.wire)
        if settlement is not None:
            if self._unsettled is None:
                self._unsettled = deque()
            self._unsettled.append((self._written + self.pending_bytes, now, settlement))
        return True

    def put_first(self, frame: Frame, /) -> None:
        """Put a frame before everything that waits, whatever the capacity. Only before anything was taken out."""
        self._pending.insert(0, frame)
        size = len(frame.wire)
        self.pending_bytes += size
        if self._unsettled:
            self._unsettled = deque((end + size, now, settlement) for end, now, settlement in self._unsettled)

    def take(self) -> list[Frame]:
        """Everything that waits, in order, counted as written from now on."""
        frames, self._pending = self._pending, []
        self._written += self.pending_bytes
        self.pending_bytes = 0
        return frames

    def handed_over(self, buffered: int, /) -> list[Settlement]:
        """The records whose last byte has reached the kernel since the last call, oldest first."""
        unsettled = self._unsettled
        if not unsettled:
            return []
        reached = self._written - buffered
        done = []
        while unsettled and unsettled[0][0] <= reached:
            done.append(unsettled.popleft()[2])
        if not unsettled:
            self._unsettled = None
        return done

    def drop_pending(self) -> None:
        """Forget the frames that wait. Their records stay unsettled until `abandon`."""
        self._pending = []
        self.pending_bytes = 0

    def abandon(self) -> list[Settlement]:
        """The records that were never handed over, oldest first; they are forgotten here."""
        unsettled, self._unsettled = self._unsettled, None
        return [settlement for _, _, settlement in unsettled or ()]

    def oldest_unsettled(self) -> float | None:
        """When the oldest record that is not handed over was offered (`now` of `offer`), or None."""
        return self._unsettled[0][1] if self._unsettled else None
