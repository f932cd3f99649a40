"""Alive and ready: contract sections 3 and 8."""

from typing import Any

import anyio
import httpx
import pytest
from tests.e2e.running_gateway import RunningGateway, Server, eventually, running_gateway
from tests.e2e.websocket_client import PATIENCE_SECONDS

from imgateway.adapters.memory.embedded import Embedded

pytestmark = pytest.mark.anyio


async def get(gateway: RunningGateway, path: str) -> tuple[int, Any]:
    async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE_SECONDS) as http:
        response = await http.get(gateway.http_url(path))
    return response.status_code, response.json()


async def test_alive_and_ready(gateway: RunningGateway) -> None:
    assert (await get(gateway, "/healthz"))[0] == 200
    assert await get(gateway, "/readyz") == (200, {"status": "ready", "failing": []})


async def test_what_is_down_at_the_start_is_named_waited_for_and_crashes_nothing(server: Server) -> None:
    embedded = Embedded()
    embedded.services.down = True
    async with running_gateway(server, embedded=embedded, wait_ready=False) as gateway:
        assert (await get(gateway, "/healthz"))[0] == 200
        status, body = await get(gateway, "/readyz")
        assert status == 503
        assert body["status"] == "not ready"
        assert {"ownership", "broker", "registry"} <= set(body["failing"])
        embedded.services.down = False
        with anyio.fail_after(PATIENCE_SECONDS):
            await gateway.gateway.wait_ready()
        assert (await get(gateway, "/readyz"))[0] == 200


async def test_losing_the_id_is_named_until_it_is_back(gateway: RunningGateway) -> None:
    gateway.embedded.services.down = True
    gateway.embedded.services.revoke(gateway.gateway.gateway_id)
    await eventually(lambda: not gateway.gateway.ready)
    status, body = await get(gateway, "/readyz")
    assert status == 503
    assert "ownership" in body["failing"]
    assert (await get(gateway, "/healthz"))[0] == 200
    gateway.embedded.services.down = False
    await eventually(lambda: gateway.gateway.ready)
    assert (await get(gateway, "/readyz"))[0] == 200


async def test_not_ready_while_draining(gateway: RunningGateway) -> None:
    await gateway.gateway.drain()
    status, body = await get(gateway, "/readyz")
    assert status == 503
    assert "gateway" in body["failing"]
    assert (await get(gateway, "/healthz"))[0] == 200
