"""Whether the cluster answers, said once each time it changes: the library's own log lines come by the hundred."""

import logging

import anyio
import attrs

_log = logging.getLogger(__name__)


@attrs.define(eq=False)
class Reachability:
    """What one part knows of the cluster.

    Attributes:
        part: whose word it is, for the log.
    """

    part: str
    _lost_at: float | None = attrs.field(default=None, init=False)

    @property
    def lost_for(self) -> float:
        """Seconds since the cluster was last known to answer; 0 while it does."""
        return 0.0 if self._lost_at is None else anyio.current_time() - self._lost_at

    def lost(self, why: str) -> None:
        """It does not answer."""
        if self._lost_at is None:
            self._lost_at = anyio.current_time()
            _log.warning("Kafka does not answer", extra={"part": self.part, "why": why})

    def back(self) -> None:
        """It answers."""
        if self._lost_at is not None:
            _log.info("Kafka answers again", extra={"part": self.part, "after_seconds": round(self.lost_for, 1)})
            self._lost_at = None
