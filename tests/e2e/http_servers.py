"""Servers with our HTTP class, and raw clients of them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import anyio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from tests.e2e.echo_app import EchoHost, echo_server
from uvicorn.server import ServerState

from imgateway.adapters.uvicorn import BoundServer, GatewayHttpProtocol, server_config, serving
from imgateway.testing.raw_peer import RawPeer, upgrade_request

PATIENCE = 60
HEAD = "GET /attached HTTP/1.1\r\nHost: localhost\r\n"


class Hurried(GatewayHttpProtocol):
    """Gives clients a fraction of a second."""

    head_seconds = 0.3
    stall_seconds = 0.3


@asynccontextmanager
async def connected(http: type[GatewayHttpProtocol] = GatewayHttpProtocol) -> AsyncIterator[tuple[EchoHost, RawPeer]]:
    host = EchoHost()
    async with echo_server(host, http=http) as bound, connection(bound) as peer:
        yield host, peer


@asynccontextmanager
async def large_answers(
    size: int, keep_alive: float, endpoint: Callable[[Request], Awaitable[PlainTextResponse]] | None = None
) -> AsyncIterator[tuple[BoundServer, ServerState]]:
    """A server in a hurry, and what it knows of its connections."""
    states: list[ServerState] = []

    class Protocol(Hurried):
        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
            super().connection_made(transport)
            self.timeout_keep_alive = keep_alive  # type: ignore[assignment]  # a fraction will do
            states.append(self.server_state)

    async def app(_: Request) -> PlainTextResponse:
        return PlainTextResponse(b"x" * size)

    host = EchoHost()
    host.app = Starlette(routes=[Route("/attached", endpoint or app, methods=["GET", "POST"])])
    async with echo_server(host, http=Protocol) as bound:
        async with connection(bound):
            while not states:
                await anyio.sleep(0.01)
        while states[0].connections:
            await anyio.sleep(0.01)
        yield bound, states[0]


@asynccontextmanager
async def connection(bound: BoundServer, *, receive_buffer: int | None = None) -> AsyncIterator[RawPeer]:
    peer = await RawPeer.connect(bound.host, bound.port, receive_buffer=receive_buffer)
    try:
        with anyio.fail_after(PATIENCE):
            yield peer
    finally:
        await peer.aclose()


@asynccontextmanager
async def serving_app(app: Callable[[Any, Any, Any], Awaitable[None]]) -> AsyncIterator[BoundServer]:
    async def with_lifespan(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            for step in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{step}.complete"})
        else:
            await app(scope, receive, send)

    async with serving(server_config(with_lifespan, host="127.0.0.1", port=0, max_frame_bytes=1000)) as bound:
        yield bound


async def answer(request: bytes) -> bytes:
    async with connected() as (_, peer):
        await peer.send(request)
        return await peer.receive_rest()


def upgrade(*, leave_out: str = "", add: Sequence[str] = ()) -> bytes:
    lines = upgrade_request("/attached").decode().split("\r\n")[:-2]
    lines = [line for line in lines if not leave_out or not line.lower().startswith(leave_out.lower())]
    return "\r\n".join([*lines, *add, "", ""]).encode()
