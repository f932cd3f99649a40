"""Carrying out what `imgateway bench` was asked for."""

import json
import os
import resource
import sys
from typing import TYPE_CHECKING, Final

import attrs
import click

if TYPE_CHECKING:
    from imgateway_cli.bench.plan import Down, Hold, Rest, Tokens, Up

MOST_PROCESSES: Final = 4
OTHER_FILES: Final = 64
"""Files that a process has open besides its connections."""

PROCESSES = click.option(
    "--processes",
    type=click.IntRange(1, 64),
    metavar="P",
    help=f"Processes that share the work.  [default: one for each core, at most {MOST_PROCESSES}]",
)
JSON = click.option("--json", "as_json", is_flag=True, help="Print the report as one JSON object.")


@attrs.frozen
class Run:
    """What every run is described by."""

    url: str = attrs.field(repr=False)
    connections: int
    processes: int | None
    timeout: float
    insecure: bool
    as_json: bool


def carry_out(
    run: Run,
    load: "Hold | Up | Down | Rest",
    tokens: "Tokens",
    rate: float | None = None,
    *,
    most_processes: int | None = None,
) -> None:
    """Load the gateway, print the report, and end with its exit code.

    Raises:
        GatewayError: nobody answers there, or a process of the load failed.
        click.exceptions.Exit: something did not go well.
    """
    # Imported here: `--help` should not wait for it.
    from imgateway_cli.bench import fleet
    from imgateway_cli.bench.plan import Plan
    from imgateway_cli.bench.progress import ProgressLine
    from imgateway_cli.bench.report import lines_of, report_of, went_well
    from imgateway_cli.bench.target import find_target

    wanted = run.processes or min(len(os.sched_getaffinity(0)), MOST_PROCESSES)
    processes = min(wanted, most_processes or run.connections, run.connections)
    _require_files(-(-run.connections // processes))
    target = find_target(run.url, verified=not run.insecure)
    plan = Plan(target, tokens, run.connections, processes, rate, run.timeout, load)
    line = ProgressLine(sys.stderr)
    try:
        outcome = fleet.run(plan, line.show)
    finally:
        line.clear()
    report = report_of(plan, outcome)
    click.echo(json.dumps(report, indent=2) if run.as_json else "\n".join(lines_of(report)))
    if not went_well(report):
        raise click.exceptions.Exit(1)


def _require_files(connections: int) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and connections + OTHER_FILES > hard:
        raise click.UsageError(
            f"{connections:,} connections in a process need {connections + OTHER_FILES:,} open files, and this system "
            f"allows {hard:,}: raise that (ulimit -n), or use more --processes"
        )
