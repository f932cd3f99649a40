"""One timer for all connections: a wheel of slots instead of a task or a timer each."""

from typing import Protocol

import attrs


class Beating(Protocol):
    """Something that wants to be asked now and then."""

    slot: int

    def beat(self, now: float, /) -> float | None:
        """Do what is due at `now`; return when to be asked next, or None to be forgotten."""
        ...


@attrs.define(eq=False)
class HeartbeatWheel:
    """Asks each member when it is due, within `resolution` seconds.

    The wheel's time stands still while the process does: one advance never moves it by more than two resolutions.
    After a pause (a stopped process, a long collection) nobody is found overdue whose answer merely was not read yet.

    Attributes:
        resolution: seconds a slot spans.
        now: the wheel's own time, in seconds since it was made.
    """

    resolution: float = 0.25
    now: float = 0.0
    _slots: dict[int, dict[Beating, None]] = attrs.field(factory=dict)
    _next: int = 0
    _last_reading: float | None = None

    def add(self, member: Beating, due: float, /) -> None:
        """Ask `member` at `due` (wheel time) first."""
        slot = max(self._next, int(due / self.resolution) + 1)
        member.slot = slot
        self._slots.setdefault(slot, {})[member] = None

    def remove(self, member: Beating, /) -> None:
        """Forget `member` at once. Idempotent."""
        members = self._slots.get(member.slot)
        if members is not None:
            members.pop(member, None)
            if not members:
                del self._slots[member.slot]

    def advance(self, reading: float, /) -> None:
        """Move on to the monotonic clock's `reading` and ask everyone who is due."""
        if self._last_reading is not None:
            self.now += min(max(reading - self._last_reading, 0.0), 2 * self.resolution)
        self._last_reading = reading
        end = int(self.now / self.resolution)
        while self._next <= end:
            slot = self._next
            self._next += 1
            members = self._slots.get(slot)
            # One by one: a member's beat may remove others of its slot.
            while members:
                member, _ = members.popitem()
                due = member.beat(self.now)
                if due is not None:
                    self.add(member, due)
            self._slots.pop(slot, None)

    def __len__(self) -> int:
        """How many members there are."""
        return sum(map(len, self._slots.values()))
