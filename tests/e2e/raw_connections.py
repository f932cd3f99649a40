"""Servers that echo, and raw clients, with everything closed in the end."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.lowlevel
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket
from tests.e2e.echo_app import EchoHost, echo_server

from imgateway.adapters.uvicorn import BoundServer, GatewayWebSocketProtocol
from imgateway.adapters.uvicorn.transport import SocketTransport
from imgateway.ports import Transport
from imgateway.testing.raw_peer import RawPeer
from imgateway.testing.transport import RecordingListener
from imgateway.wire.frames import text_frame

PATIENCE = 60  # ten times what the longest takes where nothing else runs
RECEIVE_BUFFER = 64 * 1024


class Impatient(SocketTransport):
    """Waits a fraction of a second for a peer's close frame."""

    __slots__ = ()
    close_seconds = 0.2


class ImpatientProtocol(GatewayWebSocketProtocol):
    transport_class = Impatient


class Patient(SocketTransport):
    """Waits for a peer's close frame for ever, as far as a test goes."""

    __slots__ = ()
    close_seconds = 3600.0


class PatientProtocol(GatewayWebSocketProtocol):
    transport_class = Patient


@asynccontextmanager
async def echoing(**options: Any) -> AsyncIterator[tuple[EchoHost, BoundServer]]:
    """A server after which nothing is left: no task, no socket."""
    tasks, sockets = asyncio.all_tasks(), open_sockets()
    host = EchoHost(**({"capacity": options.pop("capacity")} if "capacity" in options else {}))
    with anyio.fail_after(PATIENCE):
        async with echo_server(host, **{"ws": ImpatientProtocol, **options}) as bound:
            yield host, bound
        while open_sockets() > sockets:  # the clients' own side is closed by the event loop, in a turn or two
            await anyio.sleep(0.01)
    assert asyncio.all_tasks() <= tasks


async def connected(bound: BoundServer, target: str = "/attached", **options: Any) -> RawPeer:
    return await RawPeer.upgraded(bound.host, bound.port, target, receive_buffer=RECEIVE_BUFFER, **options)


@asynccontextmanager
async def peer(bound: BoundServer, target: str = "/attached", **options: Any) -> AsyncIterator[RawPeer]:
    client = await connected(bound, target, **options)
    try:
        yield client
    finally:
        await client.aclose()


def open_sockets() -> int:
    count = 0
    for descriptor in os.listdir("/proc/self/fd"):
        try:
            count += os.readlink(f"/proc/self/fd/{descriptor}").startswith("socket:")
        except FileNotFoundError:
            continue
    return count


async def fill(transport: Transport) -> None:
    """Write until the kernel takes no more."""
    while transport.buffered_bytes < 100_000:
        transport.write([text_frame(b"x" * 50_000)])
        await anyio.lowlevel.checkpoint()


async def send_until_cut_off(client: RawPeer, data: bytes) -> None:
    try:
        while True:
            await client.send(data)
            await anyio.sleep(0.005)
    except anyio.BrokenResourceError:
        pass


async def becomes(condition: Callable[[], bool]) -> None:
    while not condition():
        await anyio.sleep(0.01)


@asynccontextmanager
async def attaching(
    endpoint: Callable[[WebSocket], Awaitable[None]], **options: Any
) -> AsyncIterator[tuple[EchoHost, BoundServer]]:
    async with echoing(**options) as (host, bound):
        host.app.router.routes.insert(0, WebSocketRoute("/own", endpoint))
        yield host, bound


def attach(socket: WebSocket, listener: RecordingListener) -> Transport:
    transport: Transport = socket.scope["extensions"]["imgateway"].attach(listener)
    return transport
