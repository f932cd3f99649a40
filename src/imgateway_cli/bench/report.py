"""What was measured, for programs and for people."""

from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

from imgateway_cli.bench.fleet import Outcome
from imgateway_cli.bench.histogram import Histogram
from imgateway_cli.bench.plan import Down, Hold, Plan, Rest, Up
from imgateway_cli.bench.tally import Span

BUSY_PERCENT: Final = 90
"""A process that uses more of a core, or would if it had one, can't be trusted to do more."""
WAITED_PERCENT: Final = 10
"""A process that waits longer for a core spoils latencies."""
MOST_SHOWN: Final = 6
PERCENTILES: Final = {"p50": 50, "p90": 90, "p99": 99}

Report = dict[str, Any]


def report_of(plan: Plan, outcome: Outcome, /) -> Report:
    """The object that `--json` prints; `docs/reference/cli.md` explains it."""
    tally = outcome.tally
    opening, up, down, calls = tally.opening, tally.upward, tally.downward, tally.calls
    report: Report = {
        "command": {Hold: "connect", Up: "up", Down: "down", Rest: "rest"}[type(plan.load)],
        "connections": plan.connections,
        "processes": plan.processes,
        "interrupted": outcome.interrupted,
        "connect": {
            "opened": opening.opened,
            "failed": _reasons(opening.failed),
            **_speed(opening.opened, opening.span),
            "latency_ms": _latency(opening.latency),
        },
    }
    if not isinstance(plan.load, Rest):
        report |= {"lost": _reasons(tally.lost), "pings_answered": tally.pings}
    if isinstance(plan.load, Hold):
        report["held_seconds"] = round(tally.held.seconds, 3)
    elif isinstance(plan.load, Up):
        report["up"] = {
            "sent": up.sent,
            "accepted": up.accepted,
            "duplicates": up.duplicates,
            "errors": _reasons(up.errors),
            "unanswered": up.unanswered,
            **_speed(up.accepted, up.span),
            "latency_ms": _latency(up.latency),
        }
    elif isinstance(plan.load, Rest):
        report["rest"] = {
            "requests": calls.requests,
            "succeeded": calls.succeeded,
            "statuses": _reasons(calls.statuses),
            "errors": _reasons(calls.errors),
            "unanswered": calls.unanswered,
            "reconnects": calls.reconnects,
            **_speed(calls.succeeded, calls.span),
            "latency_ms": _latency(calls.latency),
        }
    else:
        report["down"] = {
            "gateways": _reasons(down.gateways),
            "written": down.written,
            "write_errors": _reasons(down.write_errors),
            "expected": down.expected,
            "received": down.received,
            "lost": down.lost,
            "duplicates": down.duplicates,
            "out_of_order": down.out_of_order,
            **_speed(down.received, down.span),
            "latency_ms": _latency(down.latency),
        }
    report["cpu_percent"] = [round(percent, 1) for percent in tally.cpu_percent]
    report["waited_percent"] = [round(percent, 1) for percent in tally.waited_percent]
    busy = zip(tally.cpu_percent, tally.waited_percent, strict=True)
    report["generator_is_the_limit"] = any(used + waited > BUSY_PERCENT for used, waited in busy)
    return report


def went_well(report: Report, /) -> bool:
    """Whether something succeeded, and nothing failed or was lost."""
    up, down, rest = report.get("up"), report.get("down"), report.get("rest")
    return (
        report["connect"]["opened"] > 0
        and not report["connect"]["failed"]
        and not report.get("lost")
        and (up is None or (up["accepted"] > 0 and not up["errors"] and not up["unanswered"]))
        and (down is None or (down["received"] > 0 and not down["write_errors"] and not down["lost"]))
        and (rest is None or (rest["succeeded"] > 0 and not rest["errors"] and not rest["unanswered"]))
    )


def lines_of(report: Report, /) -> Iterator[str]:
    """The report as a table of at most 80 columns."""
    connect, up, down, rest = report["connect"], report.get("up"), report.get("down"), report.get("rest")
    if report["interrupted"]:
        yield "Ended early; this is what was measured so far."
        yield ""
    yield _row("connected", f"{connect['opened']:,} of {report['connections']:,}", *_speed_cells(connect))
    yield from _latency_row("handshake", connect)
    yield from _reason_rows("failed", connect["failed"])
    if report.get("held_seconds"):
        yield _row("held", f"{report['held_seconds']:.1f} s", f"{report['pings_answered']:,} pings answered")
    yield from _reason_rows("lost", report.get("lost", {}))
    if up is not None:
        yield ""
        yield _row("accepted", f"{up['accepted']:,} of {up['sent']:,}", *_speed_cells(up))
        yield from _latency_row("latency", up)
        yield from _reason_rows("errors", up["errors"])
        yield from _count_row("unanswered", up["unanswered"])
        yield from _count_row("duplicates", up["duplicates"])
    if down is not None:
        yield ""
        yield _row("written", f"{down['written']:,} records", f"to {len(down['gateways'])} gateway(s)")
        yield from _reason_rows("not written", down["write_errors"])
        yield _row("received", f"{down['received']:,} of {down['expected']:,}", *_speed_cells(down))
        yield from _latency_row("latency", down)
        yield _row("deliveries", *(f"{down[name]:,} {name.replace('_', ' ')}" for name in _DELIVERIES))
    if rest is not None:
        yield ""
        yield _row("succeeded", f"{rest['succeeded']:,} of {rest['requests']:,}", *_speed_cells(rest))
        yield from _latency_row("latency", rest)
        yield from _reason_rows("errors", rest["errors"])
        yield from _count_row("unanswered", rest["unanswered"])
        yield from _count_row("reconnects", rest["reconnects"])
    yield ""
    yield _row("generator", f"{_percents(report['cpu_percent'])} of a core used by each process")
    if max(report["waited_percent"], default=0) > WAITED_PERCENT:
        yield _row("", f"{_percents(report['waited_percent'])} of the time without one: this machine is too busy,")
        yield _row("", "and latencies are in part the generator's own.")
    if report["generator_is_the_limit"]:
        yield _row("", "The generator is the limit: the gateway may do more than this.")
        yield _row("", "Use more --processes, on cores that the gateway does not need.")


_DELIVERIES: Final = ("lost", "duplicates", "out_of_order")


def _percents(values: list[float]) -> str:
    if len(values) > MOST_SHOWN:
        return f"{min(values):.0f} to {max(values):.0f} %"
    return ", ".join(f"{value:.0f}" for value in values) + " %"


def _row(name: str, *cells: str) -> str:
    return f"{name:<12}  {'  '.join(f'{cell:<14}' for cell in cells)}".rstrip()


def _speed_cells(part: Report) -> tuple[str, ...]:
    return (f"in {part['seconds']:,.1f} s", f"{part['per_second']:,.0f}/s") if part["seconds"] else ()


def _latency_row(name: str, part: Report) -> Iterator[str]:
    latency = part["latency_ms"]
    if latency["count"]:
        yield _row(name, *(f"{key} {_short(latency[key])} ms" for key in (*PERCENTILES, "max")))


def _short(milliseconds: float) -> str:
    digits = 2 if milliseconds < 10 else 1 if milliseconds < 100 else 0
    return f"{milliseconds:,.{digits}f}"


def _reason_rows(name: str, reasons: dict[str, int]) -> Iterator[str]:
    for reason, count in reasons.items():
        yield _row(name, f"{count:,}  {reason}")
        name = ""


def _count_row(name: str, count: int) -> Iterator[str]:
    if count:
        yield _row(name, f"{count:,}")


def _reasons(counter: Counter[str]) -> dict[str, int]:
    return dict(counter.most_common())


def _speed(count: int, span: Span) -> Report:
    seconds = span.seconds
    return {"seconds": round(seconds, 3), "per_second": round(count / seconds, 1) if seconds else 0.0}


def _latency(histogram: Histogram) -> dict[str, float]:
    values = {name: histogram.percentile(percent) for name, percent in PERCENTILES.items()}
    values = {"min": histogram.least, **values, "max": histogram.most}
    return {"count": histogram.count, **{name: round(value / 1e6, 4) for name, value in values.items()}}
