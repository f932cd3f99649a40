"""Absolute figures without a foreign generator: `imgateway bench` is the client, at a higher price a message."""

import json
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any

from rig import OTHER_CORE, SECRET, ImGateway, VoidRunError
from workloads import Figures

COMMANDS: Mapping[str, Sequence[str]] = {
    "connect": ("connect", "--connections", "10000", "--hold", "3"),
    "fan-out-1000": ("down", "--connections", "1000", "--fan-out", "1000", "--messages", "600"),
    "fan-out-5000": ("down", "--connections", "5000", "--fan-out", "5000", "--messages", "80"),
    "unicast-5000": ("down", "--connections", "5000", "--messages", "100000"),
    "upstream-1000": ("up", "--connections", "1000", "--duration", "8"),
    "upstream-1000-window-16": ("up", "--connections", "1000", "--window", "16", "--duration", "8"),
    "latency-16k": ("down", "--connections", "5000", "--rate", "16000", "--duration", "8"),
}
"""The workloads that it can do; CPU time a message is not among them."""


def run(python: str, kafka: str, gateway: ImGateway, workload: str) -> Figures:
    """One workload.

    Raises:
        VoidRunError: something was lost or refused.
    """
    mode, *flags = COMMANDS[workload]
    if mode == "down":
        flags += ["--kafka", kafka]
    url = f"ws://127.0.0.1:{gateway.port}/ws"
    command = [python, "-m", "imgateway_cli", "bench", mode, url, *flags, "--secret", SECRET, "--processes", "1"]
    done = subprocess.run(
        ["taskset", "-c", str(OTHER_CORE), *command, "--json"], capture_output=True, text=True, timeout=180
    )
    if done.returncode:
        raise VoidRunError((done.stderr or done.stdout).strip()[-500:])
    return _figures(json.loads(done.stdout), mode)


def _figures(report: dict[str, Any], mode: str) -> Figures:
    part = report[mode]
    figures = {"connects/s" if mode == "connect" else "messages/s": float(part["per_second"])}
    if mode != "connect":
        figures |= {"p50 ms": part["latency_ms"]["p50"], "p99 ms": part["latency_ms"]["p99"]}
    figures["generator CPU %"] = max(report["cpu_percent"])
    return figures
