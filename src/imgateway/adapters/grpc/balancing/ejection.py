"""Leaving an instance alone whose calls fail."""

import random
from typing import Final

import attrs

EJECT_AFTER: Final = 3
"""So many failures in a row, and an instance is left alone for some time."""
EJECT_SECONDS: Final = (2.0, 4.0, 8.0, 16.0)
"""For how long: the first time, the second, …; the last of these from then on."""


@attrs.define
class Ejection:
    """Counts the failures in a row of one instance, and how often it was left alone for them."""

    _failures: int = 0
    _ejections: int = 0
    _until: float = 0.0

    def active(self, now: float) -> bool:
        """Whether it is left alone."""
        return now < self._until

    def due(self, now: float) -> bool:
        """Note a failure: whether the instance should be left alone now."""
        self._failures += 1
        return self._failures >= EJECT_AFTER and not self.active(now)

    def begin(self, now: float) -> float:
        """Leave it alone; returns for how many seconds."""
        seconds = EJECT_SECONDS[self._ejections] * random.uniform(0.8, 1.2)
        self._ejections = min(self._ejections + 1, len(EJECT_SECONDS) - 1)
        self._until = now + seconds
        self._failures = EJECT_AFTER - 1  # the first call after that decides
        return seconds

    def forgive(self, now: float) -> None:
        """Note a call that went well."""
        self._failures = 0
        if self._ejections and not self.active(now):
            self._ejections -= 1
