"""A gateway that may open few files says so."""

import json
import re
import resource
import socket
import sys
from contextlib import ExitStack

import anyio
import pytest
from tests.e2e.gateway_process import _CLEAN as CLEAN
from tests.e2e.gateway_process import gateway_process
from tests.e2e.websocket_client import PATIENCE_SECONDS

from imgateway_cli.open_files import FEW_FILES

pytestmark = pytest.mark.anyio

FEW = "the limit on open files (ulimit -Hn) is low for so many connections"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_it_tells_when_no_more_can_be_opened() -> None:
    async with gateway_process() as gateway:
        host, port = re.findall(r"//(.+):(\d+)/", await gateway.url())[0]
        resource.prlimit(gateway.process.pid, resource.RLIMIT_NOFILE, (64, 64))
        with ExitStack() as clients:
            for _ in range(64):
                clients.enter_context(socket.create_connection((host, int(port)), timeout=PATIENCE_SECONDS))
            said = await gateway.logged("no more files can be opened: clients that connect are hung up on")
        assert (said["level"], said["open_files"]) == ("warning", 64)


@pytest.mark.parametrize(("max_total", "told"), [(None, True), (200, True), (100, False)])
async def test_a_low_limit_is_told_at_the_start(max_total: int | None, told: bool) -> None:
    assert FEW_FILES > 256
    environ = {**CLEAN, "IMGATEWAY_SERVER__ADMIN_PORT": "0"}
    if max_total is not None:
        environ["IMGATEWAY_CONNECTIONS__MAX_TOTAL"] = str(max_total)
    serve = f"ulimit -n 256; exec {sys.executable} -m imgateway_cli serve --port 0"
    async with await anyio.open_process(["/bin/sh", "-c", serve], env=environ) as process:
        assert process.stderr is not None
        log = ""
        with anyio.fail_after(PATIENCE_SECONDS):
            while '"ready"' not in log:
                log += (await process.stderr.receive()).decode()
        process.terminate()
    messages = [json.loads(line)["message"] for line in log.splitlines()]
    assert (FEW in messages) == told
