"""etcd's adapters hold to the same contracts as the memory registry, and leave nothing behind."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from servers import EtcdServer
from tests.integration.etcd_gate import Admin, Gate, admin_of

from imgateway.adapters.etcd import EtcdAccess, EtcdOwnership, EtcdRegistrar, EtcdResolver
from imgateway.model import GatewayId
from imgateway.testing import Discovery, GatewayOwnershipSuite, Rivals, ServiceRegistrarSuite, ServiceResolverSuite

pytestmark = pytest.mark.anyio

OWNERS = "/imgateway/owners/"
SERVICES = "/services/"


class _BehindAGate:
    quiet_seconds = 0.3
    server: EtcdServer

    @pytest.fixture(autouse=True)
    def _server(self, etcd_server: EtcdServer) -> None:
        self.server = etcd_server

    @asynccontextmanager
    async def etcd(self) -> AsyncIterator[tuple[EtcdAccess, Gate, Admin]]:
        async with Gate(self.server.port, target_host=self.server.host) as gate, admin_of(self.server.url) as admin:
            leases = await admin.leases()
            yield EtcdAccess((gate.url,)), gate, admin
            assert await admin.leases() == leases
            assert await admin.keys("/") == []


class _Discovery(_BehindAGate):
    @asynccontextmanager
    async def make(self) -> AsyncIterator[Discovery]:
        async with self.etcd() as (access, gate, admin), AsyncExitStack() as stack:

            async def lose(name: str, instance_id: str) -> None:
                await admin.revoke_of(f"{SERVICES}{name}/{instance_id}")

            async def reachable(is_reachable: bool) -> None:
                await (gate.open() if is_reachable else gate.shut())

            registrars = [await stack.enter_async_context(EtcdRegistrar.open(access)) for _ in range(2)]
            resolver = await stack.enter_async_context(EtcdResolver.open(access))
            yield Discovery(registrars[0], registrars[1], resolver, lose, reachable)


class TestEtcdRegistrar(_Discovery, ServiceRegistrarSuite):
    pass


class TestEtcdResolver(_Discovery, ServiceResolverSuite):
    pass


class TestEtcdOwnership(_BehindAGate, GatewayOwnershipSuite):
    @asynccontextmanager
    async def make(self) -> AsyncIterator[Rivals]:
        async with self.etcd() as (access, gate, admin), AsyncExitStack() as stack:

            async def revoke(gateway_id: GatewayId) -> None:
                await admin.revoke_of(f"{OWNERS}{gateway_id}")

            async def reachable(is_reachable: bool) -> None:
                await (gate.open() if is_reachable else gate.shut())

            ownerships = [await stack.enter_async_context(EtcdOwnership.open(access)) for _ in range(2)]
            yield Rivals(ownerships[0], ownerships[1], revoke, reachable)
