"""The gateway inside applications of others, served by servers of others."""

import json
import re
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
import uvicorn
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from tests.e2e.running_gateway import mint
from tests.e2e.websocket_client import PATIENCE_SECONDS, Client, open_socket, refusal
from websockets.exceptions import InvalidStatus

from imgateway import Code, Credentials, GatewaySettings, Identity, Refusal, Settings, UserId
from imgateway.adapters.memory import embedded_gateway
from imgateway.adapters.memory.embedded import Embedded
from imgateway.adapters.starlette import gateway_lifespan, gateway_routes
from imgateway.adapters.uvicorn import GatewayHttpProtocol, GatewayWebSocketProtocol, serving
from imgateway.errors import LifecycleError

pytestmark = pytest.mark.anyio

EXAMPLES = Path(__file__).parents[2] / "examples"


class NameTags:
    """An authenticator as an application brings its own: whoever wears a name tag is that person."""

    def __init__(self) -> None:
        self.closed = 0

    async def authenticate(self, credentials: Credentials, /) -> Identity | Refusal:
        name = credentials.headers.get("x-name-tag") or (credentials.token or "").removeprefix("tag-of-")
        if not name:
            return Refusal(Code.UNAUTHENTICATED, "Put on a name tag.")
        return Identity(UserId(name), expires_at=int(time.time() + 60) * 1000)

    async def aclose(self) -> None:
        self.closed += 1


@asynccontextmanager
async def served(app: Any, **options: Any) -> AsyncIterator[str]:
    """The application on uvicorn as it comes, apart from `options`; its address."""
    config = uvicorn.Config(app, port=0, lifespan="on", log_config=None, timeout_graceful_shutdown=5, **options)
    async with serving(config) as bound:
        yield f"127.0.0.1:{bound.port}"


async def welcomed(url: str, **options: Any) -> Client:
    client = Client(await open_socket(url, **options))
    client.welcome = await client.expect("welcome")
    return client


async def chats(client: Client) -> None:
    await client.send_message()
    await client.expect("message-ack")


OURS = {"ws": GatewayWebSocketProtocol, "http": GatewayHttpProtocol}
SERVERS = [
    pytest.param({}, id="uvicorn"),
    pytest.param({"ws": "websockets-sansio", "http": "h11"}, id="h11"),
    pytest.param({"ws": GatewayWebSocketProtocol}, id="our WebSocket class"),
    pytest.param(OURS, id="both our classes"),
]


@pytest.mark.parametrize("options", SERVERS)
async def test_an_application_with_a_gateway_and_a_life_of_its_own(options: dict[str, Any]) -> None:
    tags = NameTags()
    gateway = embedded_gateway(tags)
    hello = Route("/hello", lambda _: PlainTextResponse("hello"))
    app = Starlette(routes=[hello, *gateway_routes(gateway)], lifespan=gateway_lifespan(gateway))
    async with served(app, **options) as address:
        async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE_SECONDS) as http:
            assert (await http.get(f"http://{address}/hello")).text == "hello"
            assert (await http.get(f"http://{address}/healthz")).status_code == 200
        refused = await refusal(f"ws://{address}/ws")
        assert refused.status_code == 401
        assert json.loads(refused.body)["detail"] == "Put on a name tag."
        client = await welcomed(f"ws://{address}/ws", headers={"X-Name-Tag": "alice"})
        assert client.welcome["userId"] == "alice"
        await chats(client)
        await client.send("refresh-token", token="tag-of-alice")
        await client.expect("token-refreshed")
        await client.send("refresh-token", token="tag-of-bob")
        assert (await client.expect("error"))["code"] == "FORBIDDEN"
    assert await client.ended() == 1012
    assert tags.closed == 1
    assert not gateway.ready


async def test_a_fastapi_application() -> None:
    gateway = embedded_gateway(NameTags())
    app = FastAPI(lifespan=gateway_lifespan(gateway))
    app.router.routes.extend(gateway_routes(gateway, path="/chat"))

    @app.get("/who")
    async def who() -> list[str]:
        return [connection.user_id for connection in gateway.connections]

    async with served(app, **OURS) as address, await welcomed(f"ws://{address}/chat?token=tag-of-alice") as client:
        await chats(client)
        async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE_SECONDS) as http:
            assert (await http.get(f"http://{address}/who")).json() == ["alice"]
            # The gateway's routes are no part of the application's own API.
            assert list((await http.get(f"http://{address}/openapi.json")).json()["paths"]) == ["/who"]


Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class Nosy:
    """Middleware that wraps both channels, as tracing does."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def wrapped_receive() -> MutableMapping[str, Any]:
            return await receive()

        async def wrapped_send(message: MutableMapping[str, Any]) -> None:
            await send(message)

        await self._app(scope, wrapped_receive, wrapped_send)


@pytest.mark.parametrize("options", [{}, OURS], ids=["uvicorn", "our classes"])
async def test_under_middleware_and_under_a_mount(options: dict[str, Any]) -> None:
    gateway = embedded_gateway(NameTags())
    middleware = [
        Middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1"]),
        Middleware(CORSMiddleware, allow_origins=["*"]),
        Middleware(GZipMiddleware),
        Middleware(Nosy),
    ]
    routes = [Mount("/im", routes=gateway_routes(gateway))]
    app = Starlette(routes=routes, middleware=middleware, lifespan=gateway_lifespan(gateway))
    async with served(app, **options) as address:
        async with await welcomed(f"ws://{address}/im/ws?token=tag-of-alice") as client:
            await chats(client)
        assert (await refusal(f"ws://{address}/im/ws")).status_code == 401


@pytest.mark.parametrize("options", [{}, OURS], ids=["uvicorn", "our classes"])
async def test_two_gateways_of_one_application_share_a_back_end(options: dict[str, Any]) -> None:
    embedded = Embedded()
    first = embedded.gateway(NameTags(), Settings(gateway=GatewaySettings(id="gw-a")))
    second = embedded.gateway(NameTags(), Settings(gateway=GatewaySettings(id="gw-b")))

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with first, second:
            yield

    routes = [*gateway_routes(first, path="/a"), *gateway_routes(second, path="/b")]
    async with (
        served(Starlette(routes=routes, lifespan=lifespan), **options) as address,
        await welcomed(f"ws://{address}/a?token=tag-of-alice") as a,
        await welcomed(f"ws://{address}/b?token=tag-of-alice") as b,
    ):
        assert (a.welcome["gatewayId"], b.welcome["gatewayId"]) == ("gw-a", "gw-b")
        entries = await embedded.sessions.lookup(UserId("alice"))
        # Of two that came within a millisecond neither is the newer one.
        assert {entry.gateway_id for entry in entries} == {"gw-a", "gw-b"}


async def test_without_its_lifespan_a_gateway_is_not_ready_and_says_so() -> None:
    gateway = embedded_gateway(NameTags())
    async with served(Starlette(routes=gateway_routes(gateway)), **OURS) as address:
        refused = await refusal(f"ws://{address}/ws?token=tag-of-alice")
        assert refused.status_code == 503
        assert json.loads(refused.body)["code"] == "UNAVAILABLE"
        async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE_SECONDS) as http:
            assert (await http.get(f"http://{address}/readyz")).status_code == 503
        with pytest.raises(LifecycleError):
            await gateway.wait_ready()


async def test_a_gateway_can_be_entered_once_at_a_time_and_again_later() -> None:
    gateway = embedded_gateway(NameTags())
    app = Starlette(routes=gateway_routes(gateway))
    async with served(app, **OURS) as address:
        for _ in range(2):
            async with gateway:
                with pytest.raises(LifecycleError):
                    await gateway.__aenter__()
                await gateway.wait_ready()
                client = await welcomed(f"ws://{address}/ws?token=tag-of-alice")
            assert await client.ended() in {1012, 1006}
            with pytest.raises(InvalidStatus):
                await open_socket(f"ws://{address}/ws?token=tag-of-alice")


async def test_an_error_of_the_application_comes_out_as_it_is() -> None:
    async def application() -> None:
        async with embedded_gateway(NameTags()) as gateway:
            await gateway.wait_ready()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await application()


# By uvicorn's own command, as a reader would start it.


OUR_CLASSES = (
    "--ws imgateway.adapters.uvicorn:GatewayWebSocketProtocol --http imgateway.adapters.uvicorn:GatewayHttpProtocol"
)


@pytest.mark.parametrize("options", [[], OUR_CLASSES.split()], ids=["as it comes", "our classes"])
async def test_the_example_under_uvicorns_command(options: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    secret = "9tJfXq2mVw8Lr5Zc1Yk7Hb4Nd6Gs3Pa0"
    monkeypatch.setenv("CHAT_SECRET", secret)
    command = [sys.executable, "-m", "uvicorn", "--app-dir", str(EXAMPLES), "embed_jwt:app", "--port", "0", *options]
    async with await anyio.open_process(command) as process:
        assert process.stderr is not None
        output = ""
        with anyio.fail_after(PATIENCE_SECONDS):
            while not (address := re.search(r"http://(127\.0\.0\.1:\d+)", output)):
                output += (await process.stderr.receive()).decode()
        url = f"ws://{address[1]}/ws"
        token = mint("alice", secret=secret)
        with anyio.fail_after(PATIENCE_SECONDS):
            while True:
                try:
                    client = await welcomed(f"{url}?token={token}")
                    break
                except InvalidStatus:
                    await anyio.sleep(0.05)
        await chats(client)
        process.send_signal(signal.SIGTERM)
        assert await client.ended() == 1012
        with anyio.fail_after(PATIENCE_SECONDS):
            async for chunk in process.stderr:
                output += chunk.decode()
            # uvicorn raises the signal again once it has shut down.
            assert await process.wait() in {0, -signal.SIGTERM}
    assert token not in output
    assert "Traceback" not in output
