"""What the tests through real sockets share."""

from collections.abc import AsyncIterator

import pytest
from tests.e2e.running_gateway import RunningGateway, Server, running_gateway

from imgateway.adapters.starlette import asgi_transport
from imgateway.adapters.uvicorn.transport import SocketTransport
from imgateway.core import delivery, presence


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """The servers and the `websockets` client are bound to asyncio."""
    return "asyncio"


@pytest.fixture(scope="module", params=list(Server), ids=lambda server: server.value)
def server(request: pytest.FixtureRequest) -> Server:
    """Both ways to serve clients; what holds for one must hold for the other."""
    assert isinstance(request.param, Server)
    return request.param


@pytest.fixture
async def gateway(server: Server) -> AsyncIterator[RunningGateway]:
    """A gateway with default settings, for this test alone."""
    async with running_gateway(server) as running:
        yield running


@pytest.fixture(scope="module")
async def shared_gateway(server: Server) -> AsyncIterator[RunningGateway]:
    """A gateway with default settings for tables of clients that leave nothing behind."""
    async with running_gateway(server) as running:
        yield running


@pytest.fixture
def _quick_commits(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests that wait for positions to be committed."""
    monkeypatch.setattr(delivery, "COMMIT_SECONDS", 0.05)


@pytest.fixture
def _patient_presence(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests that hang the store: nobody is welcomed before it goes on, however long the test takes."""
    monkeypatch.setattr(presence, "ANNOUNCE_SECONDS", 3600.0)


@pytest.fixture
def _quick_cut_offs(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests that wait for clients to be cut off that don't answer a close frame."""
    monkeypatch.setattr(SocketTransport, "close_seconds", 1.0)
    monkeypatch.setattr(asgi_transport, "CLOSE_SECONDS", 1.0)
