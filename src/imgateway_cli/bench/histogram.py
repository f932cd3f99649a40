"""Latencies in bounded memory: how many fell between which bounds, instead of all of them."""

import math
from typing import Final, Self

import attrs

LEAST_NS: Final = 1_000
"""What is shorter counts as one microsecond."""
MOST_NS: Final = 3_600 * 10**9
"""What is longer counts as one hour."""
ERROR: Final = 0.01
"""How far a percentile may be from the sample that it stands for, as a share of it."""

_LOG_GROWTH: Final = math.log((1 + ERROR) / (1 - ERROR))
_BUCKETS: Final = math.ceil(math.log(MOST_NS / LEAST_NS) / _LOG_GROWTH) + 1


@attrs.define
class Histogram:
    """Counts in some 1,100 buckets, each two percent wider than the one before.

    Attributes:
        least: the shortest, in nanoseconds and exact; 0 without any.
        most: the longest, in nanoseconds and exact.
    """

    least: int = 0
    most: int = 0
    _counts: list[int] = attrs.field(factory=lambda: [0] * _BUCKETS)

    @property
    def count(self) -> int:
        """How many there are."""
        return sum(self._counts)

    def add(self, nanoseconds: int, /) -> None:
        """One more."""
        bounded = min(max(nanoseconds, LEAST_NS), MOST_NS)
        self._counts[int(math.log(bounded / LEAST_NS) / _LOG_GROWTH)] += 1
        self.most = max(self.most, bounded)
        self.least = min(self.least or bounded, bounded)

    def percentile(self, percent: float, /) -> float:
        """The least latency that `percent` of all do not exceed, in nanoseconds and within `ERROR`; 0 without any."""
        wanted, seen = max(1, math.ceil(self.count * percent / 100)), 0
        for index, count in enumerate(self._counts):
            seen += count
            if seen >= wanted:
                # No sample of the bucket is further from this than `ERROR`.
                middle = LEAST_NS * math.exp(index * _LOG_GROWTH) * (1 + ERROR)
                return min(max(middle, self.least), self.most)
        return 0.0

    def __add__(self, other: Self) -> Self:
        counts = [ours + theirs for ours, theirs in zip(self._counts, other._counts, strict=True)]
        least = min(self.least or other.least, other.least or self.least)
        return type(self)(least, max(self.most, other.most), counts)
