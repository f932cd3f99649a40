"""`imgateway config`: which settings are in force, and why."""

from pathlib import Path

import click

from imgateway.core.settings_loading import load
from imgateway_cli.settings_sources import config_option, load_settings, setting_flags
from imgateway_cli.settings_toml import render


@click.command()
@config_option
@click.option("--defaults", is_flag=True, help="Print every key's default and meaning instead.")
@setting_flags
def config(config: Path | None, defaults: bool, **flags: object) -> None:
    """Print the effective settings as TOML, with the origin of each: default, file, env or flag.

    Secrets are masked.
    """
    loaded = load(None, {}, {}) if defaults else load_settings(config, **flags)
    click.echo(render(loaded, documented=defaults), nl=False)
