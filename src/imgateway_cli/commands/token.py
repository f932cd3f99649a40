"""`imgateway token`: a token for trying things out."""

from pathlib import Path

import click

from imgateway.adapters.jwt import mint_token
from imgateway.model import UserId, is_valid_user_id
from imgateway_cli.settings_sources import config_option
from imgateway_cli.signing import SECRET_HELP, signing_settings


@click.command()
@click.option("--user-id", required=True, metavar="U", help="The user the token is for.")
@click.option("--ttl", type=click.IntRange(1, 10**9), default=3600, show_default=True, help="Seconds until it expires.")
@config_option
@click.option("--secret", metavar="S", help=SECRET_HELP)
def token(user_id: str, ttl: int, config: Path | None, secret: str | None) -> None:
    """Mint a development JWT and print it, alone, on stdout.

    The configuration's issuer, audience and required claims are in it.
    """
    if not is_valid_user_id(user_id):
        raise click.BadParameter("expected 1 to 128 characters without control characters", param_hint="--user-id")
    auth = signing_settings(config, secret).auth
    click.echo(mint_token(UserId(user_id), secret=auth.secret or "", ttl_seconds=ttl, settings=auth))
