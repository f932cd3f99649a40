"""Fixtures for modules whose tests use grpc.aio; imported by name, they hold for the whole module."""

import gc
from collections.abc import AsyncIterator

import pytest


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """grpc.aio knows asyncio only."""
    return "asyncio"


@pytest.fixture(scope="module", autouse=True)
async def one_loop(anyio_backend: str) -> AsyncIterator[None]:
    """One event loop for all: what grpc.aio still has to tell a loop that is closed, it raises in the next one."""
    yield
    gc.collect()
