"""The programs of the documentation, run as a reader would run them: on real sockets, with the clients they are for."""

import asyncio
import importlib.util
import json
import urllib.request
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import anyio
import anyio.to_thread
import pytest
from starlette.routing import BaseRoute
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

from imgateway.adapters.jwt import JwtAuthenticator, mint_token
from imgateway.adapters.memory import Embedded, MemoryTranscoder
from imgateway.adapters.starlette import application, gateway_routes
from imgateway.adapters.uvicorn import server_config, serving
from imgateway.core.gateway import Gateway
from imgateway.core.settings import AuthSettings, Settings
from imgateway.model import CloseReason, Identity
from imgateway.rpc import RestAnswer, RestProblem

EXAMPLES = Path(__file__).parents[2] / "examples"
SECRET = "9tJfXq2mVw8Lr5Zc1Yk7Hb4Nd6Gs3Pa0"
FRAME_BYTES = 65536

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"  # uvicorn's and the websockets library's


def example(name: str) -> ModuleType:
    """A fresh copy of the module: examples keep their state in it, as applications do."""
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@asynccontextmanager
async def served(app: Any, *, handed_over: bool = True) -> AsyncIterator[str]:
    """The application on a port of its own, under our protocol classes or a plain ASGI server; its address."""
    config = server_config(app, host="127.0.0.1", port=0, max_frame_bytes=FRAME_BYTES)
    if not handed_over:
        config.ws = "websockets-sansio"
        config.http = "auto"
    async with serving(config) as bound:
        yield f"127.0.0.1:{bound.port}"


async def frame(socket: ClientConnection, kind: str) -> dict[str, Any]:
    """The data of the next frame, which must be of this type."""
    with anyio.fail_after(30):
        received = json.loads(await socket.recv())
    assert received["type"] == kind, received
    return dict(received["data"])


def message(text: str, client_msg_id: str = "m-1") -> str:
    data = {"conversationId": "lobby", "content": text, "messageType": 1, "client_msg_id": client_msg_id}
    return json.dumps({"type": "send-message", "data": data})


async def http(url: str, body: object = None, method: str = "GET") -> tuple[str, Mapping[str, str]]:
    def ask() -> tuple[str, Mapping[str, str]]:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://{url}", data, method=method)
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30) as response:
            return response.read().decode(), dict(response.headers)

    return await anyio.to_thread.run_sync(ask)


def bearer(user_id: str, **claims: str) -> dict[str, str]:
    auth = AuthSettings(secret=SECRET, **claims)  # type: ignore[arg-type]  # only texts are given
    return {"Authorization": f"Bearer {mint_token(user_id, secret=SECRET, ttl_seconds=60, settings=auth)}"}


@pytest.mark.parametrize("handed_over", [True, False], ids=["imgateway's classes", "plain ASGI"])
async def test_the_least_application_acknowledges_messages(monkeypatch: pytest.MonkeyPatch, handed_over: bool) -> None:
    monkeypatch.setenv("CHAT_SECRET", SECRET)
    async with (
        served(example("embed_jwt").app, handed_over=handed_over) as address,
        connect(f"ws://{address}/ws", additional_headers=bearer("ann")) as socket,
    ):
        assert (await frame(socket, "welcome"))["userId"] == "ann"
        await socket.send(message("hello"))
        assert (await frame(socket, "message-ack"))["status"] == "accepted"
        await socket.send(message("hello"))
        assert (await frame(socket, "message-ack"))["status"] == "duplicate"


@pytest.mark.parametrize("handed_over", [True, False], ids=["imgateway's classes", "plain ASGI"])
async def test_an_application_lets_its_own_sessions_in(handed_over: bool) -> None:
    async with served(example("embed_starlette").app, handed_over=handed_over) as address:
        with pytest.raises(InvalidStatus) as refused:
            async with connect(f"ws://{address}/chat"):
                pass
        assert refused.value.response.status_code == 401
        assert json.loads(refused.value.response.body or b"")["code"] == "UNAUTHENTICATED"
        greeting, headers = await http(f"{address}/login/ann", method="POST")
        assert greeting == "Hello ann"
        cookie = {name.lower(): value for name, value in headers.items()}["set-cookie"].partition(";")[0]
        async with connect(f"ws://{address}/chat", additional_headers={"Cookie": cookie}) as socket:
            assert (await frame(socket, "welcome"))["userId"] == "ann"


async def test_a_fastapi_application_shows_who_is_online_and_the_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHAT_SECRET", SECRET)
    headers = bearer("ann", issuer="https://login.example.com")
    async with served(example("embed_fastapi").app) as address:
        async with connect(f"ws://{address}/ws?device_id=phone", additional_headers=headers) as socket:
            await frame(socket, "welcome")
            assert json.loads((await http(f"{address}/online/ann"))[0]) == {"devices": ["phone"]}
            assert "imgateway_connections 1.0" in (await http(f"{address}/metrics"))[0]
        with pytest.raises(InvalidStatus):
            async with connect(f"ws://{address}/ws", additional_headers=bearer("ann")):
                pass  # another issuer's token


async def test_a_back_end_of_ones_own_answers_and_announces() -> None:
    app = example("own_back_end").chat_app(Settings(auth=AuthSettings(secret=SECRET)))
    async with (
        served(app) as address,
        connect(f"ws://{address}/ws", additional_headers=bearer("ann")) as ann,
        connect(f"ws://{address}/ws", additional_headers=bearer("bob")) as bob,
    ):
        await frame(ann, "welcome")
        await frame(bob, "welcome")
        await bob.send(message("I am here"))
        received = {kind: await frame(bob, kind) for kind in ("message-ack", "new-message")}
        assert received["new-message"]["seqId"] == 1
        await ann.send(message("hello bob"))
        arrived = await frame(bob, "new-message")
        assert (arrived["content"], arrived["sender"], arrived["seqId"]) == ("hello bob", {"id": "ann"}, 2)
        await http(f"{address}/announce", {"to": ["bob", "nobody"], "text": "Lunch!"}, "POST")
        assert (await frame(bob, "new-message"))["content"] == "Lunch!"


async def test_the_first_client_sees_its_message_come_back(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    hello = example("hello")
    monkeypatch.setenv("IMGATEWAY_TOKEN", bearer("ann")["Authorization"].removeprefix("Bearer "))
    async with served(example("own_back_end").chat_app(Settings(auth=AuthSettings(secret=SECRET)))) as address:
        # Its address is that of the tutorial; here the port is a free one.
        monkeypatch.setattr(hello, "connect", lambda _, **options: connect(f"ws://{address}/ws", **options))
        with anyio.fail_after(30):
            await hello.main()
    printed = [json.loads(line)["type"] for line in capsys.readouterr().out.splitlines()]
    assert printed == ["welcome", "message-ack", "new-message"]


def test_every_example_is_run() -> None:
    source = Path(__file__).read_text()
    assert [path.stem for path in EXAMPLES.glob("*.py") if f'example("{path.stem}")' not in source] == []


class Conversation:
    """What a test of the client sees of it."""

    def __init__(self, address: str) -> None:
        self.messages: list[Mapping[str, Any]] = []
        self.arrived = anyio.Event()
        self.pulled: list[tuple[str, int]] = []
        self.held: list[Mapping[str, Any]] = []
        self.client = example("client").ChatClient(f"ws://{address}/ws", self.token, self.take, self.pull)

    async def token(self) -> str:
        return mint_token("ann", secret=SECRET, ttl_seconds=60)

    def take(self, received: Mapping[str, Any]) -> None:
        self.messages.append(received)
        self.arrived.set()
        self.arrived = anyio.Event()

    async def pull(self, conversation_id: str, after: int) -> list[Mapping[str, Any]]:
        self.pulled.append((conversation_id, after))
        return [message for message in self.held if message["seqId"] > after]

    async def wait_for(self, count: int) -> None:
        with anyio.fail_after(30):
            while len(self.messages) < count:
                await self.arrived.wait()


def gateways_of_own_back_end(monkeypatch: pytest.MonkeyPatch) -> tuple[list[Gateway], Any]:
    """The application, and a list that holds its gateway."""
    module = example("own_back_end")
    gateways: list[Gateway] = []

    def routes(gateway: Gateway) -> list[BaseRoute]:
        gateways.append(gateway)
        return gateway_routes(gateway)

    monkeypatch.setattr(module, "gateway_routes", routes)
    return gateways, module.chat_app(Settings(auth=AuthSettings(secret=SECRET)))


async def test_the_client_comes_back_sends_what_was_not_acknowledged_and_asks_for_what_it_missed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gateways, app = gateways_of_own_back_end(monkeypatch)
    async with served(app) as address:
        conversation = Conversation(address)
        client = conversation.client
        await client.send("lobby", "before there is a connection")
        running = asyncio.create_task(client.run())
        await conversation.wait_for(1)
        conversation.held = [{**conversation.messages[0], "seqId": 2, "content": "missed"}]
        [live] = gateways[0].connections
        live.close(CloseReason(1012))
        await client.send("by-the-way", "while there is none")
        await conversation.wait_for(3)
        running.cancel()
        await asyncio.wait([running])
    assert ("lobby", 1) in conversation.pulled
    assert {message["content"] for message in conversation.messages} == {
        "before there is a connection",
        "missed",
        "while there is none",
    }
    assert client.unanswered == 0


async def test_the_clients_calls_have_a_result_or_an_error() -> None:
    waiting, go = anyio.Event(), anyio.Event()

    async def mark_as_read(data: bytes, identity: Identity) -> RestAnswer | RestProblem:
        seq_id = json.loads(data)["seqId"]
        if seq_id == 0:
            return RestProblem(404, "NOT_FOUND", "There is no such message.")
        if seq_id == 1:
            waiting.set()
            await go.wait()
        return RestAnswer(json.dumps({"user": identity.user_id, "unread": 5 - seq_id}).encode())

    transcoder = MemoryTranscoder()
    transcoder.answer_message("mark-read", mark_as_read)
    settings = Settings(auth=AuthSettings(secret=SECRET))
    authenticator = JwtAuthenticator.from_settings(settings.auth)
    async with (
        Embedded().gateway(authenticator, settings, transcoder=transcoder) as gateway,
        served(application(gateway_routes(gateway))) as address,
    ):
        await gateway.wait_ready()
        conversation = Conversation(address)
        client = conversation.client
        with pytest.raises(Exception, match="UNAVAILABLE"):
            await client.call("mark-read", {"seqId": 2})
        running = asyncio.create_task(client.run())
        await client.send("lobby", "hello")
        with anyio.fail_after(30):
            while client.unanswered:
                await anyio.sleep(0.01)
        slow = asyncio.create_task(client.call("mark-read", {"seqId": 1}))
        assert await client.call("mark-read", {"seqId": 2}) == {"user": "ann", "unread": 3}
        with pytest.raises(Exception, match="NOT_FOUND: There is no such message"):
            await client.call("mark-read", {"seqId": 0})
        with pytest.raises(Exception, match="INVALID_MESSAGE"):
            await client.call("mark-unread", {})
        await waiting.wait()
        gateway.connections[0].close(CloseReason(4509))
        with pytest.raises(Exception, match="the outcome is unknown"):
            await slow
        assert await running == "closed with 4509"


async def test_the_client_stays_away_when_told_to(monkeypatch: pytest.MonkeyPatch) -> None:
    gateways, app = gateways_of_own_back_end(monkeypatch)
    async with served(app) as address:
        conversation = Conversation(address)
        await conversation.client.send("lobby", "hello")
        running = asyncio.create_task(conversation.client.run())
        await conversation.wait_for(1)
        gateways[0].connections[0].close(CloseReason(4509))
        with anyio.fail_after(30):
            assert await running == "closed with 4509"

        async def somebody_elses_token() -> str:
            return mint_token("ann", secret=SECRET[::-1], ttl_seconds=60)

        monkeypatch.setattr(conversation.client, "_token", somebody_elses_token)
        with anyio.fail_after(30):
            assert await conversation.client.run() == "refused with 401 UNAUTHENTICATED"
