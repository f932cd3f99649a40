"""How attached connections end, and clients that mean harm."""

import gc
import tracemalloc
from contextlib import suppress
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from starlette.websockets import WebSocket
from tests.e2e.echo_app import EchoHost, echo_server
from tests.e2e.raw_connections import (
    PATIENCE,
    ImpatientProtocol,
    PatientProtocol,
    attach,
    attaching,
    becomes,
    connected,
    echoing,
    fill,
    open_sockets,
    peer,
    send_until_cut_off,
)

from imgateway.adapters.uvicorn import GatewayWebSocketProtocol, server_config, serving
from imgateway.adapters.uvicorn.transport import MAX_BYTES_BEFORE_PONG, SocketTransport
from imgateway.adapters.uvicorn.websocket import frame_parser
from imgateway.model import CloseReason
from imgateway.ports import Transport
from imgateway.testing.raw_peer import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, RawPeer, client_frame
from imgateway.testing.transport import RecordingListener
from imgateway.wire.frames import text_frame
from imgateway.wire.inbound import MAX_FRAGMENTS

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return "asyncio", {"use_uvloop": request.param == "uvloop"}


@pytest.fixture(params=["picows", "asgi"], autouse=True)
def _parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(GatewayWebSocketProtocol, "parser", staticmethod(frame_parser(request.param)))


# The closing handshake.


async def test_a_peers_answer_ends_the_connection_at_once() -> None:
    """Nobody has to be cut off, also where the connection was not read from."""
    async with echoing(ws=PatientProtocol) as (host, bound), peer(bound) as client:
        transport = host.echoes[0].transport
        assert transport is not None
        transport.pause_reading()
        transport.close(CloseReason(4000))
        assert await client.receive_close() == 4000
        await client.send_close(4000)
        await becomes(lambda: host.echoes[0].close_code == 4000)
        assert await client.receive_rest() == b""


async def test_a_peer_that_sends_on_reads_what_it_did_wrong() -> None:
    """Our close frame reaches it, however much it has on its way."""
    async with echoing(ws=PatientProtocol) as (_, bound), peer(bound) as client:
        await client.send(client_frame(TEXT, b"x", masked=False) + bytes(20_000_000))
        assert await client.receive_close() == 1002


async def test_what_arrives_after_our_close_frame_is_not_kept() -> None:
    message = client_frame(BINARY, bytes(100_000))
    async with echoing(ws=PatientProtocol) as (host, bound), peer(bound) as client:
        transport = host.echoes[0].transport
        assert transport is not None
        transport.close(CloseReason(4000))
        tracemalloc.start()
        try:
            for _ in range(100):
                await client.send(message)
            await client.send_close(4000)
            await becomes(lambda: host.echoes[0].close_code == 4000)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak < 3_000_000


async def test_a_peer_whose_close_frame_was_held_back_keeps_no_socket() -> None:
    """Its own end is noticed: nobody has to be cut off."""
    listener = RecordingListener()
    attached: list[Transport] = []

    async def endpoint(socket: WebSocket) -> None:
        await socket.accept()
        attached.append(attach(socket, listener))
        listener.on("receive_text", attached[0].pause_reading)

    async with attaching(endpoint, ws=PatientProtocol) as (_, bound):
        client = await connected(bound, "/own")
        await client.send(client_frame(TEXT, b"x") + client_frame(CLOSE, b"\x03\xe8"))
        await listener.until_told("receive_text")
        before = open_sockets()
        attached[0].resume_reading()
        assert await listener.until_lost() == 1000
        await client.aclose()
        await becomes(lambda: open_sockets() <= before - 2)


# Harm.


async def test_a_message_in_very_many_fragments_costs_no_memory() -> None:
    data = client_frame(TEXT, b"x", fin=False) + client_frame(CONTINUATION, b"x", fin=False) * 100_000
    async with echoing(ws=PatientProtocol) as (host, bound), peer(bound) as client:
        gc.collect()
        tracemalloc.start()
        try:
            await client.send(data)
            assert await client.receive_close() == 1009
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert host.echoes[0].close_code == 1009
    assert peak < 2_000_000


async def test_as_many_fragments_as_allowed() -> None:
    async with echoing() as (_, bound), peer(bound) as client:
        fragments = [client_frame(CONTINUATION, b"x", fin=False)] * (MAX_FRAGMENTS - 2)
        await client.send(client_frame(TEXT, b"x", fin=False) + b"".join(fragments) + client_frame(CONTINUATION, b"x"))
        assert len((await client.receive_frame()).payload) == MAX_FRAGMENTS


async def test_pings_of_a_peer_that_does_not_read_pile_up_no_pongs() -> None:
    listener = RecordingListener()
    attached: list[Transport] = []
    most = 0

    async def endpoint(socket: WebSocket) -> None:
        await socket.accept()
        attached.append(attach(socket, listener))

    def watch() -> None:
        nonlocal most
        transport = attached[0]
        assert isinstance(transport, SocketTransport)
        most = max(most, transport.transport.get_write_buffer_size())
        listener.told.clear()

    listener.on("pinged", watch)
    flood = client_frame(PING, b"x" * 125) * 1000
    async with attaching(endpoint) as (_, bound), peer(bound, "/own") as client:
        for _ in range(200):  # 25 MB of pongs
            await client.send(flood)
        await client.send_text("done")
        await listener.until_told("receive_text")
        # One read's worth of pongs may come on top.
        assert MAX_BYTES_BEFORE_PONG < most < MAX_BYTES_BEFORE_PONG + 300_000
        frame = await client.receive_frame()
        assert (frame.opcode, frame.payload) == (PONG, b"x" * 125)


async def test_a_peer_that_never_reads_is_cut_off_and_nobody_else_notices() -> None:
    async with echoing(capacity=1_000_000) as (host, bound), peer(bound) as client, peer(bound) as other:
        message = client_frame(BINARY, bytes(60_000))
        await send_until_cut_off(client, message)
        await becomes(lambda: host.echoes[0].close_code is not None)
        assert host.echoes[0].close_code == 4008
        await other.send_text("fine")
        assert (await other.receive_frame()).payload == b"fine"


async def test_a_peer_that_closes_its_side_only() -> None:
    """There is no half-open WebSocket; what it does not read does not keep the socket."""
    async with echoing() as (host, bound), peer(bound) as client:
        transport = host.echoes[0].transport
        assert transport is not None
        await fill(transport)
        await client.send_eof()
        await becomes(lambda: host.echoes[0].close_code is not None)
        assert host.echoes[0].close_code == 1006
        before = open_sockets()
        await becomes(lambda: open_sockets() < before)


@pytest.mark.parametrize("cut", [1, 3, 7, 100])
async def test_a_reset_in_the_middle_of_a_frame(cut: int) -> None:
    async with echoing() as (host, bound), peer(bound) as client:
        await client.send(client_frame(TEXT, b"x" * 1000)[:cut])
        await anyio.sleep(0.01)
        await client.reset()
        await becomes(lambda: host.echoes[0].close_code is not None)
        assert host.echoes[0].close_code == 1006


async def test_a_peer_that_sends_on_after_a_violation_is_cut_off() -> None:
    async with echoing() as (host, bound), peer(bound) as client:
        await client.send(client_frame(TEXT, b"x", masked=False))
        assert await client.receive_close() == 1002
        await send_until_cut_off(client, client_frame(TEXT, b"more"))
        assert host.echoes[0].close_code == 1002


async def test_what_is_written_while_the_connection_breaks_is_never_counted_as_sent() -> None:
    async with echoing() as (host, bound), peer(bound) as client:
        transport = host.echoes[0].transport
        assert transport is not None
        await fill(transport)
        await client.reset()
        while host.echoes[0].close_code is None:
            transport.write([text_frame(b"x")])
            assert transport.buffered_bytes > 0
            await anyio.lowlevel.checkpoint()


# The end of the server.


async def test_attached_connections_are_closed_with_the_server() -> None:
    """With 1012; one that does not read is cut off."""
    codes: list[int] = []

    async def read(client: RawPeer) -> None:
        codes.append(await client.receive_close())
        with suppress(anyio.BrokenResourceError):  # it may be cut off by then
            await client.send_close(codes[-1])
        await client.aclose()

    host = EchoHost()
    async with anyio.create_task_group() as tasks:
        async with echo_server(host, ws=ImpatientProtocol) as bound:
            stuck, *others = [await connected(bound) for _ in range(3)]
            transport = host.echoes[0].transport
            assert transport is not None
            await fill(transport)
            for client in others:
                tasks.start_soon(read, client)
        assert [echo.close_code for echo in host.echoes] == [1012, 1012, 1012]
        await stuck.aclose()
    assert codes == [1012, 1012]


async def test_a_server_does_not_wait_for_ever() -> None:
    """Whoever has not answered when its time is up is cut off."""
    host = EchoHost()
    config = server_config(host.app, host="127.0.0.1", port=0, max_frame_bytes=1000)
    config.ws = PatientProtocol
    config.timeout_graceful_shutdown = 0
    async with serving(config) as bound:
        client = await connected(bound)
    assert host.echoes[0].close_code == 1012
    with anyio.fail_after(PATIENCE):
        assert await client.receive_close() == 1012
        await client.receive_rest()
    await client.aclose()
