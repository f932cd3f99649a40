"""Errors of the ports themselves are problem bodies (RFC 9457): contract section 3."""

import httpx
import pytest
from starlette.requests import Request
from starlette.routing import Route
from tests.e2e.gateway_process import gateway_process
from tests.e2e.running_gateway import mint
from tests.e2e.websocket_client import PATIENCE_SECONDS, refusal

from imgateway.adapters.starlette import application

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def problem_of(response: httpx.Response) -> tuple[int, str]:
    assert response.headers["content-type"] == "application/problem+json"
    body = response.json()
    assert body["status"] == response.status_code
    assert {"type", "title", "detail"} <= body.keys()
    return response.status_code, body["code"]


async def test_unknown_paths_and_wrong_methods_of_both_ports() -> None:
    async with gateway_process() as gateway, httpx.AsyncClient(trust_env=False, timeout=PATIENCE_SECONDS) as http:
        clients = (await gateway.url()).replace("ws", "http", 1).removesuffix("/ws")
        metrics = (await gateway.logged("metrics"))["url"]
        for url in (f"{clients}/nowhere", f"{clients}/api/v1/users", metrics.replace("/metrics", "/nowhere")):
            assert problem_of(await http.get(url)) == (404, "NOT_FOUND")
        for url in (f"{clients}/healthz", f"{clients}/ws", metrics):
            refused = await http.delete(url)
            assert problem_of(refused) == (405, "METHOD_NOT_ALLOWED")
            assert "GET" in refused.headers["allow"]
        for url in (f"{clients}/nowhere?token={mint()}", metrics):
            denied = await refusal(url.replace("http", "ws", 1))
            answer = httpx.Response(
                denied.status_code, headers=[*denied.headers.raw_items()], content=bytes(denied.body or b"")
            )
            assert problem_of(answer) == (404, "NOT_FOUND")


async def test_a_failure_is_a_problem_too_and_is_raised_for_the_server_to_log() -> None:
    async def fail(_: Request) -> None:
        raise ValueError("broken")

    app = application([Route("/", fail)])
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as http:
        assert problem_of(await http.get("/")) == (500, "INTERNAL")
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway") as http:
        with pytest.raises(ValueError, match="broken"):
            await http.get("/")
