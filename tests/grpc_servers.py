"""Servers of this process, on a port of their own."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import grpc

Handlers = Mapping[str, dict[str, Any]]
"""What answers, by service and method."""


@asynccontextmanager
async def running_server(
    prepare: Callable[[grpc.aio.Server], None], *, options: Sequence[tuple[str, int]] = ()
) -> AsyncIterator[str]:
    """The address of a server with these options of gRPC."""
    server = grpc.aio.server(options=options)
    prepare(server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(None)


def offering_methods(handlers: Handlers) -> Callable[[grpc.aio.Server], None]:
    """What prepares a server to answer by these alone."""
    return lambda server: server.add_generic_rpc_handlers(
        [grpc.method_handlers_generic_handler(service, methods) for service, methods in handlers.items()]
    )
