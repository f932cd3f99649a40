"""Of instances that describe themselves differently, as during a deployment, the newest one counts."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import attrs
import pytest
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest
from tests.grpc_describing import Answer, answering, describing
from tests.grpc_files import offering
from tests.grpc_instances import entry
from tests.grpc_loop import anyio_backend, one_loop  # noqa: F401  # fixtures: pytest finds them by name
from tests.grpc_servers import running_server

from imgateway.adapters.grpc import GrpcTranscoder
from imgateway.adapters.memory import MemoryServiceRegistry
from imgateway.core.settings_grpc import GrpcServiceSettings, GrpcSettings
from imgateway.model import ServiceInstance
from imgateway.ports import ServiceRegistrar
from imgateway.testing import TranscoderSuite

pytestmark = pytest.mark.anyio

eventually = TranscoderSuite().eventually
VERSIONS = ("one", "two")
BRIEF_CONNECTIONS = {"grpc.max_connection_age_ms": 300, "grpc.max_connection_age_grace_ms": 100}


@attrs.define(eq=False)
class Deployment:
    """A service whose versions come and go. Each offers the route `GET /api/{version}/0`, and no other one.

    Attributes:
        asked: how often each version was asked what it offers.
    """

    transcoder: GrpcTranscoder
    registrar: ServiceRegistrar
    asked: dict[str, int] = attrs.field(factory=lambda: dict.fromkeys(VERSIONS, 0))
    _servers: dict[str, AsyncExitStack] = attrs.field(factory=dict)
    _instances: dict[str, ServiceInstance] = attrs.field(factory=dict)

    async def come(self, version: str, **options: int) -> None:
        """Start an instance of a version, and let it be found."""
        self._servers[version] = stack = AsyncExitStack()
        served = running_server(answering(self._counted(version)), options=tuple(options.items()))
        self._instances[version] = entry(await stack.enter_async_context(served))
        await self.registrar.register(self._instances[version])

    async def come_in_turn(self, *, renewing: str | None = None) -> None:
        """Let one version after the other come, and be served; `renewing` is the one that ends its connections."""
        for version in VERSIONS:
            await self.come(version, **(BRIEF_CONNECTIONS if version == renewing else {}))
            await self.becomes(version)

    async def leave(self, version: str) -> None:
        """Let it be found no more; it runs on."""
        await self.registrar.deregister(self._instances[version])

    async def end(self, version: str) -> None:
        """End its server, whoever finds it."""
        await self._servers.pop(version).aclose()

    async def served(self) -> str:
        """The version whose route there is, once there is one."""
        await eventually(lambda: any(map(self.serves, VERSIONS)), "a version is served")
        (version,) = filter(self.serves, VERSIONS)
        return version

    def serves(self, version: str) -> bool:
        """Whether its route is there."""
        return not isinstance(self.transcoder.find("GET", f"/api/{version}/0"), frozenset)

    async def becomes(self, version: str) -> None:
        """Return when the route is that of this version."""
        await eventually(lambda: self.serves(version), f"version {version} is served")

    def _counted(self, version: str) -> Answer:
        answer = describing(offering(version))

        def counted(request: ServerReflectionRequest) -> Any:
            self.asked[version] += request.HasField("list_services")
            return answer(request)

        return counted


@pytest.fixture
async def deployed() -> AsyncIterator[Deployment]:
    registry = MemoryServiceRegistry()
    settings = GrpcSettings(reflection=True, services={"*": GrpcServiceSettings(discover="back")})
    async with GrpcTranscoder.open(settings, registry.resolver()) as transcoder:
        deployed = Deployment(transcoder, registry.registrar())
        try:
            yield deployed
        finally:
            for version in list(deployed._servers):
                await deployed.end(version)


async def test_the_newest_counts_and_when_it_is_withdrawn_the_one_before(deployed: Deployment) -> None:
    await deployed.come_in_turn()
    await deployed.leave("two")
    await deployed.becomes("one")
    assert await deployed.served() == "one"


async def test_both_were_there_first_and_the_one_that_counts_is_withdrawn(deployed: Deployment) -> None:
    for version in VERSIONS:
        await deployed.come(version)
    gone = await deployed.served()
    await deployed.leave(gone)
    (other,) = set(VERSIONS) - {gone}
    await deployed.becomes(other)


async def test_one_that_ends_and_is_found_still_counts_no_more(deployed: Deployment) -> None:
    await deployed.come_in_turn()
    await deployed.end("two")
    await deployed.becomes("one")


@pytest.mark.parametrize("renewing", VERSIONS)
async def test_a_connection_that_is_renewed_makes_no_instance_newer_or_older(
    deployed: Deployment, renewing: str
) -> None:
    await deployed.come_in_turn(renewing=renewing)
    asked = dict(deployed.asked)
    # Each end of a connection, in order, is a reason to ask again, and the new one is asked.
    await eventually(lambda: deployed.asked["two"] >= asked["two"] + 5, "the new one was asked again and again")
    assert deployed.asked["one"] == asked["one"]
    assert await deployed.served() == "two"
