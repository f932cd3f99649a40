"""What was measured. Tallies of several processes, or of several connections, add up."""

from collections import Counter
from typing import Final, Self

import attrs

from imgateway_cli.bench.histogram import Histogram
from imgateway_cli.printable import printable

MAX_REASONS: Final = 40
MAX_REASON_CHARS: Final = 54
OTHER_REASONS: Final = "other reasons"


def count_reason(reasons: Counter[str], reason: str, /) -> None:
    """Count a reason that may come from elsewhere: it is made printable and short, and there are not too many."""
    name = printable(reason)[:MAX_REASON_CHARS]
    reasons[name if name in reasons or len(reasons) < MAX_REASONS else OTHER_REASONS] += 1


@attrs.define
class Sum:
    """Adds up attribute by attribute."""

    def __add__(self, other: Self) -> Self:
        names = [field.name for field in attrs.fields(type(self))]
        return type(self)(**{name: getattr(self, name) + getattr(other, name) for name in names})


@attrs.define
class Span:
    """From the first to the last of what was seen, by the monotonic clock that all processes share; nanoseconds."""

    first: int = 0
    last: int = 0

    def see(self, now: int, /) -> None:
        """Something happened now."""
        self.first = self.first or now
        self.last = max(self.last, now)

    @property
    def seconds(self) -> float:
        """How long it is."""
        return (self.last - self.first) / 1e9

    def __add__(self, other: Self) -> Self:
        firsts = [first for first in (self.first, other.first) if first]
        return type(self)(min(firsts, default=0), max(self.last, other.last))


@attrs.define
class Opening(Sum):
    """Connections made.

    Attributes:
        opened: those that got their `welcome`.
        failed: the others, by reason.
        latency: from the first packet, or from when it was due, to `welcome`.
    """

    opened: int = 0
    failed: Counter[str] = attrs.field(factory=Counter)
    latency: Histogram = attrs.field(factory=Histogram)
    span: Span = attrs.field(factory=Span)


@attrs.define
class Upward(Sum):
    """Messages sent up.

    Attributes:
        sent: frames written.
        duplicates: acknowledged as `duplicate`, though no id was used twice.
        errors: answered by `error`, by code.
        unanswered: sent or due, and never answered.
        latency: from sending, or from when it was due, to `accepted`.
    """

    sent: int = 0
    accepted: int = 0
    duplicates: int = 0
    errors: Counter[str] = attrs.field(factory=Counter)
    unanswered: int = 0
    latency: Histogram = attrs.field(factory=Histogram)
    span: Span = attrs.field(factory=Span)


@attrs.define
class Downward(Sum):
    """Messages sent down.

    Attributes:
        gateways: connections by the gateway they are at.
        written: records that Kafka has acknowledged.
        write_errors: records that it has not, by reason.
        expected: deliveries that the written records stand for.
        received: deliveries that came, each counted once.
        lost: deliveries that did not come.
        duplicates: deliveries that came once more.
        out_of_order: deliveries that came after one with a higher `seqId`.
        latency: from just before the record is given to Kafka's client to its arrival.
        span: from the first record to the last arrival.
    """

    gateways: Counter[str] = attrs.field(factory=Counter)
    written: int = 0
    write_errors: Counter[str] = attrs.field(factory=Counter)
    expected: int = 0
    received: int = 0
    lost: int = 0
    duplicates: int = 0
    out_of_order: int = 0
    latency: Histogram = attrs.field(factory=Histogram)
    span: Span = attrs.field(factory=Span)


@attrs.define
class Calls(Sum):
    """HTTP requests.

    Attributes:
        requests: those that were made, or were due.
        succeeded: answered with a status from 200 to 299.
        statuses: the answers, by status.
        errors: the other outcomes, by reason: an answer that is no success, or none.
        unanswered: without any outcome when the run ended.
        reconnects: connections made in the place of those that servers ended.
        latency: of the successes, from sending, or from when it was due, to the answer's end.
    """

    requests: int = 0
    succeeded: int = 0
    statuses: Counter[str] = attrs.field(factory=Counter)
    errors: Counter[str] = attrs.field(factory=Counter)
    unanswered: int = 0
    reconnects: int = 0
    latency: Histogram = attrs.field(factory=Histogram)
    span: Span = attrs.field(factory=Span)


@attrs.define
class Tally(Sum):
    """All that one process, or all of them, measured.

    Attributes:
        lost: connections that ended after `welcome` and before we closed them, by reason.
        held: the time in which connections were only kept open.
        pings: pings of the gateway answered.
        cpu_percent: of one core used by each process while it measured.
        waited_percent: of the time in which each process was ready to run, and had no core.
    """

    opening: Opening = attrs.field(factory=Opening)
    lost: Counter[str] = attrs.field(factory=Counter)
    held: Span = attrs.field(factory=Span)
    pings: int = 0
    upward: Upward = attrs.field(factory=Upward)
    downward: Downward = attrs.field(factory=Downward)
    calls: Calls = attrs.field(factory=Calls)
    cpu_percent: tuple[float, ...] = ()
    waited_percent: tuple[float, ...] = ()
