"""What time is it?"""

from typing import Protocol


class Clock(Protocol):
    """The only source of time for the core, so that tests can turn it by hand."""

    def now(self) -> int:
        """Wall-clock time: milliseconds since the epoch. May jump."""
        ...

    def monotonic(self) -> float:
        """Seconds since some fixed moment. Never goes back."""
        ...
