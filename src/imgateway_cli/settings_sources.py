"""The options that say where settings come from, and the loading that all commands share."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

import click

from imgateway.core.settings_loading import Loaded, load

_Command = TypeVar("_Command", bound=Callable[..., None])

config_option = click.option(
    "--config", "config", type=click.Path(path_type=Path), metavar="FILE", help="Settings file (TOML)."
)

_FLAGS: Final = (
    click.option("--host", "server__host", metavar="H", help="Address to listen on."),
    click.option("--port", "server__port", type=int, metavar="P", help="Port for clients."),
    click.option("--workers", "server__workers", type=int, metavar="N", help="Processes that share the port."),
    click.option("--gateway-id", "gateway__id", metavar="ID", help="Name of this gateway."),
)


def setting_flags(command: _Command) -> _Command:
    """Options that override settings; they arrive as keyword arguments called `section__key`."""
    for option in reversed(_FLAGS):
        command = option(command)
    return command


def load_settings(config: Path | None, /, **flags: object) -> Loaded:
    """Load from `config`, this process's environment and `flags`, which are called `section__key`.

    Raises:
        SettingsError: with every problem there is.
    """
    return load(config, os.environ, {name.replace("__", "."): value for name, value in flags.items()})
