"""One uvicorn server, started and stopped from within a running event loop."""

import asyncio
import contextlib
import copy
import logging
import socket
from collections.abc import AsyncGenerator, Collection, Generator
from typing import Any, Literal

import anyio
import attrs
import uvicorn
from uvicorn.lifespan.on import LifespanOn

from imgateway.adapters.uvicorn.http import GatewayHttpProtocol
from imgateway.adapters.uvicorn.websocket import GatewayWebSocketProtocol, frame_parser
from imgateway.errors import LifecycleError

_SILENT = logging.getLogger("imgateway.uvicorn.lifespan")
_SILENT.addFilter(lambda record: False)

STOP_SECONDS = 10
"""How long connections and requests may take to end when the server stops; then they are cut off."""


def server_config(
    app: Any,
    *,
    host: str,
    port: int,
    max_frame_bytes: int,
    tls_cert: str | None = None,
    tls_key: str | None = None,
    transport: Literal["auto", "picows", "asgi"] = "auto",
) -> uvicorn.Config:
    """How the gateway runs uvicorn: our protocol classes, no logging of requests, no compression.

    Args:
        app: an ASGI application that supports lifespan events.
        host: the address to bind.
        port: the port to bind; 0 lets the system choose.
        max_frame_bytes: the largest WebSocket message.
        tls_cert: a file with the certificate chain, or None for plain HTTP.
        tls_key: a file with the private key, where the certificate's does not hold it.
        transport: what parses WebSocket frames, see `frame_parser`.

    Raises:
        SettingsError: picows is wanted and not installed.
    """

    class Protocol(GatewayWebSocketProtocol):
        parser = staticmethod(frame_parser(transport))

    return uvicorn.Config(
        app,
        host=host,
        port=port,
        http=GatewayHttpProtocol,
        ws=Protocol,
        ws_max_size=max_frame_bytes,
        ws_per_message_deflate=False,
        interface="asgi3",
        lifespan="on",
        log_config=None,
        # At its finest level uvicorn logs every ASGI message, request headers included.
        log_level=logging.WARNING,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        ssl_certfile=tls_cert,
        ssl_keyfile=tls_key,
        timeout_graceful_shutdown=STOP_SECONDS,
    )


@attrs.frozen
class BoundServer:
    """A server that takes connections.

    Attributes:
        host: the address it is bound to.
        port: the port it is bound to.
    """

    host: str
    port: int


@contextlib.asynccontextmanager
async def serving(config: uvicorn.Config, /) -> AsyncGenerator[BoundServer, None]:
    """Serve within the block, in the running asyncio loop. Signals are left to the caller.

    The address is bound first of all, then the application starts up, then connections are taken. At the end, also
    when cancelled, open WebSockets are closed with 1012 and requests may finish, for at most `STOP_SECONDS`; then the
    application shuts down. No socket and no task of the server is left.

    Raises:
        OSError: the address can't be bound.
        LifecycleError: the application said that it could not start or stop.
        Exception: whatever the application's lifespan raised.
    """
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    with socket.socket(family) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((config.host, config.port))
        host, port = listener.getsockname()[:2]
        async with _running(config, [listener]):
            yield BoundServer(host, port)


class Doors:
    """The listening sockets that a server takes connections from; which ones may change while it serves."""

    def __init__(self, server: "_Server") -> None:
        self._server = server
        self._wanted: frozenset[socket.socket] = frozenset()
        self._open: dict[socket.socket, asyncio.Server] = {}
        self._opening = anyio.Lock()

    async def open(self, sockets: Collection[socket.socket], /) -> None:
        """Take connections from exactly these sockets.

        The others are let go of before anything is awaited. All stay open and listening, and belong to the caller:
        whoever comes by one that nobody takes from waits there.
        """
        self._wanted = frozenset(sockets)
        self._close_others()
        async with self._opening:
            for listener in self._wanted - self._open.keys():
                self._open[listener] = await self._server.take_from(listener.dup())
            self._close_others()  # another call may have come while this one waited

    def _close_others(self) -> None:
        for listener in self._open.keys() - self._wanted:
            self._open.pop(listener).close()


@contextlib.asynccontextmanager
async def serving_by_doors(config: uvicorn.Config, /) -> AsyncGenerator[Doors, None]:
    """Serve within the block whoever comes by doors that the caller opens; at first there are none.

    Otherwise like `serving`; the configuration's host and port don't count.

    Raises:
        LifecycleError: the application said that it could not start or stop.
        Exception: whatever the application's lifespan raised.
    """
    async with _running(config, []) as server:
        doors = Doors(server)
        try:
            yield doors
        finally:
            with anyio.CancelScope(shield=True):
                await doors.open(())


@contextlib.asynccontextmanager
async def _running(config: uvicorn.Config, listeners: list[socket.socket]) -> AsyncGenerator["_Server", None]:
    server = _Server(config)
    running = asyncio.create_task(server.serve(listeners))
    try:
        await server.wait_started(running)
        yield server
    finally:
        with anyio.CancelScope(shield=True):
            await server.stop(running)


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._accepting = asyncio.Event()
        self._stopping = asyncio.Event()
        self._lifespan_task: asyncio.Task[Any] | None = None
        self._lifespan_error: BaseException | None = None

    async def wait_started(self, running: asyncio.Task[None]) -> None:
        """Wait until connections are taken; raises what kept the server from it."""
        accepting = asyncio.create_task(self._accepting.wait())
        try:
            await asyncio.wait([accepting, running], return_when=asyncio.FIRST_COMPLETED)
        finally:
            accepting.cancel()
        if running.done():
            running.result()

    async def take_from(self, listener: socket.socket) -> asyncio.Server:
        """Take connections from one more socket, which is closed with the returned server."""
        config = self.config

        def protocol() -> asyncio.Protocol:
            # The call that uvicorn makes in its own `startup`; the base class it is declared by has other parameters.
            return config.http_protocol_class(  # type: ignore[call-arg]
                config=config, server_state=self.server_state, app_state=self.lifespan.state
            )

        loop = asyncio.get_running_loop()
        return await loop.create_server(protocol, sock=listener, ssl=config.ssl, backlog=config.backlog)

    async def stop(self, running: asyncio.Task[None]) -> None:
        """End the server, in bounded time as far as the application's own shutdown is; raises what went wrong in it."""
        self.should_exit = True
        self._stopping.set()
        if not self.started:
            running.cancel()
        await asyncio.wait([running])
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        while self.server_state.connections:  # noqa: ASYNC110  # two or three turns of the loop; nothing tells of it
            await asyncio.sleep(0)
        leftovers = {*self.server_state.tasks}
        if self._lifespan_task is not None:
            if not self.started:
                self._lifespan_task.cancel()
            leftovers.add(self._lifespan_task)
        if leftovers:
            await asyncio.wait(leftovers, timeout=1)
        if self.started:
            running.result()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start the application, then take connections."""
        config = copy.copy(self.config)
        config.loaded_app = self._recorded
        self.lifespan = config.lifespan_class(config)
        if isinstance(self.lifespan, LifespanOn):
            self.lifespan.logger = _SILENT
        try:
            await super().startup(sockets)
        except SystemExit:
            raise self._lifespan_error or LifecycleError("the application did not start") from None
        except OSError:
            await self.lifespan.shutdown()
            raise
        self._accepting.set()

    async def main_loop(self) -> None:
        """Do uvicorn's chores once a second until it is time to stop."""
        chores = 0
        while not await self.on_tick(chores):
            chores += 10  # uvicorn counts tenths of seconds
            with anyio.move_on_after(1):
                await self._stopping.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End the connections, then the application."""
        await super().shutdown(sockets)
        if self.lifespan.should_exit:
            raise self._lifespan_error or LifecycleError("the application did not stop")

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Leave signals alone."""
        yield

    async def _recorded(self, scope: Any, receive: Any, send: Any) -> None:
        """The application's lifespan; uvicorn only logs what it raises."""
        self._lifespan_task = asyncio.current_task()
        try:
            await self.config.loaded_app(scope, receive, send)
        except BaseException as error:
            self._lifespan_error = error
            raise
