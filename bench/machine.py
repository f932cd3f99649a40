"""What a figure depends on besides the code: the machine and the versions."""

import datetime
import json
import os
import platform
import subprocess
from pathlib import Path

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
