"""`imgateway serve` with `[grpc]`: from the settings to answers, in a process of its own."""

import json
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import httpx
import pytest
from tests.e2e.gateway_process import GatewayProcess, gateway_process
from tests.e2e.im_logic import ImLogic, im_logic
from tests.e2e.running_gateway import SECRET, eventually, mint
from tests.e2e.websocket_client import PATIENCE_SECONDS
from tests.grpc_back_end import running_back_end

from imgateway_im_logic.server import PUBLIC, descriptor_set_path

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def back_end() -> AsyncIterator[ImLogic]:
    async with im_logic() as running:
        yield running


def settings(target: str, **others: str) -> dict[str, Any]:
    return {
        "GRPC__PUBLIC": ",".join(PUBLIC),
        "GRPC__SERVICES": json.dumps({"*": {"target": target}}),
        **others,
    }


async def asked(
    gateway: GatewayProcess, method: str, path: str, content: object = None, *, token: str | None = None
) -> httpx.Response:
    base = (await gateway.url()).replace("ws", "http", 1).removesuffix("/ws")
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE_SECONDS, base_url=base, headers=headers) as http:
        return await http.request(method, path, json=content)


async def routes_known(gateway: GatewayProcess) -> httpx.Response:
    """The API's description, as soon as there is one."""
    with anyio.fail_after(PATIENCE_SECONDS):
        while (answer := await gateway.get("/openapi.json")).status_code == 503:
            await anyio.sleep(0.05)
    return answer


@pytest.mark.parametrize("source", [{"GRPC__DESCRIPTOR_SET": descriptor_set_path()}, {"GRPC__REFLECTION": "true"}])
async def test_services_are_served_over_http(back_end: ImLogic, source: dict[str, str]) -> None:
    async with gateway_process(**settings(back_end.channel_target, **source)) as gateway:
        assert "/api/auth/guest" in (await routes_known(gateway)).json()["paths"]
        ann = {"clientInfo": {"deviceId": "a device of enough characters", "nickname": "Ann"}}
        guest = await asked(gateway, "POST", "/api/auth/guest", ann)
        assert guest.status_code == 200, guest.text
        user_id = guest.json()["user"]["id"]
        assert (await asked(gateway, "GET", "/api/conversations")).status_code == 401
        private = await asked(gateway, "GET", "/api/conversations", token=mint(user_id))
        assert private.status_code == 200, private.text
        assert SECRET not in gateway.output.decode()


async def test_clients_messages_are_calls(back_end: ImLogic) -> None:
    mapped = json.dumps({"marks": "im.logic.v1.ConversationService/GetReadMarks"})
    source = {"GRPC__DESCRIPTOR_SET": descriptor_set_path(), "GRPC__MESSAGES": mapped}
    async with gateway_process(**settings(back_end.channel_target, **source)) as gateway:
        user_id = await back_end.guest("Ann")
        client = await gateway.connect(user_id)
        await client.send("marks", client_msg_id="m-1")
        reply = await client.expect("reply")
        assert reply["client_msg_id"] == "m-1"
        assert "result" in reply, reply


async def test_a_client_that_leaves_cancels_its_own_calls_alone() -> None:
    mapped = json.dumps({"wait": "back.v1.Back/Hangs"})
    async with running_back_end() as (back_end, target), gateway_before(target, GRPC__MESSAGES=mapped) as gateway:
        stays, leaves = await gateway.connect("alice"), await gateway.connect("bob")
        for client in (stays, leaves):
            await client.send("wait", client_msg_id="1")
        await eventually(lambda: back_end.under_way == 2)
        await leaves.socket.close()
        await eventually(lambda: back_end.under_way == 1)
        back_end.go.set()
        assert "result" in await stays.expect("reply")
        await stays.send("wait", client_msg_id="2")
        assert "result" in await stays.expect("reply")


async def test_without_the_section_there_is_no_rest() -> None:
    async with gateway_process() as gateway:
        assert (await gateway.get("/openapi.json")).status_code == 404
        assert (await gateway.get("/api/conversations")).status_code == 404


@asynccontextmanager
async def gateway_before(target: str, **others: str) -> AsyncIterator[GatewayProcess]:
    """In front of `grpc_back_end`, all of whose methods are public."""
    chosen = {"GRPC__REFLECTION": "true", "GRPC__PUBLIC": "back.v1.Back/*", **others}
    async with gateway_process(**settings(target) | chosen) as gateway:
        await routes_known(gateway)
        yield gateway


async def test_a_drain_waits_for_calls() -> None:
    async with running_back_end() as (back_end, target), gateway_before(target) as gateway:
        answers: list[httpx.Response] = []

        async def ask() -> None:
            answers.append(await asked(gateway, "GET", "/api/hangs?key=a"))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            await eventually(lambda: back_end.under_way == 1)
            gateway.send_signal(signal.SIGTERM)
            await gateway.logged("draining")
            # Requests are answered as ever; this one proves that the drain had its time.
            assert (await asked(gateway, "GET", "/api/things/a")).json() == {"key": "a"}
            back_end.go.set()
        assert [(answer.status_code, answer.json()) for answer in answers] == [(200, {"key": "a"})]
        assert await gateway.ended() == 0


async def test_a_stream_that_outlasts_the_drain_has_its_error_line() -> None:
    async with (
        running_back_end() as (back_end, target),
        gateway_before(target, GATEWAY__DRAIN_SECONDS="1") as gateway,
    ):
        base = (await gateway.url()).replace("ws", "http", 1).removesuffix("/ws")
        async with (
            httpx.AsyncClient(trust_env=False, timeout=PATIENCE_SECONDS, base_url=base) as http,
            http.stream("GET", "/api/endless") as answer,
        ):
            lines = answer.aiter_lines()
            assert json.loads(await anext(lines)) == {"result": {"number": 1}}
            gateway.send_signal(signal.SIGTERM)
            assert json.loads(await anext(lines))["error"]["code"] == "UNAVAILABLE"
        assert await gateway.ended() == 0
        await eventually(lambda: back_end.under_way == 0)


async def test_without_routes_the_gateway_is_not_ready() -> None:
    async with gateway_process(**settings("127.0.0.1:1", GRPC__REFLECTION="true")) as gateway:
        answer = await gateway.get("/readyz")
        assert (answer.status_code, answer.json()["failing"]) == (503, ["routes"])
        assert (await gateway.get("/healthz")).status_code == 200
