"""Running a gateway as a process: sockets, signals, and a polite end."""

import importlib.util
import logging
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import anyio
import uvicorn
from starlette.applications import Starlette

from imgateway.adapters.starlette import application, gateway_routes
from imgateway.adapters.uvicorn import BoundServer, server_config, serving
from imgateway.core.gateway import Gateway
from imgateway.core.settings import Settings, authority
from imgateway.errors import GatewayError
from imgateway_cli.admin import admin_app
from imgateway_cli.deadline import end_within
from imgateway_cli.garbage import collect_seldom, leave_out_settled
from imgateway_cli.open_files import allow_many_files, note_few_files, tell_of_no_files
from imgateway_cli.wiring import compose

ADMIN_MAX_FRAME_BYTES = 4096
OVERTIME_SECONDS = 1.0
"""For closing what is left when a drain has taken all its time."""

_log = logging.getLogger(__name__)


def serve(settings: Settings, *, notes: Sequence[str] = ()) -> None:
    """Run the gateway until SIGTERM or SIGINT, then drain. Blocks.

    Raises:
        SettingsError: the settings name something that can't be used.
        GatewayError: a port can't be bound.
    """
    for note in notes:
        _log.warning(note)
    note_few_files(settings.connections.max_total)
    composition = compose(settings)
    app = application(gateway_routes(composition.gateway))
    admin = admin_app(composition.observer, settings.server.admin_token)

    async def main() -> None:
        # Ports first: one that is taken is told before anything else begins. Until the gateway runs it answers 503.
        async with listening_for_admin(admin, settings), listening(app, settings), composition.gateway:
            await drain_on_signal(composition.gateway)

    run(main)


def run(main: Callable[[], Awaitable[None]]) -> None:
    """Run an asynchronous main function on the fastest event loop there is. Blocks."""
    allow_many_files()
    collect_seldom()
    uvloop = importlib.util.find_spec("uvloop") is not None
    anyio.run(main, backend="asyncio", backend_options={"use_uvloop": uvloop})


def client_server_config(app: Starlette, settings: Settings) -> uvicorn.Config:
    """How clients are served."""
    server = settings.server
    return server_config(
        app,
        host=server.host,
        port=server.port,
        max_frame_bytes=server.max_frame_bytes,
        tls_cert=server.tls_cert,
        tls_key=server.tls_key,
        transport=server.transport,
    )


@asynccontextmanager
async def listening(app: Starlette, settings: Settings) -> AsyncIterator[BoundServer]:
    """Serve clients within the block.

    Raises:
        GatewayError: the port can't be bound.
    """
    server = settings.server
    async with _serving("server.port", client_server_config(app, settings)) as bound:
        _log.info(
            "listening",
            extra={
                "url": f"{'wss' if server.tls_cert else 'ws'}://{authority(bound.host, bound.port)}/ws",
                "gateway_id": settings.gateway_id,
            },
        )
        yield bound


@asynccontextmanager
async def listening_for_admin(app: Starlette, settings: Settings) -> AsyncIterator[BoundServer]:
    """Serve metrics within the block.

    Raises:
        GatewayError: the port can't be bound.
    """
    server = settings.server
    config = server_config(app, host=server.admin_host, port=server.admin_port, max_frame_bytes=ADMIN_MAX_FRAME_BYTES)
    async with _serving("server.admin_port", config) as bound:
        url = f"http://{authority(bound.host, bound.port)}/metrics"
        _log.info("metrics", extra={"url": url, "gateway_id": settings.gateway_id})
        yield bound


@asynccontextmanager
async def _serving(key: str, config: uvicorn.Config) -> AsyncIterator[BoundServer]:
    async with AsyncExitStack() as stack:
        try:
            bound = await stack.enter_async_context(serving(config))
        except OSError as error:
            why = error.strerror or error
            raise GatewayError(f"{key}: {config.host}:{config.port} can't be bound: {why}") from error
        yield bound


async def drain_on_signal(gateway: Gateway) -> None:
    """Return when the gateway has drained after the first SIGTERM or SIGINT; a second one ends the process at once.

    The process ends by itself `OVERTIME_SECONDS` after the time for draining, whatever the caller does next.
    """
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(tell_of_no_files)
            tasks.start_soon(leave_out_settled, lambda: len(gateway.connections))
            draining = False
            async for _ in signals:
                if draining:
                    os._exit(1)
                draining = True
                end_within(gateway.settings.gateway.drain_seconds + OVERTIME_SECONDS)
                tasks.start_soon(_drain, gateway, tasks.cancel_scope.cancel)


async def _drain(gateway: Gateway, done: Callable[[], None]) -> None:
    await gateway.drain()
    done()
