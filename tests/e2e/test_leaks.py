"""Clients come and go, in every manner: nothing of them stays."""

import asyncio
import contextlib
import gc
import json
import resource
import weakref
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from tests.e2e.light_client import LightClient, allow_many_files
from tests.e2e.running_gateway import RunningGateway, Server, eventually, mint, running_gateway
from tests.e2e.websocket_client import PATIENCE_SECONDS

from imgateway.adapters.uvicorn.transport import SocketTransport
from imgateway.core.settings import ConnectionSettings
from imgateway.model import SessionRecord

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("_quick_commits", "_quick_cut_offs")]

WAVE = 250
CONNECTIONS = {Server.SOCKET: 10_000, Server.ASGI: 3_000}
WARM_UP = 4_000
USERS = 50
TOKENS = [mint(f"user-{n}", seconds=10_000) for n in range(USERS)]
MEMORY_BYTES = 6 * 1024 * 1024
"""What the process may have grown by between warm-up and end: a connection that stays whole costs some 10 KiB, so that
even one in fifteen would show."""

THE_BROKERS = "imgateway.model.ConsumedRecord"
"""Kept by the memory broker whatever becomes of connections."""
A_FEW = 20
"""Objects that may be new by chance: a record, a parsed message, what a cache holds."""
OURS = ("imgateway.", "uvicorn.", "starlette.", "websockets.")
MANNERS = (
    "close",
    "leave",
    "reset",
    "reset at once",
    "reset in the middle",
    "binary",
    "unfinished message",
    "expelled",
)


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, Any]]:
    """As `imgateway serve` runs."""
    return "asyncio", {"use_uvloop": True}


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def objects() -> Counter[str]:
    """How many objects there are of each class of the gateway and of what serves it."""
    gc.collect()
    kinds = Counter(type(thing) for thing in gc.get_objects())
    names = Counter({f"{kind.__module__}.{kind.__qualname__}": count for kind, count in kinds.items()})
    return Counter({name: count for name, count in names.items() if name.startswith(OURS)})


def traces(gateway: RunningGateway) -> dict[str, int]:
    """What is kept of connections, by where it is kept."""
    assert gateway.gateway._life is not None
    hub = gateway.gateway._life.hub
    return {
        "sockets": len(hub.connections),
        "registry": len(hub.registry),
        "heartbeat": len(hub._wheel),
        "flusher": len(hub._flusher._marked),
        "places": hub.admission._places,
        "places by address": len(hub.admission._places_by_ip),
        "presence": len(hub.presence._live) + len(hub.presence._announced),
        "presence to write": len(hub.presence._to_add) + len(hub.presence._to_remove),
        "stored presence": len(gateway.embedded.sessions._users) + len(gateway.embedded.sessions._deadlines),
        "messages waiting": len(hub.intake._stalled),
        "bytes waiting": gateway.observer.waiting_bytes,
        "counted connections": gateway.observer.connections,
    }


async def nobody_is_left(gateway: RunningGateway) -> None:
    try:
        await eventually(lambda: not any(traces(gateway).values()))
    except TimeoutError:
        raise AssertionError({where: count for where, count in traces(gateway).items() if count}) from None


async def come_and_go(gateway: RunningGateway, number: int) -> None:
    """One client, with a little life, that ends in a manner of its own."""
    manner = MANNERS[number % len(MANNERS)]
    texts: asyncio.Queue[bytes] = asyncio.Queue()
    client = await LightClient.connect(gateway.host, gateway.port, TOKENS[number % USERS], texts.put_nowait)
    if manner == "reset at once":
        client.upgraded.add_done_callback(lambda upgraded: upgraded.exception())
        client.reset()
        return
    await client.upgraded
    if manner == "reset in the middle":
        client.reset()
        await client.closed
        return
    assert b'"welcome"' in await texts.get()
    # Few messages again and again: what is remembered of them is full after the warm-up.
    id_ = str(number // USERS % 20)
    message = {"conversationId": "c", "content": "hi", "messageType": 1, "client_msg_id": id_}
    client.send_text(json.dumps({"type": "send-message", "data": message}).encode())
    assert b'"message-ack"' in await texts.get()
    if manner == "close":
        client.close()
    elif manner == "leave":
        client.leave()
    elif manner == "reset":
        client.reset()
    elif manner == "binary":
        client.send_binary(b"x")
    elif manner == "unfinished message":
        client.send_unfinished(b"x" * 10_000)
        client.reset()
    else:
        for _ in range(10):
            client.send_text(b"nonsense")
    await client.closed


async def waves(gateway: RunningGateway, first: int, count: int) -> None:
    for start in range(first, first + count, WAVE):
        async with anyio.create_task_group() as tasks:
            for number in range(start, start + WAVE):
                tasks.start_soon(come_and_go, gateway, number)
        await gateway.send_down(
            {
                "target_user_ids": [f"user-{n}" for n in range(USERS)], "message_id": start, "conversation_id": "c",
                "sender_id": "x", "message_type": 1, "content": "x", "seq_id": start, "timestamp": 1,
            }
        )  # fmt: skip


async def test_nothing_stays_of_ten_thousand_connections(server: Server) -> None:
    if not allow_many_files(3 * WAVE):
        pytest.fail("this machine does not allow so many open files")
    limits = ConnectionSettings(max_per_user=WAVE)
    async with running_gateway(server, connections=limits) as gateway:
        await waves(gateway, 0, WARM_UP)
        await nobody_is_left(gateway)
        await gateway.settled()
        tasks = {task.get_name() for task in asyncio.all_tasks()}
        count = len(asyncio.all_tasks())
        before, memory = objects(), resident_bytes()

        await waves(gateway, WARM_UP, CONNECTIONS[server])

        await nobody_is_left(gateway)
        await gateway.settled()
        with contextlib.suppress(TimeoutError):  # what a server does last it does after a client is forgotten
            await eventually(lambda: len(asyncio.all_tasks()) <= count)
        assert len(asyncio.all_tasks()) <= count, {t.get_name() for t in asyncio.all_tasks()} - tasks
        grown = {name: count - before[name] for name, count in objects().items() if count - before[name] > A_FEW}
        grown.pop(THE_BROKERS, None)
        assert not grown
        assert resident_bytes() - memory < MEMORY_BYTES
        # It serves on as before.
        async with await gateway.connect("after-all"):
            pass


async def test_nothing_stays_of_clients_that_leave_while_their_presence_is_written(server: Server) -> None:
    limits = ConnectionSettings(max_per_user=1000)
    async with running_gateway(server, connections=limits) as gateway, _holding(gateway) as stays:
        for _ in range(2):
            # The entries are half on their way when their clients are gone.
            gateway.store.hang()
            clients = [await LightClient.connect(gateway.host, gateway.port, mint("alice")) for _ in range(50)]
            for client in clients:
                await client.upgraded
            for client in clients[::2]:
                client.reset()
            for client in clients[1::2]:
                client.leave()
            await eventually(lambda: len(gateway.gateway.connections) == 1)
            gateway.store.release()
        await _only(gateway, stays)


async def test_nothing_stays_of_clients_that_leave_while_the_store_is_down(server: Server) -> None:
    limits = ConnectionSettings(max_per_user=1000)
    async with running_gateway(server, connections=limits) as gateway, _holding(gateway) as stays:
        clients = [await LightClient.connect(gateway.host, gateway.port, mint("alice")) for _ in range(50)]
        with anyio.fail_after(PATIENCE_SECONDS):
            while len(await gateway.presence("alice")) != 50:
                await anyio.sleep(0.01)
        gateway.store.down = True
        for client in clients:
            client.reset()
        late = [await LightClient.connect(gateway.host, gateway.port, mint("alice")) for _ in range(50)]
        for client in late:
            await client.upgraded
            client.reset()
        await eventually(lambda: len(gateway.gateway.connections) == 1)
        assert await gateway.presence("alice"), "nobody could remove them yet"
        gateway.store.down = False
        await _only(gateway, stays)


@asynccontextmanager
async def _holding(gateway: RunningGateway) -> AsyncIterator[SessionRecord]:
    """Somebody who stays all the while."""
    async with await gateway.connect("stays") as client:
        [record] = await gateway.presence("stays")
        yield record
        await client.nothing_came()


async def _only(gateway: RunningGateway, record: SessionRecord) -> None:
    await gateway.presence_becomes("alice")
    left = {where: count for where, count in traces(gateway).items() if count}
    assert {where: left[where] for where in ("sockets", "registry", "places", "presence")} == {
        "sockets": 1, "registry": 1, "places": 1, "presence": 1,
    }  # fmt: skip
    assert [entry.connection_id for entry in await gateway.presence("stays")] == [record.connection_id]


async def test_a_gateway_that_was_left_leaves_nothing(server: Server) -> None:
    async def once() -> None:
        async with running_gateway(server) as gateway:
            clients = [await LightClient.connect(gateway.host, gateway.port, mint(f"user-{n}")) for n in range(20)]
            for client in clients:
                await client.upgraded
            await gateway.gateway.drain()
            for client in clients:
                await client.closed

    def files() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    await once()
    gc.collect()
    tasks, open_files, before = len(asyncio.all_tasks()), files(), objects()
    for _ in range(3):
        await once()
    await eventually(lambda: len(asyncio.all_tasks()) <= tasks)
    await eventually(lambda: files() <= open_files)
    grown = {name: count - before[name] for name, count in objects().items() if count > before[name]}
    assert not grown


async def test_a_connection_goes_without_garbage_collection(server: Server) -> None:
    """What is left out of it (`imgateway_cli.garbage`) must not need it."""
    if server is not Server.SOCKET:
        return
    async with running_gateway(server) as gateway:
        client = await gateway.connect("alice")
        await client.send_message()
        await client.expect("message-ack")
        gc.collect()
        [connection] = gateway.gateway.connections
        transport = connection._transport
        assert isinstance(transport, SocketTransport)
        kept: list[weakref.ref[Any]] = [weakref.ref(connection), weakref.ref(transport._parser)]
        del connection, transport
        gc.disable()
        try:
            await client.socket.close()
            await eventually(lambda: not gateway.gateway.connections)
            await eventually(lambda: [ref() for ref in kept] == [None, None])
        finally:
            gc.enable()
