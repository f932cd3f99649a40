"""What the routes say is reached over HTTP, and what they leave out is answered by the gateway or its server."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from starlette.routing import Route
from tests.e2e.running_gateway import RunningGateway, Server, running_gateway
from tests.e2e.websocket_client import PATIENCE_SECONDS
from tests.grpc_files import ruled
from tests.grpc_routes import EVERYWHERE, table_of

from imgateway.adapters.grpc import GrpcTranscoder
from imgateway.adapters.grpc.routing.rules import SERVED_METHODS
from imgateway.adapters.starlette import gateway_routes
from imgateway.core.settings import ServerSettings
from imgateway.core.settings_grpc import GrpcSettings

pytestmark = pytest.mark.anyio

PAGE = "https://page.example"
NOBODY_THERE = 503


@asynccontextmanager
async def serving(
    server: Server, folder: Path, *rules: tuple[str, str]
) -> AsyncIterator[tuple[RunningGateway, httpx.AsyncClient]]:
    """A gateway without a prefix whose methods are public, and can't be reached."""
    file = folder / "rules.binpb"
    file.write_bytes(ruled("a", *rules).SerializeToString())
    settings = GrpcSettings(descriptor_set=str(file), services=EVERYWHERE, prefix="", public=("a.S/*",))
    network = ServerSettings(allowed_origins=(PAGE,))
    async with (
        GrpcTranscoder.open(settings, None) as transcoder,
        running_gateway(server, network=network, grpc=settings, transcoder=transcoder) as running,
        httpx.AsyncClient(trust_env=False, timeout=PATIENCE_SECONDS, base_url=running.http_url("")) as client,
    ):
        yield running, client


def is_of_rest(answer: httpx.Response) -> bool:
    """Whether REST has answered, and not one of the gateway's own paths."""
    return "x-request-id" in answer.headers


async def test_the_gateways_own_paths_are_those_that_rules_are_not_served_on(server: Server, tmp_path: Path) -> None:
    """Every path that the gateway has a route for; other methods than GET and HEAD are REST's there."""
    async with serving(server, tmp_path, ("GET", "/{text=**}"), ("POST", "/{text=**}")) as (running, client):
        own = [found.path for found in gateway_routes(running.gateway) if isinstance(found, Route)]
        assert {"/ws", "/docs", "/docs/app.js", "/openapi.json"} < set(own)
        for path in own:
            assert not is_of_rest(await client.get(path))
            assert not is_of_rest(await client.head(path))
            assert (await client.post(path)).status_code == NOBODY_THERE
        for path in ("/docs/list", "/healthz/x", "/"):
            assert (await client.get(path)).status_code == NOBODY_THERE
    for kind in ("GET", "HEAD", "*"):
        hidden = table_of(ruled("a", *((kind, path) for path in own)), prefix="")
        assert (len(hidden.routes), len(hidden.problems)) == (0, len(own))
    assert len(table_of(ruled("a", *(("POST", path) for path in own)), prefix="").routes) == len(own)


async def test_every_method_that_a_rule_can_be_for_reaches_it(server: Server, tmp_path: Path) -> None:
    rules = [(kind, f"/{kind.lower()}/{{text}}") for kind in (*sorted(SERVED_METHODS), "FOO")]
    async with serving(server, tmp_path, *rules) as (_, client):
        for kind, path in rules[:-1]:
            answer = await client.request(kind, path)
            assert (answer.status_code, is_of_rest(answer)) == (NOBODY_THERE, True)
            assert not (kind == "HEAD" and answer.content)
        assert (await client.request("FOO", "/foo/x")).status_code == 400


async def test_a_rule_for_options_takes_no_preflight(server: Server, tmp_path: Path) -> None:
    asks = {"Origin": PAGE, "Access-Control-Request-Method": "PUT"}
    async with serving(server, tmp_path, ("OPTIONS", "/a/{text}"), ("PUT", "/a/{text}")) as (_, client):
        told = await client.options("/a/x", headers=asks)
        assert (told.status_code, told.headers["access-control-allow-methods"]) == (204, "OPTIONS, PUT")
