"""The balancer of gRPC holds to the contract, with a real server behind it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from tests.grpc_back_end import SERVICE, running_back_end
from tests.grpc_instances import available
from tests.grpc_loop import anyio_backend, one_loop  # noqa: F401  # fixtures: pytest finds them by name

from imgateway.adapters.grpc.balancing import GrpcBalancer, StaticTarget
from imgateway.testing import BalancerSuite, BalancerUnderTest

REQUEST = b"\x0a\x01a"


@pytest.mark.anyio
class TestGrpcBalancer(BalancerSuite):
    @asynccontextmanager
    async def make(self) -> AsyncIterator[BalancerUnderTest]:
        async with (
            running_back_end() as (back_end, address),
            GrpcBalancer.open(StaticTarget(address), service="", tls=None, max_response_bytes=4_194_304) as balancer,
        ):
            # Until then a call whose time is short ends for another reason.
            await self.eventually(lambda: available(balancer), "the service is connected to")
            yield BalancerUnderTest(
                balancer,
                echo=f"{SERVICE}/Echo",
                fails=f"{SERVICE}/Refuses",
                hangs=f"{SERVICE}/Hangs",
                counts=f"{SERVICE}/Counts",
                breaks=f"{SERVICE}/Breaks",
                endless=f"{SERVICE}/Endless",
                request=REQUEST,
                under_way=lambda: back_end.under_way,
            )
