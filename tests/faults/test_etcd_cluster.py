"""Three members of etcd, of which some fail."""

import json
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

import anyio
import anyio.to_thread
import pytest
from servers import EtcdServer

from imgateway.adapters.etcd import EtcdAccess, EtcdOwnership, EtcdRegistrar, EtcdResolver
from imgateway.core.retrying import until_available
from imgateway.errors import ServiceUnavailableError
from imgateway.model import GatewayId, ServiceInstance

pytestmark = pytest.mark.anyio

PATIENCE = 60.0
LEASE = 15.0
"""Longer than an election takes on a busy machine."""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Member(EtcdServer):
    """One of the cluster."""

    cluster: Sequence["Member"] = ()

    @property
    def peer(self) -> str:
        return f"http://127.0.0.1:{self._peer_port}"

    def command(self) -> Sequence[str]:
        command = [*super().command(), "--name", self.address]
        cluster = ",".join(f"{member.address}={member.peer}" for member in self.cluster)
        command[command.index("--initial-cluster") + 1] = cluster
        return command

    def answers(self) -> bool:
        return True  # alone, the first one serves nobody

    def status(self) -> dict[str, Any]:
        try:
            with urllib.request.urlopen(f"{self.url}/v3/maintenance/status", b"{}", timeout=1) as answer:
                status: dict[str, Any] = json.load(answer)
                return status
        except OSError:
            return {}


@pytest.fixture
def members() -> Iterator[Sequence[Member]]:
    with ExitStack() as stack:
        members = [Member() for _ in range(3)]
        for member in members:
            member.cluster = members
            stack.enter_context(member)
        yield members


async def leader(members: Sequence[Member]) -> Member:
    with anyio.fail_after(PATIENCE):
        while True:
            for member in members:
                status = await anyio.to_thread.run_sync(member.status)
                if status and status.get("leader") == status["header"]["member_id"]:
                    return member
            await anyio.sleep(0.1)


async def test_the_loss_of_a_leader_is_survived_and_that_of_the_majority_is_noticed(members: Sequence[Member]) -> None:
    access = EtcdAccess(tuple(member.url for member in members))
    gateway_id, instance = GatewayId("gw-1"), ServiceInstance("im-gateway", "gw-1", "10.0.0.1", 8080)
    first = await leader(members)
    async with (
        EtcdOwnership.open(access, lease_seconds=LEASE) as ownership,
        EtcdRegistrar.open(access) as registrar,
        EtcdResolver.open(access) as resolver,
    ):
        await ownership.acquire(gateway_id)
        await registrar.register(instance)
        assert [*await resolver.resolve(instance.name)] == [instance]
        first.kill()
        with anyio.move_on_after(LEASE + 1):
            await ownership.wait_lost()
        assert ownership.held
        rest = [member for member in members if member is not first]
        second = await leader(rest)
        # A member that is cut off from the majority goes on to answer, but knows nothing any more.
        follower = next(member for member in rest if member is not second)
        second.pause()
        with anyio.fail_after(PATIENCE):
            await ownership.wait_lost()
        with pytest.raises(ServiceUnavailableError, match=r"etcd\.endpoints"):
            await ownership.acquire(gateway_id)
        assert [*await resolver.resolve(instance.name)] == [instance]
        follower.kill()
        second.resume()
        first.start()
        with anyio.fail_after(PATIENCE):
            # The second one takes itself for the leader still, and refuses until the first one is there.
            await until_available("ownership", partial(ownership.acquire, gateway_id))
            while [*await resolver.resolve(instance.name)] != [instance]:
                await anyio.sleep(0.1)
        assert ownership.held
