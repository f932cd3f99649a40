"""What becomes of one downstream record: counted down connection by connection until nothing is open."""

from collections.abc import Callable, Mapping, Sequence

from imgateway.model import ConsumedRecord, Undelivered, UserId

_UNSEALED = 1 << 60
"""More than could ever report: whoever does before the seal does not finish the record."""

FinishCallback = Callable[["RecordSettlement"], None]


class RecordSettlement:
    """Implements `ports.Settlement` for one record.

    A user with several connections has the record when one of them does; whom no connection reached is `left_out`.
    The owner `seal`s it when every send was made, with how many connections will report; `on_finished` follows once,
    when the last one has.
    """

    __slots__ = ("_missed", "_on_finished", "_open", "_reached", "on_settled", "record")

    def __init__(self, record: ConsumedRecord, on_finished: FinishCallback, on_settled: Callable[[], None], /) -> None:
        self.record = record
        self.on_settled = on_settled
        self._on_finished = on_finished
        self._open = _UNSEALED
        self._missed: dict[UserId, Undelivered] | None = None
        self._reached: set[UserId] | None = None

    def expect_several(self) -> None:
        """Some user has several connections. Before any of them is sent to."""
        if self._reached is None:
            self._reached = set()

    def seal(self, expected: int, /) -> None:
        """Every send was made: so many connections report, or have already."""
        self._count_down(_UNSEALED - expected)

    def handed_over(self, user_id: UserId, /) -> None:
        """A connection of `user_id` has it."""
        if self._reached is not None:
            self._reached.add(user_id)
        self._open -= 1
        if not self._open:
            self._on_finished(self)

    def missed(self, user_id: UserId, reason: Undelivered, /) -> None:
        """A connection of `user_id` ended without it."""
        self.leave_out(user_id, reason)
        self._count_down(1)

    def leave_out(self, user_id: UserId, reason: Undelivered, /) -> None:
        """`user_id` has no connection to report, or one that missed it; the first reason counts."""
        if self._missed is None:
            self._missed = {}
        self._missed.setdefault(user_id, reason)

    def left_out(self) -> Mapping[Undelivered, Sequence[UserId]]:
        """The users whom no connection reached, by reason."""
        groups: dict[Undelivered, list[UserId]] = {}
        for user_id, reason in (self._missed or {}).items():
            if self._reached is None or user_id not in self._reached:
                groups.setdefault(reason, []).append(user_id)
        return groups

    def _count_down(self, by: int) -> None:
        self._open -= by
        if not self._open:
            self._on_finished(self)
