"""`imgateway serve` with `[grpc]`: from the settings to answers, in a process of its own."""

import json
from collections.abc import AsyncIterator
from typing import Any

import anyio
import httpx
import pytest
from tests.e2e.gateway_process import GatewayProcess, gateway_process
from tests.e2e.im_logic import ImLogic, im_logic
from tests.e2e.running_gateway import SECRET, mint
from tests.e2e.websocket_client import PATIENCE_SECONDS

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


async def test_without_the_section_there_is_no_rest() -> None:
    async with gateway_process() as gateway:
        assert (await gateway.get("/openapi.json")).status_code == 404
        assert (await gateway.get("/api/conversations")).status_code == 404
