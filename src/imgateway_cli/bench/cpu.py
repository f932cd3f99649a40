"""What a process of the load costs."""

import time
from pathlib import Path

from imgateway_cli.bench.tally import Tally


class Cpu:
    """What this process has used of a core since, and what it would have used if there had been one."""

    def __init__(self) -> None:
        self._used, self._waited, self._since = time.process_time(), _waited_seconds(), time.monotonic()

    def note(self, tally: Tally) -> None:
        """Write it down."""
        seconds = max(time.monotonic() - self._since, 1e-3)
        tally.cpu_percent = (100 * (time.process_time() - self._used) / seconds,)
        tally.waited_percent = (100 * (_waited_seconds() - self._waited) / seconds,)


def _waited_seconds() -> float:
    try:
        return int(Path("/proc/self/schedstat").read_text().split()[1]) / 1e9
    except (OSError, ValueError, IndexError):
        return 0.0  # a kernel that does not count it
