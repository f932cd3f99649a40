"""Instances of a back end as processes of their own, and a balancer that follows what a registry knows of them."""

import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import anyio
import attrs
import grpc
from tests.grpc_back_end import SERVICE
from tests.grpc_servers import Handlers, offering_methods, running_server

from imgateway.adapters.grpc.balancing import Discovered, GrpcBalancer
from imgateway.adapters.memory import MemoryServiceRegistry
from imgateway.model import ServiceInstance
from imgateway.rpc import RpcAnswer, RpcFailure
from imgateway.testing import ContractSuite

ROOT = Path(__file__).parents[1]
ECHO = f"{SERVICE}/Echo"
REQUEST = b"\x0a\x01a"


@contextmanager
def instance() -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """A server as a process, and its address."""
    command = [sys.executable, "-m", "tests.grpc_back_end", "127.0.0.1:0"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process, process.stdout.readline().strip()
    finally:
        process.send_signal(signal.SIGCONT)
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def available(balancer: GrpcBalancer) -> bool:
    """Whether anybody is connected and serving."""
    return any(endpoint.reachable for endpoint in balancer._all)


@attrs.define(eq=False)
class Known:
    """What the registry knows, and a balancer that follows it."""

    balancer: GrpcBalancer
    _registrar: Any

    async def add(self, address: str) -> None:
        await self._registrar.register(entry(address))

    async def remove(self, address: str) -> None:
        await self._registrar.deregister(entry(address))

    async def call(self, *, idempotent: bool = True, seconds: float = 20.0) -> RpcAnswer | RpcFailure:
        return await self.balancer.unary(ECHO, REQUEST, (), seconds, idempotent)

    async def unary(self, method: str, key: str) -> RpcAnswer | RpcFailure:
        request = b"\x0a" + bytes([len(key)]) + key.encode()
        return await self.balancer.unary(f"{SERVICE}/{method}", request, (), 20.0, False)

    async def calls(self, *, until: Callable[[], bool], at_once: int = 8) -> None:
        """Calls that all succeed, so many at a time."""

        async def ask() -> None:
            while not until():
                assert isinstance(await self.call(), RpcAnswer)

        with anyio.fail_after(30):
            async with anyio.create_task_group() as tasks:
                for _ in range(at_once):
                    tasks.start_soon(ask)

    def usable(self) -> set[str]:
        now = anyio.current_time()
        return {endpoint.address for endpoint in self.balancer._all if endpoint.usable(now)}

    def age(self) -> None:
        """Let no instance be new."""
        for endpoint in self.balancer._all:
            endpoint.ready_at -= 60

    def connected(self) -> set[str]:
        return {endpoint.address for endpoint in self.balancer._all if endpoint.connected}


def entry(address: str) -> ServiceInstance:
    host, _, port = address.rpartition(":")
    return ServiceInstance("back", address, host, int(port))


@asynccontextmanager
async def known(*addresses: str) -> AsyncIterator[Known]:
    registry = MemoryServiceRegistry()
    registrar = registry.registrar()
    options: dict[str, Any] = {"service": "", "tls": None, "max_response_bytes": 4_194_304}
    async with GrpcBalancer.open(Discovered(registry.resolver(), "back"), **options) as balancer:
        made = Known(balancer, registrar)
        for address in addresses:
            await made.add(address)
        await eventually(lambda: made.connected() == set(addresses), "all are connected to")
        yield made
    await registrar.aclose()


@asynccontextmanager
async def failing_back_end() -> AsyncIterator[tuple[list[Any], str]]:
    """Says that it is not available, to every call; and the calls."""
    calls: list[Any] = []

    async def echo(request: Any, context: Any) -> None:
        calls.append(request)
        await context.abort(grpc.StatusCode.UNAVAILABLE, "not today")

    handlers: Handlers = {SERVICE: {"Echo": grpc.unary_unary_rpc_method_handler(echo)}}
    async with running_server(offering_methods(handlers)) as address:
        yield calls, address


async def eventually(condition: Callable[[], bool], what: str) -> None:
    await ContractSuite().eventually(condition, what)
