"""The demo's page as files."""

import httpx
import pytest
from starlette.applications import Starlette

from imgateway.adapters.starlette.static_page import POLICY
from imgateway_cli.demo.page import page_routes


@pytest.fixture
def anyio_backend() -> str:
    """As served: by uvicorn, which is bound to asyncio."""
    return "asyncio"


@pytest.mark.anyio
async def test_the_page_is_served_whole_and_may_load_nothing_from_elsewhere() -> None:
    app = Starlette(routes=page_routes())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://demo") as client:
        page = await client.get("/")
        assert page.headers["content-security-policy"] == POLICY
        assert "unsafe" not in POLICY
        assert "default-src 'none'" in POLICY
        for name in (
            "app.js",
            "backend.js",
            "connection.js",
            "conversations.js",
            "messages.js",
            "session.js",
            "view.js",
            "style.css",
            "icon.svg",
        ):
            part = await client.get(f"/demo/{name}")
            assert (part.status_code, part.headers["x-content-type-options"]) == (200, "nosniff")
        assert (await client.get("/demo/../app.py")).status_code == 404
