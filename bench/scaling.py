"""How the gateway's cost grows: with connections, with the width of a fan-out, with the size of a message.

    python bench/scaling.py --generator PROGRAM [--only connections,width,size] [--json FILE]

One core for the server, the other for everything else, and a fresh server for each point. CPU time is the server
process's own, less what it uses while idle.
"""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import machine
import workloads
from rig import Generator, ImGateway, Services, VoidRunError, imgateway, services
from workloads import Figures

CONNECTIONS = (1000, 5000, 10_000, 19_500)  # many systems allow a process 20,000 open files
WIDTHS = (1, 10, 100, 1000, 5000)
SIZES = (100, 1000, 10_000)
IDLE_SECONDS = 30
"""Longer than the interval between pings, so that each connection is pinged at least once."""


@attrs.frozen
class Bench:
    """What is needed for one point."""

    generator: Generator
    servers: Services
    python: str

    def point(self, measure: Callable[[Generator, ImGateway], Figures], **settings: str) -> Figures | None:
        """One point on a fresh gateway; None where the run was void."""
        try:
            with imgateway(self.servers, self.python, **settings) as gateway:
                workloads.warm(self.generator, gateway)
                return measure(self.generator, gateway)
        except VoidRunError as void:
            print(f"void: {void}", file=sys.stderr)
            return None


def by_connections(count: int) -> Callable[[Generator, ImGateway], Figures]:
    """Memory and idle CPU, and how fast they connected."""

    def measure(generator: Generator, gateway: ImGateway) -> Figures:
        flags = ["-n", str(count), "-pid", str(gateway.pid), "-settle", f"{IDLE_SECONDS}s"]
        answer = generator.run("connect", [*gateway.client_flags, *flags])
        idle = answer["settle_server_cpu_pct"] / 100
        return {
            "connects/s": answer["connect_per_s"],
            "KiB a connection": answer["rss_kib_per_conn"],
            "idle CPU %": idle * 100,
            "idle CPU us a connection and second": idle * 1e6 / count,
        }

    return measure


def by_width(width: int) -> Callable[[Generator, ImGateway], Figures]:
    """Paced records to `width` users each; what each delivery costs."""

    def measure(generator: Generator, gateway: ImGateway) -> Figures:
        deliveries, seconds = 20_000 if width > 1 else 8000, 6
        records = max(deliveries * seconds // width, 1)
        (template, header), *_ = gateway.to_all(width).values()
        return _cost(generator, gateway, template, header, width, records, records / seconds, each=width)

    return measure


def by_size_down(size: int) -> Callable[[Generator, ImGateway], Figures]:
    """Paced records to one of 1,000 users each."""

    def measure(generator: Generator, gateway: ImGateway) -> Figures:
        rate = 2000 if size > 5000 else 6000
        template, header = gateway.to_one(size)
        return _cost(generator, gateway, template, header, 1000, rate * 6, rate, each=1)

    return measure


def by_size_up(size: int) -> Callable[[Generator, ImGateway], Figures]:
    """Paced messages from 1,000 users."""

    def measure(generator: Generator, gateway: ImGateway) -> Figures:
        rate, seconds = 1000 if size > 5000 else 4000, 6
        flags = ["-n", "1000", "-rate", str(rate), "-dur", f"{seconds}s", "-pid", str(gateway.pid), "-settle", "3s"]
        answer = generator.run("echo", [*gateway.client_flags, *gateway.up_flags(size), *flags])
        if answer["errors"] or answer["unacked"]:
            raise VoidRunError(f"{answer['errors']} refused, {answer['unacked']} not acknowledged")
        return {**workloads.cpu(answer, answer["acks"], seconds), "p99 ms": answer["latency"]["p99_ms"]}

    return measure


def _cost(
    generator: Generator,
    gateway: ImGateway,
    template: str,
    header: str,
    users: int,
    records: int,
    rate: float,
    *,
    each: int,
) -> Figures:
    answer = workloads.down(
        generator, gateway, template, header,
        users=users, count=records, each=each, paused=False, rate=rate, settle="3s",
    )  # fmt: skip
    messages = answer["received"]
    return {
        **workloads.cpu(answer, messages, answer["secs"]),
        "messages/s": messages / answer["secs"],
        "p99 ms": answer["latency"]["p99_ms"],
    }


def measured(bench: Bench, only: set[str]) -> dict[str, dict[str, Figures | None]]:
    """By series and point."""
    found: dict[str, dict[str, Figures | None]] = {}

    def take(series: str, point: str, figures: Figures | None) -> None:
        found.setdefault(series, {})[point] = figures
        shown = "void" if figures is None else ", ".join(f"{name} {value:,.2f}" for name, value in figures.items())
        print(f"{series:22} {point:>8}   {shown}", flush=True)

    if "connections" in only:
        for count in CONNECTIONS:
            take("connections", f"{count:,}", bench.point(by_connections(count)))
    if "width" in only:
        for width in WIDTHS:
            take("fan-out width", f"{width:,}", bench.point(by_width(width)))
    if "size" in only:
        limits = {"CONNECTIONS__MAX_CONTENT_BYTES": "20000"}
        for size in SIZES:
            # What surrounds the content is some 150 bytes of each frame.
            take("message size, down", f"{size:,} B", bench.point(by_size_down(size + 150)))
            take("message size, up", f"{size:,} B", bench.point(by_size_up(size + 150), **limits))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--generator", required=True, help="program of the neutral generator")
    parser.add_argument("--python", default=sys.executable, help="interpreter that has the imgateway to measure")
    parser.add_argument("--only", default="connections,width,size", help="which series")
    parser.add_argument("--json", type=Path, help="write everything here")
    arguments = parser.parse_args()
    described = machine.description(arguments.python)
    with services() as servers:
        bench = Bench(Generator(arguments.generator, servers.kafka), servers, arguments.python)
        found = measured(bench, set(arguments.only.split(",")))
    if arguments.json:
        written: dict[str, Any] = {"machine": described, "series": found}
        arguments.json.write_text(json.dumps(written, indent=1) + "\n")


if __name__ == "__main__":
    main()
