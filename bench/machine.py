"""What a figure depends on besides the code: the machine and the versions."""

import datetime
import json
import os
import platform
import subprocess
import time
from pathlib import Path

import attrs

LIBRARIES = ("uvloop", "picows", "uvicorn", "websockets", "msgspec", "aiokafka", "redis", "starlette", "anyio")


def description(python: str, peer: str | None = None) -> dict[str, object]:
    """Machine, interpreter and libraries of the measured gateway, version of the peer, commit and date."""
    asked = (
        "import importlib.metadata as m, json, sys\n"
        "def version(name):\n"
        "    try: return m.version(name)\n"
        "    except m.PackageNotFoundError: return None\n"
        f"print(json.dumps([sys.version.split()[0], {{n: version(n) for n in {LIBRARIES!r}}}]))"
    )
    interpreter, libraries = json.loads(_output(python, "-c", asked))
    found: dict[str, object] = {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "cpu": _line("/proc/cpuinfo", "model name"),
        "cores": os.cpu_count(),
        "memory": _line("/proc/meminfo", "MemTotal"),
        "kernel": platform.release(),
        "python": interpreter,
        "libraries": libraries,
        "imgateway": _output("git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"),
        "load average at the start": os.getloadavg()[0],
    }
    if peer is not None:
        found["peer"] = _output(peer, "version")
    return found


def _line(file: str, name: str) -> str:
    for line in Path(file).read_text().splitlines():
        if line.startswith(name):
            return line.partition(":")[2].strip()
    return ""


def _output(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@attrs.frozen
class CoreUsage:
    """Seconds so far: of the clock, of a core in use, of a process."""

    clock: float
    core: float
    process: float

    def others_since(self, before: "CoreUsage") -> float:
        """Percent of the core's time that was not the process's own, nor idle."""
        others = (self.core - before.core) - (self.process - before.process)
        return max(others, 0.0) / (self.clock - before.clock) * 100


def core_usage(core: int, pid: int) -> CoreUsage:
    ticks = os.sysconf("SC_CLK_TCK")
    line = next(line for line in Path("/proc/stat").read_text().splitlines() if line.startswith(f"cpu{core} "))
    # proc(5): user, nice, system, idle, iowait, irq, softirq, steal
    user, nice, system, _idle, _iowait, irq, softirq, steal, *_ = map(int, line.split()[1:])
    own = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    process = (int(own[11]) + int(own[12])) / ticks
    return CoreUsage(time.monotonic(), (user + nice + system + irq + softirq + steal) / ticks, process)
