"""How many calls may be repeated."""

from typing import Final

import attrs

SHARE: Final = 0.2
"""Of the calls, so many may be repeated in the long run."""
MOST: Final = 100.0


@attrs.define
class RetryBudget:
    """A token bucket filled by calls, so that a failing back end is not asked many times as much."""

    _tokens: float = MOST

    def called(self) -> None:
        """A call was made."""
        if self._tokens < MOST:
            self._tokens = min(MOST, self._tokens + SHARE)

    def take(self) -> bool:
        """Whether one more may be repeated."""
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True
