"""The command line's entry point."""

from typing import Any, Final

import click

from imgateway.errors import GatewayError, SettingsError
from imgateway_cli.commands.bench import bench
from imgateway_cli.commands.check import check
from imgateway_cli.commands.config import config
from imgateway_cli.commands.connect import connect
from imgateway_cli.commands.demo import demo
from imgateway_cli.commands.routes import routes
from imgateway_cli.commands.serve import serve
from imgateway_cli.commands.token import token

EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2


class _Commands(click.Group):
    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; our own exceptions become lines on stderr and an exit code, never a traceback."""
        try:
            return super().invoke(ctx)
        except SettingsError as error:
            for problem in error.problems:
                click.echo(f"error: {problem}", err=True)
            ctx.exit(EXIT_USAGE)
        except GatewayError as error:
            click.echo(f"error: {error}", err=True)
            ctx.exit(EXIT_FAILED)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="imgateway", message="imgateway %(version)s")
def cli() -> None:
    """The gateway an instant-messaging back end stands behind.

    Exit codes: 0 fine, 1 failed at run time, 2 wrong usage or configuration.
    """


for _command in (serve, demo, check, config, routes, token, connect, bench):
    cli.add_command(_command)


def main() -> None:
    """Run the command line and end the process with its exit code."""
    cli(prog_name="imgateway")
