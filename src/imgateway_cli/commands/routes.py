"""`imgateway routes`: what REST offers."""

import json
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import anyio
import click

from imgateway.core.settings import Settings
from imgateway.errors import SettingsError
from imgateway_cli import logs
from imgateway_cli.back_ends import Offer, offer_by_reflection, offer_of_file
from imgateway_cli.preflight import require_installed
from imgateway_cli.printable import printable
from imgateway_cli.settings_sources import config_option, load_settings

if TYPE_CHECKING:
    from imgateway.rpc import RestRoute

_HEAD: Final = ("METHOD", "PATH", "GRPC METHOD", "ACCESS", "LIMITS", "NOTE")
_NO_LIMITS: Final = "-"
_STREAM: Final = "stream"
_REFUSED: Final = "takes a stream: refused, 501"


@click.command()
@config_option
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array with an object for each route.")
def routes(config: Path | None, as_json: bool) -> None:
    """Print every REST route: method, path, gRPC method, public or private, limits.

    They come from the descriptor set, or from the services themselves where the configuration says reflection. What
    can't be served is told on stderr.
    """
    settings = load_settings(config).settings
    require_installed(settings)
    logs.mute()
    offer = _offer(settings)
    for problem in offer.problems:
        click.echo(f"warning: {printable(problem)}", err=True)
    found = sorted((route.rest for route in offer.table.routes), key=lambda route: (route.path, route.http_method))
    if as_json:
        click.echo(json.dumps(list(map(_object, found)), indent=2))
    else:
        for line in _aligned([_HEAD, *map(_row, found)]):
            click.echo(line)


def _offer(settings: Settings) -> Offer:
    grpc = settings.grpc
    if grpc is None:
        raise SettingsError(["grpc: expected the section, since it says which services REST is made of"])
    if grpc.descriptor_set is not None:
        return offer_of_file(grpc, grpc.descriptor_set)
    return anyio.run(partial(offer_by_reflection, settings, grpc))


def _row(route: "RestRoute") -> tuple[str, ...]:
    note = _REFUSED if route.client_streaming else _STREAM if route.server_streaming else ""
    access = "public" if route.public else "private"
    return (route.http_method, printable(route.path), route.rpc, access, _NO_LIMITS, note)


def _object(route: "RestRoute") -> dict[str, Any]:
    return {
        "method": route.http_method,
        "path": route.path,
        "rpc": route.rpc,
        "public": route.public,
        "limits": [],
        "server_streaming": route.server_streaming,
        "client_streaming": route.client_streaming,
    }


def _aligned(rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
