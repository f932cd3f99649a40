"""The metrics of several processes as one text."""

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

LABEL = "worker"


class WorkersObserver:
    """What the process above the workers knows of them, and their own metrics put together.

    Args:
        workers: the workers' ids, the values of the label `worker`.
    """

    def __init__(self, *workers: str) -> None:
        self.registry = CollectorRegistry()
        self._workers = workers
        self._up = Gauge(
            "imgateway_worker_up", "1 where the worker's own metrics are here, 0 where it did not answer", [LABEL],
            registry=self.registry,
        )  # fmt: skip
        self._ready = Gauge(
            "imgateway_worker_ready", "1 where the worker is ready, else 0", [LABEL], registry=self.registry
        )
        self._restarts = Counter(
            "imgateway_worker_restarts", "How often the worker ended unasked", [LABEL], registry=self.registry
        )
        for worker in workers:
            self._up.labels(worker)
            self._ready.labels(worker)
            self._restarts.labels(worker)

    def ready(self, worker: str, ready: bool, /) -> None:
        """Note whether a worker is ready."""
        self._ready.labels(worker).set(ready)

    def restarted(self, worker: str, /) -> None:
        """Count a worker that ended unasked."""
        self._restarts.labels(worker).inc()

    def render(self, texts: Mapping[str, bytes | None], /) -> tuple[bytes, str]:
        """All metrics in Prometheus' text format, and its media type.

        Args:
            texts: what each worker's observer rendered, by the worker's id; None where it did not answer in time.
        """
        for worker in self._workers:
            self._up.labels(worker).set(texts.get(worker) is not None)
        answered = {worker: text.decode() for worker, text in texts.items() if text is not None}
        return generate_latest(self.registry) + merged(answered).encode(), CONTENT_TYPE_LATEST


def merged(texts: Mapping[str, str], /) -> str:
    """Texts in Prometheus' format as one: each family once, each sample with the label `worker`.

    The texts must be as `prometheus_client` writes them: `# HELP`, `# TYPE`, then the family's samples.

    Args:
        texts: what each worker says, by its id.
    """
    families: dict[str, list[str]] = {}
    for worker, text in texts.items():
        head: list[str] = []
        samples: list[str] = []
        for line in text.splitlines():
            if line.startswith("# HELP "):
                head = [line]
            elif line.startswith("# TYPE "):
                samples = families.setdefault(line.split(" ")[2], [*head, line])
            elif line:
                samples.append(_labelled(line, worker))
    return "".join(f"{line}\n" for lines in families.values() for line in lines)


def _labelled(sample: str, worker: str) -> str:
    escaped = worker.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
    label = f'{LABEL}="{escaped}"'
    name, brace, rest = sample.partition("{")
    if brace and " " not in name:
        return f"{name}{{{label},{rest}"
    name, space, value = sample.partition(" ")
    return f"{name}{{{label}}}{space}{value}"
