"""An observer that counts."""

from collections import Counter

import attrs


@attrs.define(eq=False)
class CountingObserver:
    """Implements `ports.GatewayObserver`: what happened so far, in this process.

    Attributes:
        counts: by the observer's method and what it was told: `counts["message_up", "accepted"]`; where there is
            nothing to tell, the second part is empty: `counts["connection_opened", ""]`.
        connections: connections that are open now.
        waiting_bytes: bytes waiting for sockets now.
        lag: downstream records not yet read, as last told.
    """

    counts: Counter[tuple[str, str]] = attrs.field(factory=Counter, init=False)
    connections: int = attrs.field(default=0, init=False)
    waiting_bytes: int = attrs.field(default=0, init=False)
    lag: int = attrs.field(default=0, init=False)

    def connect_decided(self, outcome: str, /) -> None:
        """Count `connect_decided` by outcome."""
        self.counts["connect_decided", outcome] += 1

    def connection_opened(self) -> None:
        """Count `connection_opened`."""
        self.counts["connection_opened", ""] += 1
        self.connections += 1

    def connection_closed(self, close_code: int, /) -> None:
        """Count `connection_closed` by close code."""
        self.counts["connection_closed", str(close_code)] += 1
        self.connections -= 1

    def message_up(self, status: str, /) -> None:
        """Count `message_up` by status."""
        self.counts["message_up", status] += 1

    def published(self, seconds: float, /) -> None:
        """Count `published`; how long it took is not kept."""
        self.counts["published", ""] += 1

    def delivery(self, outcome: str, count: int, /) -> None:
        """Add to `delivery` by outcome."""
        self.counts["delivery", outcome] += count

    def undelivered(self, reason: str, count: int, /) -> None:
        """Add to `undelivered` by reason."""
        self.counts["undelivered", reason] += count

    def call_finished(self, rpc: str, code: str, seconds: float, /) -> None:
        """Count `call_finished` by method and code, as `"pkg.Service/Method OK"`; how long it took is not kept."""
        self.counts["call_finished", f"{rpc} {code}"] += 1

    def outbox_bytes(self, change: int, /) -> None:
        """Keep the sum in `waiting_bytes`."""
        self.waiting_bytes += change

    def downstream_lag(self, records: int, /) -> None:
        """Keep the figure in `lag`."""
        self.lag = records
