"""`imgateway serve`: the gateway."""

from pathlib import Path

import click

from imgateway.core.settings import Settings
from imgateway_cli import logs
from imgateway_cli.preflight import require_usable
from imgateway_cli.random_secret import with_secret
from imgateway_cli.settings_sources import config_option, load_settings, setting_flags


@click.command()
@config_option
@setting_flags
def serve(config: Path | None, **flags: object) -> None:
    """Run the gateway.

    Without a configuration it is embedded: messages and sessions are kept in memory. SIGTERM drains, a second one
    ends at once. With several workers SIGHUP reads the settings again and replaces one worker after the other.
    """

    def read() -> Settings:
        settings = load_settings(config, **flags).settings
        require_usable(with_secret(settings)[0])
        return settings

    settings, notes = with_secret(read())
    logs.configure(settings.observability.log_format, settings.observability.log_level)
    # Imported here: the other commands need no server, and `--help` should not wait for one to load.
    if settings.server.workers > 1:
        from imgateway_cli.supervising.running import serve_by_workers

        serve_by_workers(settings, read, notes=notes)
    else:
        from imgateway_cli.serving import serve as run

        run(settings, notes=notes)
