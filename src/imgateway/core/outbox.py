"""What waits for one socket, bounded in bytes, and which records are waiting for those bytes to reach the kernel."""

from collections import deque
from collections.abc import Sequence

import attrs

from imgateway.ports import Settlement
from imgateway.wire.frames import Frame


@attrs.define(eq=False)
class Outbox:
    """Frames in order, and the stream positions at which records are handed over.

    A position counts bytes since the connection began: a record is with the kernel once the bytes written, less those
    the transport still buffers, reach the position of its frame's end. Positions are worked out only for a client that
    does not take everything at once.

    Attributes:
        capacity: most bytes that may wait, in here and in the transport together. A single frame is always taken
            when nothing else waits, however large, or it could never be sent.
        pending_bytes: bytes waiting in here.
    """

    capacity: int
    pending_bytes: int = 0
    _frames: list[Frame] = attrs.field(factory=list)
    _settlements: list[Settlement | None] = attrs.field(factory=list)
    _taken: Sequence[Frame] = ()
    _taken_settlements: Sequence[Settlement | None] = ()
    _taken_at: float = 0.0
    _written: int = 0
    _behind: deque[tuple[int, float, Settlement]] | None = None

    def offer(self, frame: Frame, buffered: int, settlement: Settlement | None = None, /) -> bool:
        """Take a frame; False where it would exceed the capacity. `buffered` is what the transport still holds."""
        before = self.pending_bytes
        after = before + frame.size
        if after + buffered > self.capacity and before + buffered:
            return False
        self._frames.append(frame)
        self._settlements.append(settlement)
        self.pending_bytes = after
        return True

    def put_first(self, frame: Frame, /) -> None:
        """Put a frame before everything that waits, whatever the capacity. Only before anything was taken out."""
        self._frames.insert(0, frame)
        self._settlements.insert(0, None)
        self.pending_bytes += frame.size

    def take(self, now: float, /) -> list[Frame]:
        """Everything that waits, in order, counted as written from `now` on."""
        if self._taken:
            self._fall_behind()
        frames = self._frames
        self._taken, self._taken_settlements, self._taken_at = frames, self._settlements, now
        self._frames, self._settlements = [], []
        self._written += self.pending_bytes
        self.pending_bytes = 0
        return frames

    def handed_over(self, buffered: int, /) -> list[Settlement]:
        """The records whose last byte has reached the kernel since the last call, oldest first."""
        if not buffered and self._behind is None:
            settlements = self._taken_settlements
            self._taken = self._taken_settlements = ()
            return [settlement for settlement in settlements if settlement is not None]
        self._fall_behind()
        behind = self._behind
        if not behind:
            return []
        reached = self._written - buffered
        done = []
        while behind and behind[0][0] <= reached:
            done.append(behind.popleft()[2])
        if not behind:
            self._behind = None
        return done

    def abandon(self) -> list[Settlement]:
        """Forget everything; the records that were never handed over, oldest first."""
        self._fall_behind()
        behind, self._behind = self._behind, None
        waiting, self._settlements = self._settlements, []
        self._frames = []
        self.pending_bytes = 0
        return [settlement for _, _, settlement in behind or ()] + [one for one in waiting if one is not None]

    def oldest_unsettled(self) -> float | None:
        """Since when (`now` of `take`) the oldest record that was taken out has not been handed over, or None."""
        self._fall_behind()
        return self._behind[0][1] if self._behind else None

    def _fall_behind(self) -> None:
        """Note the position of each record that was taken out last."""
        frames, settlements = self._taken, self._taken_settlements
        if not frames:
            return
        self._taken = self._taken_settlements = ()
        end = self._written - sum([frame.size for frame in frames])
        behind = self._behind or deque()
        for frame, settlement in zip(frames, settlements, strict=True):
            end += frame.size
            if settlement is not None:
                behind.append((end, self._taken_at, settlement))
        self._behind = behind or None
