"""The balancer of gRPC holds to the contract, with a real server behind it."""

import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from tests.grpc_back_end import SERVICE, running_back_end

from imgateway.adapters.grpc.balancing import GrpcBalancer, StaticTarget
from imgateway.testing import BalancerSuite, BalancerUnderTest

REQUEST = b"\x0a\x01a"


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """grpc.aio knows asyncio only."""
    return "asyncio"


@pytest.fixture(scope="module", autouse=True)
async def one_loop(anyio_backend: str) -> AsyncIterator[None]:
    """One event loop for all: what grpc.aio still has to tell a loop that is closed, it raises in the next one."""
    yield
    gc.collect()


@pytest.mark.anyio
class TestGrpcBalancer(BalancerSuite):
    @asynccontextmanager
    async def make(self) -> AsyncIterator[BalancerUnderTest]:
        async with (
            running_back_end() as (back_end, address),
            GrpcBalancer.open(StaticTarget(address), service="", tls=None, max_response_bytes=4_194_304) as balancer,
        ):
            yield BalancerUnderTest(
                balancer,
                echo=f"{SERVICE}/Echo",
                fails=f"{SERVICE}/Fails",
                hangs=f"{SERVICE}/Hangs",
                counts=f"{SERVICE}/Counts",
                breaks=f"{SERVICE}/Breaks",
                endless=f"{SERVICE}/Endless",
                request=REQUEST,
                under_way=lambda: back_end.under_way,
            )
