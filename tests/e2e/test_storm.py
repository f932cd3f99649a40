"""Ten thousand clients at once: those that come back after another gateway has died, and those that say nothing."""

import asyncio
import resource
import socket
from pathlib import Path

import anyio
import anyio.to_thread
import pytest
from tests.e2e.gateway_process import gateway_process
from tests.e2e.light_client import LightClient, allow_many_files
from tests.e2e.running_gateway import mint

pytestmark = pytest.mark.anyio

CROWD = 10_000
PATIENCE_SECONDS = 150  # ten times what it takes where nothing else runs


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": True}


@pytest.fixture(autouse=True)
def _files() -> None:
    if not allow_many_files(CROWD + 1000):
        pytest.fail("this machine does not allow so many open files")


def resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()


@pytest.mark.parametrize("transport", ["picows", "asgi"])
async def test_a_reconnect_storm_is_absorbed(transport: str) -> None:
    """Everybody is welcomed at the first attempt, and who was there before is served all the while."""
    token = mint("crowd", seconds=3600)
    async with (
        gateway_process(CONNECTIONS__MAX_PER_USER=2 * CROWD, SERVER__TRANSPORT=transport) as process,
        await process.connect("alice") as alice,
    ):
        host, _, port = (await process.url()).removeprefix("ws://").removesuffix("/ws").rpartition(":")
        welcomed = 0

        def count(text: bytes) -> None:
            nonlocal welcomed
            welcomed += b'"welcome"' in text

        async def chat() -> None:
            while True:
                await alice.send_message()
                await alice.expect("message-ack")

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(chat)
            with anyio.fail_after(PATIENCE_SECONDS):
                clients = await asyncio.gather(
                    *(LightClient.connect(host, int(port), token, count) for _ in range(CROWD))
                )
                await asyncio.gather(*(client.upgraded for client in clients))
                while welcomed < CROWD:
                    await anyio.sleep(0.05)
            tasks.cancel_scope.cancel()
        for client in clients:
            client.abort()


async def test_ten_thousand_that_never_send_their_request() -> None:
    """Each is cut off when its time is up, costs little until then, and nobody else notices."""
    async with gateway_process() as process, await process.connect("alice") as alice:
        host, _, port = (await process.url()).removeprefix("ws://").removesuffix("/ws").rpartition(":")
        before = resident_bytes(process.process.pid)
        silent = await anyio.to_thread.run_sync(_connections, host, int(port))
        try:
            async with await process.connect("bob") as bob:
                await bob.send_message()
                await bob.expect("message-ack")
            assert resident_bytes(process.process.pid) - before < CROWD * 12 * 1024
            with anyio.fail_after(PATIENCE_SECONDS):
                await anyio.to_thread.run_sync(_wait_for_the_end, silent)
        finally:
            for one in silent:
                one.close()
        await alice.send_message()
        await alice.expect("message-ack")


def _connections(host: str, port: int) -> list[socket.socket]:
    return [socket.create_connection((host, port)) for _ in range(CROWD)]


def _wait_for_the_end(sockets: list[socket.socket]) -> None:
    for one in sockets:
        one.settimeout(PATIENCE_SECONDS)
        try:
            assert one.recv(1) == b""
        except ConnectionResetError:
            continue
