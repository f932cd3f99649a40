"""`imgateway check`: is the configuration right?"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import click

from imgateway.core.settings import Settings, authority
from imgateway.core.settings_grpc import GrpcSettings
from imgateway.core.settings_loading import Loaded
from imgateway.core.settings_rules import is_loopback
from imgateway_cli import logs
from imgateway_cli.back_ends import Offer, offer_of_file
from imgateway_cli.preflight import attempts, has_services, require_usable
from imgateway_cli.printable import printable
from imgateway_cli.random_secret import with_secret
from imgateway_cli.settings_sources import config_option, load_settings

_UNGUARDED: Final = (
    "[kafka] without [etcd]: ids are unguarded (nothing keeps two gateways from using the same one), and takeover is "
    "off (no other gateway reads what is left for one that has died)"
)


@click.command()
@config_option
@click.option("--connect", is_flag=True, help="Also try what the configuration names: ports and servers.")
def check(config: Path | None, connect: bool) -> None:
    """Report every error of the configuration at once, each with its key.

    Exit code 2 where there is one; 1 where --connect found something that does not work.
    """
    loaded = load_settings(config)
    settings, notes = with_secret(loaded.settings)
    require_usable(settings)
    offer = _offer(settings.grpc)
    click.echo(f"ok: {_sources(loaded)}")
    for name, text in (*_summary(settings, random_secret=bool(notes)), *_rest(settings.grpc, offer)):
        click.echo(f"  {name:<9} {printable(text)}")
    for problem in offer.problems if offer is not None else ():
        click.echo(f"warning: {printable(problem)}", err=True)
    if settings.kafka is not None and settings.etcd is None:
        click.echo(f"warning: {_UNGUARDED}", err=True)
    if settings.etcd is not None and settings.gateway.advertise is None and is_loopback(settings.server.host):
        click.echo("warning: [etcd] tells others an address of this machine only: set gateway.advertise", err=True)
    if connect:
        logs.mute()
        _try(settings)


def _sources(loaded: Loaded) -> str:
    counted = Counter(loaded.origins.values())
    return f"{counted['file']} settings from the file, {counted['env']} from the environment, the others by default"


def _summary(settings: Settings, *, random_secret: bool) -> list[tuple[str, str]]:
    server, auth = settings.server, settings.auth
    keys = (
        "a random secret for each run"
        if random_secret
        else (auth.public_key_file or auth.jwks_url or "a shared secret")
    )
    return [
        ("gateway", settings.gateway_id),
        *_workers(settings.gateway_ids),
        ("listen", f"{'wss' if server.tls_cert else 'ws'}://{authority(server.host, server.port)}/ws"),
        ("admin", f"http://{authority(server.admin_host, server.admin_port)}/metrics"),
        ("auth", f"{', '.join(auth.algorithms)} by {keys}" if auth.plugin == "jwt" else f"plugin {auth.plugin}"),
        ("broker", f"Kafka at {', '.join(settings.kafka.bootstrap_servers)}" if settings.kafka else "memory"),
        ("sessions", "Redis" if settings.redis else "memory"),
        ("registry", f"etcd at {', '.join(settings.etcd.endpoints)}" if settings.etcd else "memory"),
    ]


def _offer(grpc: GrpcSettings | None) -> Offer | None:
    return None if grpc is None or grpc.descriptor_set is None else offer_of_file(grpc, grpc.descriptor_set)


def _rest(grpc: GrpcSettings | None, offer: Offer | None) -> list[tuple[str, str]]:
    if grpc is None:
        return []
    where = f"under {grpc.prefix or '/'}"
    text = f"{where}, by reflection" if offer is None else f"{offer.counted}, {where}, from {grpc.descriptor_set}"
    calls = [("calls", f"{', '.join(grpc.messages)} over WebSocket")] if grpc.messages else []
    return [("rest", text), *calls]


def _workers(gateway_ids: Sequence[str]) -> list[tuple[str, str]]:
    return [("workers", f"{len(gateway_ids)}: {gateway_ids[0]} to {gateway_ids[-1]}")] if len(gateway_ids) > 1 else []


def _try(settings: Settings) -> None:
    failed = False
    for finding in attempts(settings):
        failed = failed or not finding.well
        outcome = click.style("ok", fg="green") if finding.well else click.style("failed", fg="red")
        click.echo(f"{outcome}: {printable(f'{finding.subject}: {finding.detail}')}", err=not finding.well)
        for warning in finding.warnings:
            click.echo(f"warning: {printable(warning)}", err=True)
    if not has_services(settings):
        click.echo("nothing outside is configured: there is nothing to connect to")
    if failed:
        raise click.exceptions.Exit(1)
