"""The workloads, each on a fresh server of either side. One that loses anything raises `VoidRunError`."""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rig import Generator, Side, VoidRunError

Figures = dict[str, float]
Workload = Callable[[Generator, Side], Figures]

SETTLE = "3s"
UNICAST_USERS = 5000


def warm(generator: Generator, side: Side) -> None:
    """Both ways once, so that nothing is measured cold, and it is known that records arrive."""
    template, header = side.to_one()
    down(generator, side, template, header, users=200, count=2000, each=1, paused=False)
    # Other users: a message of theirs that comes again would only be found to be a duplicate.
    flags = [
        *side.client_flags,
        *side.up_flags(),
        "-user",
        "warm-",
        "-n",
        "100",
        "-dur",
        "500ms",
        "-warmup",
        "500ms",
        "-settle",
        "100ms",
    ]
    generator.run("echo", flags)


def down(
    generator: Generator,
    side: Side,
    template: str,
    header: str,
    *,
    users: int,
    count: int,
    each: int,
    paused: bool,
    rate: float = 0,
    settle: str = "500ms",
) -> dict[str, Any]:
    """Write `count` records to `users` connections, of which each reaches `each`.

    With `paused` the server stands still (SIGSTOP) until all records are with the broker: the publisher is no limit,
    and takes no part of the other core while the server is measured. `burst_s` counts from the moment it goes on.
    """
    expected = count * each
    origin = time.time_ns()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        file, went_on = Path(folder) / "template", Path(folder) / "went-on"
        file.write_text(template.replace("{t}", str(origin)) if paused else template)
        batch = 1 if rate == 0 else max(int(rate / 1000), 1)
        if rate == 0 and each == 1:
            batch = 100
        command = generator.publish_command(side, file, header, users=users, count=count, rate=rate, batch=batch)
        if paused:
            command = f"kill -STOP {side.pid}; {command}; sleep 0.3; date +%s%N >{went_on}; kill -CONT {side.pid}"
        flags = ["-n", str(users), "-pid", str(side.pid), "-expect", str(expected), "-settle", settle, "-exec", command]
        answer = generator.run("fanout", [*side.client_flags, *flags])
        if answer["received"] != expected:
            raise VoidRunError(f"{answer['received']:,} of {expected:,} messages arrived")
        if paused:
            answer["burst_s"] = answer["secs"] + (origin - int(went_on.read_text())) / 1e9
    return answer


def _burst(answer: dict[str, Any]) -> Figures:
    seconds = answer["burst_s"]
    return {
        "messages/s": answer["received"] / seconds,
        "frames/s": answer["frames"] / seconds,
        "bytes a message": answer["bytes"] / answer["received"],
        "seconds": seconds,
    }


def fan_out(users: int, records: int) -> Workload:
    """One record with all users, many times."""

    def run(generator: Generator, side: Side) -> Figures:
        best: Figures = {}
        others: Figures = {}
        for variant, (template, header) in side.to_all(users).items():
            answer = down(
                generator, side, template, header, users=users, count=records, each=users, paused=True, settle="1s"
            )
            figures = _burst(answer)
            if variant:
                others[f"messages/s, {variant}"] = figures["messages/s"]
            if not best or figures["messages/s"] > best["messages/s"]:
                best = figures
        return best | others

    return run


def unicast(count: int) -> Workload:
    """One record for each user in turn."""

    def run(generator: Generator, side: Side) -> Figures:
        template, header = side.to_one()
        return _burst(
            down(generator, side, template, header, users=UNICAST_USERS, count=count, each=1, paused=True, settle="1s")
        )

    return run


def paced_down(rate: int, seconds: int) -> Workload:
    """Latency, and CPU time a message less that of the idle server."""

    def run(generator: Generator, side: Side) -> Figures:
        template, header = side.to_one()
        answer = down(
            generator, side, template, header,
            users=UNICAST_USERS, count=rate * seconds, each=1, paused=False, rate=rate, settle=SETTLE,
        )  # fmt: skip
        took = float(answer["secs"])
        if took > seconds * 1.2:
            raise VoidRunError(f"{took:.1f} s instead of {seconds}: the pace was not held")
        return _latency(answer) | cpu(answer, answer["received"], took)

    return run


def upstream(connections: int, window: int, seconds: int) -> Workload:
    """Closed loop: what is acknowledged."""

    def run(generator: Generator, side: Side) -> Figures:
        flags = ["-n", str(connections), "-window", str(window), "-dur", f"{seconds}s", "-pid", str(side.pid)]
        answer = generator.run("echo", [*side.client_flags, *side.up_flags(), *flags])
        if answer["errors"]:
            raise VoidRunError(f"{answer['errors']:,} messages were refused")
        return {"messages/s": answer["acks_per_s"]} | _latency(answer)

    return run


def paced_up(rate: int, connections: int, seconds: int) -> Workload:
    """CPU time a message, and latency from when it was due."""

    def run(generator: Generator, side: Side) -> Figures:
        flags = [
            "-n", str(connections), "-rate", str(rate), "-dur", f"{seconds}s", "-pid", str(side.pid), "-settle", SETTLE,
        ]  # fmt: skip
        answer = generator.run("echo", [*side.client_flags, *side.up_flags(), *flags])
        if answer["errors"] or answer["unacked"]:
            raise VoidRunError(f"{answer['errors']:,} messages refused, {answer['unacked']:,} not acknowledged")
        if answer["acks"] < rate * seconds * 0.95:
            raise VoidRunError(f"{answer['acks_per_s']:,.0f} messages/s: the pace was not held")
        return _latency(answer) | cpu(answer, answer["acks"], seconds)

    return run


def connect(connections: int) -> Workload:
    """Connects one after the other, 64 at a time, then idle; the server's growth a connection."""

    def run(generator: Generator, side: Side) -> Figures:
        flags = ["-n", str(connections), "-pid", str(side.pid), "-settle", SETTLE]
        answer = generator.run("connect", [*side.client_flags, *flags])
        return {
            "connects/s": answer["connect_per_s"],
            "KiB a connection": answer["rss_kib_per_conn"],
            "connect p99 ms": answer["connect_latency"]["p99_ms"],
            "server CPU % while connecting": answer["connect_server_cpu_pct"],
            "server CPU % while idle": answer["settle_server_cpu_pct"],
        }

    return run


def _latency(answer: dict[str, Any]) -> Figures:
    latency = answer["latency"]
    return {"p50 ms": latency["p50_ms"], "p99 ms": latency["p99_ms"], "generator CPU %": answer["client_cpu_pct"]}


def cpu(answer: dict[str, Any], messages: int, seconds: float) -> Figures:
    idle = answer["settle_server_cpu_pct"] / 100 * seconds
    return {"CPU us a message": (answer["server_cpu_s"] - idle) / messages * 1e6}
