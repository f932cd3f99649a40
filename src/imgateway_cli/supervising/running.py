"""`imgateway serve` with several workers, from its ports to its end."""

import logging
from collections.abc import Callable, Sequence

import attrs

from imgateway.core.settings import Settings, authority
from imgateway.errors import GatewayError
from imgateway_cli.admin import workers_admin_app
from imgateway_cli.open_files import note_few_files
from imgateway_cli.serving import listening_for_admin, run
from imgateway_cli.supervising.doors import doors
from imgateway_cli.supervising.supervisor import Supervisor

_log = logging.getLogger(__name__)


def serve_by_workers(settings: Settings, read_again: Callable[[], Settings], *, notes: Sequence[str] = ()) -> None:
    """Run `server.workers` gateways on one port until SIGTERM or SIGINT, then drain all. Blocks.

    Args:
        settings: for all of them.
        read_again: reads the settings anew, at SIGHUP; raises SettingsError.
        notes: what the operator should know; a note says that the secret was made for this run.

    Raises:
        GatewayError: a port can't be bound, or a worker did not end well.
    """
    for note in notes:
        _log.warning(note)
    note_few_files(settings.connections.max_total)

    async def main() -> None:
        server = settings.server
        with doors(server.host, server.port, server.workers) as opened:
            host, port = opened[0].getsockname()[:2]
            # An id that follows the port follows the one that was asked for, as with a single worker.
            resolved = attrs.evolve(
                settings,
                server=attrs.evolve(server, port=port),
                gateway=attrs.evolve(settings.gateway, id=settings.gateway_id),
            )
            supervisor = Supervisor(resolved, settings, opened, read_again, random_secret=bool(notes))
            admin = workers_admin_app(supervisor.metrics, server.admin_token)
            async with listening_for_admin(admin, settings):
                url = f"{'wss' if server.tls_cert else 'ws'}://{authority(host, port)}/ws"
                _log.info("listening", extra={"url": url, "workers": server.workers})
                well = await supervisor.run()
        if not well:
            raise GatewayError("not every worker drained before it ended")

    run(main)
