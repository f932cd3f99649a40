"""The gateway's metrics, by the names of the reference page."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from imgateway.codes import NAMED_CLOSE_CODES

_BUCKETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class PrometheusObserver(Collector):
    """Implements `ports.GatewayObserver`. Has a registry of its own, so that several gateways fit into a process.

    It counts in plain numbers and makes metrics of them when it is asked: the library's own take a lock for each
    change, and there are several for each message. To be told and asked by the event loop's thread.

    Labels come from small fixed sets; a close code that no table names counts as `other`, since clients choose theirs.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self._open = 0
        self._connects: Counter[str] = Counter()
        self._messages_up: Counter[str] = Counter()
        self._deliveries: Counter[str] = Counter()
        self._undelivered: Counter[str] = Counter()
        self._closes: Counter[str] = Counter()
        self._lag = 0
        self._outbox_bytes = 0
        self._published = _Timings()
        self._calls: Counter[tuple[str, str]] = Counter()
        self._call_seconds: dict[str, _Timings] = {}
        self.registry = registry or CollectorRegistry()
        self.registry.register(self)

    def render(self) -> tuple[bytes, str]:
        """All metrics in Prometheus' text format, and its media type."""
        return generate_latest(self.registry), CONTENT_TYPE_LATEST

    def collect(self) -> Iterator[Metric]:
        """Every metric as it stands; see `prometheus_client`."""
        yield _gauge("imgateway_connections", "Open connections", self._open)
        yield _counter("imgateway_connects", "Decisions on connection requests", "outcome", self._connects)
        yield _counter("imgateway_messages_up", "Client messages by answer", "status", self._messages_up)
        yield _counter("imgateway_deliveries", "Downstream frames by outcome", "outcome", self._deliveries)
        yield _gauge("imgateway_downstream_lag", "Downstream records not yet read", self._lag)
        text = "Users whose message went to the undelivered topic"
        yield _counter("imgateway_undelivered", text, "reason", self._undelivered)
        yield _counter("imgateway_closes", "Ended connections by close code", "code", self._closes)
        text = "From offering a record to its receipt"
        yield _histogram("imgateway_publish_seconds", text, (), {(): self._published})
        yield _gauge("imgateway_outbox_bytes", "Bytes waiting for sockets", self._outbox_bytes)
        yield _calls(self._calls)
        timings: dict[tuple[str, ...], _Timings] = {(rpc,): timed for rpc, timed in self._call_seconds.items()}
        yield _histogram(
            "imgateway_call_seconds", "From a request for a method to the end of its answer", ("rpc",), timings
        )

    def connect_decided(self, outcome: str, /) -> None:
        """Count a decision."""
        self._connects[outcome] += 1

    def connection_opened(self) -> None:
        """Count a connection."""
        self._open += 1

    def connection_closed(self, close_code: int, /) -> None:
        """Count an ending."""
        self._open -= 1
        self._closes[str(close_code) if close_code in NAMED_CLOSE_CODES else "other"] += 1

    def message_up(self, status: str, /) -> None:
        """Count an answer."""
        self._messages_up[status] += 1

    def published(self, seconds: float, /) -> None:
        """Time a receipt."""
        self._published.add(seconds)

    def delivery(self, outcome: str, count: int, /) -> None:
        """Count frames."""
        self._deliveries[outcome] += count

    def undelivered(self, reason: str, count: int, /) -> None:
        """Count users."""
        self._undelivered[reason] += count

    def call_finished(self, rpc: str, code: str, seconds: float, /) -> None:
        """Count and time a call."""
        self._calls[rpc, code] += 1
        timings = self._call_seconds.get(rpc)
        if timings is None:
            timings = self._call_seconds[rpc] = _Timings()
        timings.add(seconds)

    def outbox_bytes(self, change: int, /) -> None:
        """Follow the bytes that wait."""
        self._outbox_bytes += change

    def downstream_lag(self, records: int, /) -> None:
        """Note the lag."""
        self._lag = records


class _Timings:
    """How long something took, each time: how often it was within each bound, and the sum."""

    def __init__(self) -> None:
        self._counts = [0] * (len(_BUCKETS) + 1)
        self.sum = 0.0

    def add(self, seconds: float) -> None:
        self._counts[bisect_left(_BUCKETS, seconds)] += 1
        self.sum += seconds

    def buckets(self) -> list[tuple[str, float]]:
        """Each bound, and how many were not above it."""
        bounds = (*map(str, _BUCKETS), "+Inf")
        return [(bound, float(count)) for bound, count in zip(bounds, accumulate(self._counts), strict=True)]


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value)


def _counter(name: str, text: str, label: str, counts: Counter[str]) -> Metric:
    family = CounterMetricFamily(name, text, labels=[label])
    for value, count in counts.items():
        family.add_metric([value], count)
    return family


def _calls(counts: Counter[tuple[str, str]]) -> Metric:
    family = CounterMetricFamily("imgateway_calls", "Calls of methods by outcome", labels=["rpc", "code"])
    for (rpc, code), count in counts.items():
        family.add_metric([rpc, code], count)
    return family


def _histogram(name: str, text: str, labels: Sequence[str], timings: Mapping[tuple[str, ...], _Timings]) -> Metric:
    family = HistogramMetricFamily(name, text, labels=labels)
    for values, timed in timings.items():
        family.add_metric(values, timed.buckets(), timed.sum)
    return family
