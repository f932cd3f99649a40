"""The gateway's metrics, by the names of the reference page."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from imgateway.codes import NAMED_CLOSE_CODES

_PUBLISH_BUCKETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class PrometheusObserver:
    """Implements `ports.GatewayObserver`. Has a registry of its own, so that several gateways fit into a process.

    Labels come from small fixed sets; a close code that no table names counts as `other`, since clients choose theirs.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()
        self._connections = Gauge("imgateway_connections", "Open connections", registry=self.registry)
        self._connects = Counter(
            "imgateway_connects", "Decisions on connection requests", ["outcome"], registry=self.registry
        )
        self._messages_up = Counter(
            "imgateway_messages_up", "Client messages by answer", ["status"], registry=self.registry
        )
        self._deliveries = Counter(
            "imgateway_deliveries", "Downstream frames by outcome", ["outcome"], registry=self.registry
        )
        self._lag = Gauge("imgateway_downstream_lag", "Downstream records not yet read", registry=self.registry)
        self._undelivered = Counter(
            "imgateway_undelivered", "Users whose message went to the undelivered topic", ["reason"],
            registry=self.registry,
        )  # fmt: skip
        self._closes = Counter("imgateway_closes", "Ended connections by close code", ["code"], registry=self.registry)
        self._publish = Histogram(
            "imgateway_publish_seconds", "From offering a record to its receipt", buckets=_PUBLISH_BUCKETS,
            registry=self.registry,
        )  # fmt: skip
        self._outbox = Gauge("imgateway_outbox_bytes", "Bytes waiting for sockets", registry=self.registry)

    def render(self) -> tuple[bytes, str]:
        """All metrics in Prometheus' text format, and its media type."""
        return generate_latest(self.registry), CONTENT_TYPE_LATEST

    def connect_decided(self, outcome: str, /) -> None:
        """Count a decision."""
        self._connects.labels(outcome).inc()

    def connection_opened(self) -> None:
        """Count a connection."""
        self._connections.inc()

    def connection_closed(self, close_code: int, /) -> None:
        """Count an ending."""
        self._connections.dec()
        self._closes.labels(str(close_code) if close_code in NAMED_CLOSE_CODES else "other").inc()

    def message_up(self, status: str, /) -> None:
        """Count an answer."""
        self._messages_up.labels(status).inc()

    def published(self, seconds: float, /) -> None:
        """Time a receipt."""
        self._publish.observe(seconds)

    def delivery(self, outcome: str, count: int, /) -> None:
        """Count frames."""
        self._deliveries.labels(outcome).inc(count)

    def undelivered(self, reason: str, count: int, /) -> None:
        """Count users."""
        self._undelivered.labels(reason).inc(count)

    def outbox_bytes(self, change: int, /) -> None:
        """Follow the bytes that wait."""
        self._outbox.inc(change)

    def downstream_lag(self, records: int, /) -> None:
        """Note the lag."""
        self._lag.set(records)
