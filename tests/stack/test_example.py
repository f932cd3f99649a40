"""The example of the whole stack, run as its reader would run it."""

import json
import signal
import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import anyio.abc
import httpx
import pytest
from servers import free_port
from tests.e2e.gateway_process import _CLEAN as CLEAN
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

from imgateway.adapters.starlette.static_page import POLICY

pytestmark = pytest.mark.anyio

RUN = Path(__file__).parents[2] / "examples" / "real_stack" / "run.py"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def logged_in(port: int, name: str) -> tuple[str, ClientConnection]:
    async with httpx.AsyncClient(trust_env=False) as http:
        info = {"deviceId": f"{uuid.uuid4()}", "nickname": name}
        answer = (await http.post(f"http://127.0.0.1:{port}/api/auth/guest", json={"clientInfo": info})).json()
    protocols = [Subprotocol("imgateway.json.v1"), Subprotocol(f"bearer.{answer['accessToken']}")]
    return answer["user"]["id"], await connect(f"ws://127.0.0.1:{port}/ws", subprotocols=protocols, proxy=None)


async def frame(socket: ClientConnection, kind: str) -> dict[str, str]:
    with anyio.fail_after(30):
        while True:
            found = json.loads(await socket.recv())
            if found["type"] == kind:
                return found["data"]  # type: ignore[no-any-return]  # JSON


@asynccontextmanager
async def running_stack(port: int) -> AsyncIterator[anyio.abc.Process]:
    """The example as a process; asked to end however the test goes, since all that it has started ends with it."""
    async with await anyio.open_process([sys.executable, str(RUN), "--port", str(port)], env=CLEAN) as stack:
        try:
            yield stack
        finally:
            with anyio.move_on_after(60, shield=True):
                if stack.returncode is None:
                    stack.send_signal(signal.SIGTERM)
                    await stack.wait()


async def test_two_people_chat_through_two_gateways() -> None:
    port = free_port()
    async with running_stack(port) as stack:
        assert stack.stdout is not None
        said = ""
        with anyio.fail_after(90):
            while "Open http" not in said:
                said += (await stack.stdout.receive()).decode()
        (alice, of_alice), (_, of_bob) = await logged_in(port, "Alice"), await logged_in(port, "小明")
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as http:
            assert (await http.get("/")).headers["content-security-policy"] == POLICY
            script = await http.get("/demo/app.js")
            assert (script.status_code, script.headers["content-type"]) == (200, "text/javascript; charset=utf-8")
        # nginx gives each gateway the next client.
        assert {(await frame(socket, "welcome"))["gatewayId"] for socket in (of_alice, of_bob)} == {
            "gateway-1",
            "gateway-2",
        }
        message = {"conversationId": "world", "content": "你好", "messageType": 1, "client_msg_id": "m-1"}
        await of_alice.send(json.dumps({"type": "send-message", "data": message}))
        assert (await frame(of_alice, "message-ack"))["status"] == "accepted"
        arrived = await frame(of_bob, "new-message")
        assert (arrived["content"], arrived["sender"]["id"]) == ("你好", alice)  # type: ignore[index]  # an object
        await of_alice.close()
        await of_bob.close()
    assert stack.returncode is not None
    assert "Traceback" not in said
