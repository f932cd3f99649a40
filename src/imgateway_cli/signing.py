"""The settings that development tokens are signed by."""

from pathlib import Path

import click

from imgateway.core.settings import Settings
from imgateway.core.settings_loading import variable_of
from imgateway_cli.settings_sources import load_settings

SECRET_HELP = f"Shared key; {variable_of('auth.secret')} keeps it out of the process list."


def signing_settings(config: Path | None, secret: str | None, /, **flags: object) -> Settings:
    """The settings of `--config` and the environment, with the secret of `--secret` if it is given; there is one.

    Raises:
        SettingsError: they are wrong.
        click.UsageError: both options are given, or there is no secret.
    """
    if config is not None and secret is not None:
        raise click.UsageError("--config and --secret exclude each other: a configuration has its own secret")
    settings = load_settings(config, auth__secret=secret, **flags).settings
    if settings.auth.secret is None:
        raise click.UsageError(
            f"no shared secret to sign with: give --secret, set {variable_of('auth.secret')}, "
            "or name a --config whose [auth] has one"
        )
    return settings
