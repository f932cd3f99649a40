"""`imgateway check`, `routes` and `serve` with services that are found in a real etcd."""

import json
import signal
import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import httpx
import pytest
from servers import EtcdServer
from tests.e2e.gateway_process import _CLEAN as CLEAN
from tests.e2e.gateway_process import gateway_process
from tests.e2e.im_logic import im_logic
from tests.e2e.running_gateway import mint
from tests.e2e.websocket_client import PATIENCE_SECONDS

from imgateway.adapters.etcd import EtcdAccess, EtcdRegistrar
from imgateway.model import ServiceInstance
from imgateway_im_logic.server import descriptor_set_path

pytestmark = pytest.mark.anyio


@pytest.fixture
def name() -> str:
    return f"im-logic-{uuid.uuid4().hex[:8]}"


@asynccontextmanager
async def registered(etcd: EtcdServer, name: str, *targets: str) -> AsyncIterator[None]:
    async with EtcdRegistrar.open(EtcdAccess((etcd.url,)), lease_seconds=10, prefix="/services/") as registrar:
        for number, target in enumerate(targets):
            host, _, port = target.rpartition(":")
            await registrar.register(ServiceInstance(name, str(number), host, int(port)))
        yield


async def run(etcd: EtcdServer, name: str, *arguments: str) -> tuple[int, list[str], list[str]]:
    environ = CLEAN | {
        "IMGATEWAY_SERVER__PORT": "0",
        "IMGATEWAY_SERVER__ADMIN_PORT": "0",
        "IMGATEWAY_GATEWAY__ADVERTISE": "h:1",
        "IMGATEWAY_ETCD__ENDPOINTS": etcd.url,
        "IMGATEWAY_GRPC__REFLECTION": "true",
        "IMGATEWAY_GRPC__SERVICES": json.dumps({"*": {"discover": name}}),
    }
    with anyio.fail_after(60):
        ended = await anyio.run_process(
            [sys.executable, "-m", "imgateway_cli", *arguments], input=b"", check=False, env=environ
        )
    return ended.returncode, ended.stdout.decode().splitlines(), ended.stderr.decode().splitlines()


async def test_instances_are_counted_and_tried(etcd_server: EtcdServer, name: str) -> None:
    async with im_logic() as back_end, registered(etcd_server, name, "127.0.0.1:1", back_end.channel_target):
        code, output, errors = await run(etcd_server, name, "check", "--connect")
    assert (code, errors) == (0, [])
    counted, reflection = output[-2:]
    assert counted.startswith(f"ok: grpc ({name} in etcd): 2 instances, healthy: 1; 127.0.0.1:1: UNAVAILABLE: ")
    assert reflection.startswith("ok: grpc.reflection: ")


async def test_a_service_without_instances_is_a_failure(etcd_server: EtcdServer, name: str) -> None:
    code, _, errors = await run(etcd_server, name, "check", "--connect")
    assert code == 1
    assert errors[0] == f"failed: grpc ({name} in etcd): no instance under /services/{name}/"


async def test_routes_are_those_of_an_instance_that_answers(etcd_server: EtcdServer, name: str) -> None:
    async with im_logic() as back_end, registered(etcd_server, name, "127.0.0.1:1", back_end.channel_target):
        code, output, errors = await run(etcd_server, name, "routes")
    assert (code, errors) == (0, [])
    assert any("im.logic.v1.AuthService/Login" in line for line in output)


async def test_the_gateway_calls_what_etcd_knows(etcd_server: EtcdServer, name: str) -> None:
    async with im_logic() as back_end, registered(etcd_server, name, back_end.channel_target):
        settings: dict[str, Any] = {
            "ETCD__ENDPOINTS": etcd_server.url,
            "GRPC__DESCRIPTOR_SET": descriptor_set_path(),
            "GRPC__SERVICES": json.dumps({"*": {"discover": name}}),
        }
        async with gateway_process(**settings) as gateway:
            url = (await gateway.url()).replace("ws", "http", 1).removesuffix("/ws")
            user_id = await back_end.guest("Ann")
            headers = {"Authorization": f"Bearer {mint(user_id)}"}
            async with httpx.AsyncClient(trust_env=False, base_url=url, headers=headers) as http:
                with anyio.fail_after(PATIENCE_SECONDS):
                    while (answer := await http.get("/api/conversations")).status_code == 503:
                        await anyio.sleep(0.05)  # until etcd has answered, and the service
            assert answer.status_code == 200, answer.text
            # Politely, so that it takes its own keys out of etcd.
            gateway.send_signal(signal.SIGTERM)
            assert await gateway.ended() == 0
