"""Measures imgateway against a peer on the same machine in the same run.

    python bench/compare.py [--generator PROGRAM [--peer PROGRAM]] [--rounds 3] [--only NAME,…] [--json FILE]

The server is pinned to one core; the generator, the publisher, Kafka, Redis and etcd share the other. Each workload of
each round has a fresh server, imgateway and the peer in turn. Shown are the median of the rounds, the least and the
most, and the ratio of the medians. A run that loses a message or a connection is void, and is said to be.

"others on the core" is what other processes took of the server's core meanwhile: figures of a disturbed run say little.

Without --peer: absolute figures only; without --generator as well, and `imgateway bench` is the client. `--python`
names the interpreter of the checkout to measure.
"""

import argparse
import json
import statistics
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import machine
import own_client
import workloads
from ceiling import ceiling
from rig import SERVER_CORE, Generator, ImGateway, Services, Side, VoidRunError, centrifugo, imgateway, services
from workloads import Figures, Workload

WORKLOADS: dict[str, Workload] = {
    "connect": workloads.connect(10_000),
    "fan-out-1000": workloads.fan_out(1000, 600),
    "fan-out-5000": workloads.fan_out(5000, 80),
    "unicast-5000": workloads.unicast(100_000),
    "upstream-1000": workloads.upstream(1000, window=1, seconds=8),
    "upstream-1000-window-16": workloads.upstream(1000, window=16, seconds=8),
    "latency-16k": workloads.paced_down(16_000, 8),
    "cpu-down-8k": workloads.paced_down(8_000, 8),
    "cpu-up-8k": workloads.paced_up(8_000, 1000, 8),
}


@attrs.frozen
class Goal:
    """What is asked of a figure of a workload, as a ratio to the peer's."""

    workload: str
    figure: str
    title: str
    least: float
    aim: float
    lower_is_better: bool = False

    def verdict(self, ratio: float) -> str:
        """`aim`, `met` or `missed`."""
        if self.lower_is_better:
            return "aim" if ratio <= self.aim else "met" if ratio <= self.least else "missed"
        return "aim" if ratio >= self.aim else "met" if ratio >= self.least else "missed"


GOALS = (
    Goal("fan-out-1000", "messages/s", "Fan-out to 1,000 users, messages/s", 1.5, 3),
    Goal("fan-out-5000", "messages/s", "Fan-out to 5,000 users, messages/s", 1.5, 3),
    Goal("unicast-5000", "messages/s", "Kafka to 5,000 distinct users, messages/s", 1.3, 2),
    Goal("upstream-1000", "messages/s", "Upstream from 1,000 clients, messages/s", 1.3, 2.5),
    Goal("connect", "connects/s", "Connects/s", 0.35, 0.8),
    Goal("connect", "KiB a connection", "Memory of an idle connection, KiB", 0.27, 0.2, lower_is_better=True),
    Goal("latency-16k", "p99 ms", "Latency at 16,000 messages/s, p99 ms", 0.6, 0.25, lower_is_better=True),
    Goal("cpu-down-8k", "CPU us a message", "CPU a message down, µs", 0.9, 0.65, lower_is_better=True),
    Goal("cpu-up-8k", "CPU us a message", "CPU a message up, µs", 0.9, 0.65, lower_is_better=True),
)

Results = dict[str, dict[str, list[Figures]]]
"""By workload and side: the figures of each round that was not void."""


@attrs.frozen
class Programs:
    """What is run."""

    generator: Generator | None
    servers: Services
    python: str
    peer: str | None

    @contextmanager
    def side(self, name: str) -> Iterator[Side]:
        """A fresh server."""
        if name == "imgateway":
            with imgateway(self.servers, self.python) as ours:
                yield ours
        else:
            assert self.peer is not None
            assert self.generator is not None
            with centrifugo(self.servers, self.peer, self.generator.program) as other:
                yield other


def measure(programs: Programs, names: Sequence[str], rounds: int) -> tuple[Results, list[str]]:
    """All rounds; the second value says which runs were void, and why."""
    sides = ["imgateway"] if programs.peer is None else ["imgateway", "peer"]
    results: Results = {name: {side: [] for side in sides} for name in names}
    voids: list[str] = []
    for number in range(1, rounds + 1):
        for name in names:
            for side in sides:
                figures = one_run(programs, name, side, voids)
                if figures is not None:
                    results[name][side].append(figures)
                shown = "void: " + voids[-1] if figures is None else brief(figures)
                print(f"[{number}/{rounds}] {name:24} {side:10} {shown}", file=sys.stderr, flush=True)
    return results, voids


def one_run(programs: Programs, name: str, side_name: str, voids: list[str]) -> Figures | None:
    """A workload on a fresh server; None where it was void twice."""
    for _ in range(2):
        try:
            with programs.side(side_name) as side:
                before = machine.core_usage(SERVER_CORE, side.pid)
                figures = workload_on(programs, name, side)
                return figures | {
                    "others on the core %": machine.core_usage(SERVER_CORE, side.pid).others_since(before)
                }
        except VoidRunError as void:
            voids.append(f"{name}, {side_name}: {void}")
    return None


def workload_on(programs: Programs, name: str, side: Side) -> Figures:
    if programs.generator is not None:
        workloads.warm(programs.generator, side)
        return WORKLOADS[name](programs.generator, side)
    assert isinstance(side, ImGateway)
    return own_client.run(programs.python, programs.servers.kafka, side, name)


def brief(figures: Figures) -> str:
    return ", ".join(f"{name} {value:,.1f}" for name, value in figures.items())


def summary(values: Sequence[float]) -> dict[str, float]:
    return {"least": min(values), "median": statistics.median(values), "most": max(values)}


def summaries(results: Results) -> dict[str, dict[str, dict[str, dict[str, float]]]]:
    """By workload, figure and side: least, median and most."""
    found: dict[str, dict[str, dict[str, dict[str, float]]]] = {}
    for workload, sides in results.items():
        figures = found[workload] = {}
        for side, rounds in sides.items():
            for figure in rounds[0] if rounds else ():
                values = [one[figure] for one in rounds if figure in one]
                figures.setdefault(figure, {})[side] = summary(values)
    return found


def judged(found: dict[str, Any]) -> list[dict[str, Any]]:
    """The goals' table: where both sides have a figure, the ratio of the medians and a verdict."""
    rows = []
    for goal in GOALS:
        by_side = found.get(goal.workload, {}).get(goal.figure)
        if by_side is None:
            continue
        row: dict[str, Any] = {"title": goal.title, "least": goal.least, "aim": goal.aim, "figures": by_side}
        row["lower_is_better"] = goal.lower_is_better
        if "peer" in by_side and "imgateway" in by_side:
            row["ratio"] = by_side["imgateway"]["median"] / by_side["peer"]["median"]
            row["verdict"] = goal.verdict(row["ratio"])
        rows.append(row)
    return rows


def show(found: dict[str, Any], rows: list[dict[str, Any]], top: Figures, voids: list[str]) -> None:
    for workload, figures in found.items():
        print(workload)
        for figure, sides in figures.items():
            for side, span in sides.items():
                spread = f"({span['least']:,.1f} – {span['most']:,.1f})"
                print(f"    {figure:36} {side:10} {span['median']:14,.1f}   {spread}")
    if top:
        print("the generator's own ceiling")
        for figure, value in top.items():
            print(f"    {figure:36} {'':10} {value:14,.1f}")
    print()
    for row in rows:
        if "ratio" in row:
            sign = "≤" if row["lower_is_better"] else "≥"
            wanted = f"{sign} {row['least']}, aim {sign} {row['aim']}"
            print(f"{row['title']:46} ratio {row['ratio']:6.2f}   {wanted:22} {row['verdict']}")
    for void in voids:
        print(f"void: {void}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--generator", help="program of the neutral generator")
    parser.add_argument("--peer", help="program of the peer")
    parser.add_argument("--python", default=sys.executable, help="interpreter that has the imgateway to measure")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", help=f"some of: {', '.join(WORKLOADS)}, ceiling")
    parser.add_argument("--json", type=Path, help="write everything here")
    arguments = parser.parse_args()
    names = arguments.only.split(",") if arguments.only else [*WORKLOADS, "ceiling"]
    if arguments.generator is None:
        if arguments.peer is not None:
            parser.error("--peer needs --generator")
        names = [name for name in names if name in own_client.COMMANDS]
    unknown = set(names) - set(WORKLOADS) - {"ceiling"}
    if unknown:
        parser.error(f"no workload {', '.join(sorted(unknown))}")
    described = machine.description(arguments.python, arguments.peer)
    with services() as servers:
        generator = None if arguments.generator is None else Generator(arguments.generator, servers.kafka)
        programs = Programs(generator, servers, arguments.python, arguments.peer)
        results, voids = measure(programs, [name for name in names if name != "ceiling"], arguments.rounds)
        top = ceiling(generator) if generator is not None and "ceiling" in names else {}
    found = summaries(results)
    rows = judged(found)
    show(found, rows, top, voids)
    if arguments.json:
        written = {
            "machine": described, "goals": rows, "figures": found, "ceiling": top, "void": voids, "rounds": results,
        }  # fmt: skip
        arguments.json.write_text(json.dumps(written, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
