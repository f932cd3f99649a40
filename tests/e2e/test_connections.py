"""Several connections of a user, of an address, and of the gateway: who stays and who goes."""

import contextlib
import json
from functools import partial

import anyio
import pytest
from tests.e2e.running_gateway import RunningGateway, Server, eventually, mint, running_gateway
from tests.e2e.websocket_client import PATIENCE_SECONDS, Client, Data, open_socket
from websockets.exceptions import ConnectionClosed, InvalidStatus

from imgateway.adapters.starlette import asgi_transport
from imgateway.adapters.uvicorn.transport import SocketTransport
from imgateway.core.settings import ConnectionSettings, ServerSettings
from imgateway.model import Identity, Refusal
from imgateway.testing.raw_peer import CLOSE, CONTINUATION, PING, PONG, TEXT, RawPeer

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("_quick_commits")]


def bearer(user_id: str) -> list[tuple[str, str]]:
    return [("Authorization", f"Bearer {mint(user_id)}")]


def record(user_id: str, **members: object) -> Data:
    return {
        "target_user_ids": [user_id], "message_id": 1, "conversation_id": "c-1", "sender_id": "bob",
        "message_type": 1, "content": "hello", "seq_id": 1, "timestamp": 1, **members,
    }  # fmt: skip


# Devices.


async def test_a_device_replaces_its_own_older_connection(gateway: RunningGateway) -> None:
    async with (
        await gateway.connect("alice", device="phone") as older,
        await gateway.connect("alice", device="laptop") as laptop,
        await gateway.connect("bob", device="phone") as bob,
        await gateway.connect("alice", device="phone") as newer,
    ):
        assert await older.ended() == 4509
        for client in (laptop, bob, newer):
            await client.nothing_came()
        await gateway.presence_becomes("alice", laptop.welcome["connectionId"], newer.welcome["connectionId"])
        # The newest one is what routes to this gateway.
        assert [entry.device_id for entry in await gateway.presence()] == ["phone", "laptop"]


async def test_connections_without_a_device_do_not_replace_each_other(gateway: RunningGateway) -> None:
    async with await gateway.connect() as first, await gateway.connect() as second:
        await first.nothing_came()
        await second.nothing_came()


async def test_one_connection_too_many_ends_the_oldest(server: Server) -> None:
    async with (
        running_gateway(server, connections=ConnectionSettings(max_per_user=2)) as gateway,
        await gateway.connect("alice") as oldest,
        await gateway.connect("alice") as older,
        await gateway.connect("bob") as bob,
        await gateway.connect("alice") as newest,
    ):
        assert await oldest.ended() == 4509
        for client in (older, bob, newest):
            await client.nothing_came()
        await gateway.presence_becomes("alice", older.welcome["connectionId"], newest.welcome["connectionId"])


async def test_the_same_device_goes_first_and_the_oldest_stays(server: Server) -> None:
    async with (
        running_gateway(server, connections=ConnectionSettings(max_per_user=2)) as gateway,
        await gateway.connect("alice", device="laptop") as oldest,
        await gateway.connect("alice", device="phone") as phone,
        await gateway.connect("alice", device="phone") as newest,
    ):
        assert await phone.ended() == 4509
        await oldest.nothing_came()
        await newest.nothing_came()


async def test_refusing_the_excess_leaves_everyone_but_lets_a_device_come_back(server: Server) -> None:
    limits = ConnectionSettings(max_per_user=2, on_excess="refuse")
    async with (
        running_gateway(server, connections=limits) as gateway,
        await gateway.connect("alice", device="laptop") as laptop,
        await gateway.connect("alice", device="phone") as phone,
    ):
        for query in ("", "device_id=watch"):
            problem = await gateway.refused(query, headers=bearer("alice"))
            assert (problem.status, problem.code) == (429, "RATE_LIMITED")
        async with await gateway.connect("alice", device="phone") as newer:
            assert await phone.ended() == 4509
            await laptop.nothing_came()
            await newer.nothing_came()


async def test_a_device_that_connects_many_times_at_once_ends_with_one_connection(gateway: RunningGateway) -> None:
    clients: list[Client] = []

    async def come() -> None:
        with contextlib.suppress(ConnectionClosed):
            clients.append(await gateway.connect("alice", device="phone"))

    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(come)
    await eventually(lambda: len(gateway.gateway.connections) == 1)
    [alive] = gateway.gateway.connections
    await gateway.presence_becomes("alice", alive.connection_id)
    assert gateway.observer.counts["connection_closed", "4509"] == 19
    for client in clients:
        await client.socket.close()


@pytest.mark.parametrize("policy", ["kick-oldest", "refuse"])
async def test_a_crowd_at_the_same_moment_gets_no_further_than_the_limit(server: Server, policy: str) -> None:
    limits = ConnectionSettings(max_per_user=3, on_excess="refuse" if policy == "refuse" else "kick-oldest")
    async with running_gateway(server, connections=limits) as gateway:
        clients: list[Client] = []

        async def come() -> None:
            # Turned down, or closed again before the welcome: both are told by the library in its own ways.
            with contextlib.suppress(InvalidStatus, ConnectionClosed):
                clients.append(await gateway.connect("alice"))

        async with anyio.create_task_group() as tasks:
            for _ in range(30):
                tasks.start_soon(come)
        await eventually(lambda: len(gateway.gateway.connections) == 3)
        alive = {connection.connection_id for connection in gateway.gateway.connections}
        await gateway.presence_becomes("alice", *alive)
        await gateway.send_down(record("alice"))
        received = 0
        for client in clients:
            if client.welcome["connectionId"] in alive:
                await client.expect("new-message")
                received += 1
            await client.socket.close()
        assert received == 3


# Presence ends with the connection, and only with its own.


async def test_presence_ends_with_the_connection_however_that_ends(gateway: RunningGateway) -> None:
    async with await gateway.connect("alice", device="stays") as stays:
        polite = await gateway.connect("alice")
        rude = await RawPeer.upgraded(gateway.host, gateway.port, "/ws", headers=bearer("alice"))
        silent = await RawPeer.upgraded(gateway.host, gateway.port, "/ws", headers=bearer("alice"))
        for peer in (rude, silent):
            assert (await peer.receive_frame()).opcode == TEXT
        assert len(await gateway.presence("alice")) == 4
        await polite.socket.close()
        await rude.reset()
        await silent.aclose()
        await eventually(lambda: len(gateway.gateway.connections) == 1)
        await gateway.presence_becomes("alice", stays.welcome["connectionId"])


async def test_the_end_of_an_old_connection_leaves_the_new_ones_presence(gateway: RunningGateway) -> None:
    """The store is slow just while a device reconnects: the old entry's removal comes after the new entry."""
    old = await gateway.connect("alice", device="phone")
    gateway.store.hang()
    await old.socket.close()
    await eventually(lambda: not gateway.gateway.connections)
    socket = await open_socket(gateway.url("device_id=phone"), headers=bearer("alice"))
    gateway.store.release()
    welcome = json.loads(await socket.recv())["data"]
    await gateway.presence_becomes("alice", welcome["connectionId"])
    await socket.close()


# Addresses.


async def test_connections_from_one_address_are_limited(server: Server) -> None:
    async with (
        running_gateway(server, connections=ConnectionSettings(max_per_ip=2)) as gateway,
        await gateway.connect("alice"),
        await gateway.connect("bob"),
    ):
        # Nobody trusted said so, so nobody is believed.
        for claim in ([], [("X-Forwarded-For", "203.0.113.7")], [("X-Real-IP", "203.0.113.7")]):
            problem = await gateway.refused(headers=[*bearer("carol"), *claim])
            assert (problem.status, problem.code) == (429, "RATE_LIMITED")
            assert int(problem.retry_after or 0) >= 1


@pytest.mark.parametrize(
    "spoofed",
    [
        pytest.param([("X-Forwarded-For", "198.51.100.1, 203.0.113.7")], id="appended to the line"),
        pytest.param([("X-Forwarded-For", "198.51.100.2"), ("X-Forwarded-For", "203.0.113.7")], id="a line of its own"),
        pytest.param([("X-Forwarded-For", "198.51.100.3,203.0.113.7, 10.0.0.9")], id="through two proxies"),
        pytest.param([("X-Forwarded-For", "nonsense, 203.0.113.7:51234")], id="with a port"),
        pytest.param([("X-Real-IP", "198.51.100.4"), ("X-Forwarded-For", "203.0.113.7")], id="another header"),
        pytest.param([("X-Forwarded-For", "::ffff:203.0.113.7")], id="IPv4 in IPv6"),
    ],
)
async def test_behind_trusted_proxies_the_address_is_the_one_they_vouch_for(
    server: Server, spoofed: list[tuple[str, str]]
) -> None:
    network = ServerSettings(trusted_proxies=("127.0.0.0/8", "10.0.0.0/8"))
    limits = ConnectionSettings(max_per_ip=1)
    async with (
        running_gateway(server, network=network, connections=limits) as gateway,
        await gateway.connect("alice", headers=[("X-Forwarded-For", "203.0.113.7")]),
    ):
        assert (await gateway.refused(headers=[*bearer("bob"), *spoofed])).status == 429
        async with await gateway.connect("carol", headers=[("X-Forwarded-For", "203.0.113.7, 203.0.113.8")]):
            pass


async def test_a_place_is_given_back_whatever_became_of_the_client(server: Server) -> None:
    limits = ConnectionSettings(max_per_ip=1, max_total=1)
    async with running_gateway(server, connections=limits) as gateway:
        await gateway.refused(headers=[("Authorization", "Bearer bad")])
        peer = await RawPeer.upgraded(gateway.host, gateway.port, "/ws", headers=bearer("alice"))
        await peer.reset()
        await eventually(lambda: not gateway.gateway.connections)
        async with await gateway.connect("alice"):
            assert (await gateway.refused(headers=bearer("bob"))).status in {429, 503}
        await eventually(lambda: not gateway.gateway.connections)
        async with await gateway.connect("bob"):
            pass


# Heartbeat. On a plain ASGI server pings are the server's own matter.

BEAT = ConnectionSettings(ping_interval_seconds=0.5, pong_timeout_seconds=1.0)


async def test_the_gateway_pings_and_a_silent_peer_is_closed() -> None:
    async with running_gateway(connections=BEAT) as gateway:
        silent = await RawPeer.upgraded(gateway.host, gateway.port, "/ws", headers=bearer("alice"))
        with anyio.fail_after(PATIENCE_SECONDS):
            assert (await silent.receive_frame()).opcode == TEXT
            assert (await silent.receive_frame()).opcode == PING
            while (frame := await silent.receive_frame()).opcode == PING:
                pass
        assert (frame.opcode, frame.close_code) == (CLOSE, 4000)
        await eventually(lambda: gateway.observer.counts["connection_closed", "4000"] == 1)
        await gateway.presence_becomes("alice")
        await silent.aclose()


async def test_peers_that_send_anything_at_all_live() -> None:
    async with running_gateway(connections=BEAT) as gateway:

        async def live_by(opcode: int, payload: bytes, first: bytes | None = None, *, fin: bool = True) -> None:
            peer = await RawPeer.upgraded(gateway.host, gateway.port, "/ws", headers=bearer(f"user-{opcode}"))
            if first is not None:
                await peer.send_frame(TEXT, first, fin=False)
            pings = 0
            while pings < 4:
                frame = await peer.receive_frame()
                assert frame.opcode != CLOSE, (opcode, frame.close_code)
                if frame.opcode == PING:
                    pings += 1
                    await peer.send_frame(opcode, payload, fin=fin)
            await peer.aclose()

        with anyio.fail_after(PATIENCE_SECONDS):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(live_by, PONG, b"")
                tasks.start_soon(live_by, PING, b"")
                tasks.start_soon(live_by, TEXT, b'{"type":"ping"}')
                tasks.start_soon(partial(live_by, CONTINUATION, b" ", b'{"type":', fin=False))


async def test_deadlines_stand_still_while_the_gateway_does_not_read() -> None:
    """The window is full, so the client's pongs are not read: that is not the client's fault."""
    limits = ConnectionSettings(ping_interval_seconds=0.5, pong_timeout_seconds=0.5, max_inflight_messages=1)
    async with (
        running_gateway(connections=limits) as gateway,
        await gateway.connect("alice") as waiting,
        await gateway.connect("bob") as witness,
    ):
        gateway.publisher.hold()
        await waiting.send_message()
        silent = await RawPeer.upgraded(gateway.host, gateway.port, "/ws", headers=bearer("carol"))
        with anyio.fail_after(PATIENCE_SECONDS):
            while (await silent.receive_frame()).opcode != CLOSE:
                pass
        await silent.aclose()
        await witness.nothing_came()
        gateway.publisher.release()
        await waiting.expect("message-ack")
        await waiting.nothing_came()


# Slow consumers.


async def test_who_does_not_read_is_closed_and_hurts_nobody(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    # It reads everything after all, and is not cut off meanwhile.
    monkeypatch.setattr(SocketTransport, "close_seconds", PATIENCE_SECONDS)
    monkeypatch.setattr(asgi_transport, "CLOSE_SECONDS", PATIENCE_SECONDS)
    limits = ConnectionSettings(send_queue_bytes=65536)
    async with running_gateway(server, connections=limits) as gateway, await gateway.connect("fast") as fast:
        slow = await RawPeer.connect(gateway.host, gateway.port, receive_buffer=65536)
        request = (
            "GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        )
        key = "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
        await slow.send(f"{request}{key}Authorization: Bearer {mint('slow')}\r\n\r\n".encode())
        await slow.receive_head()
        await eventually(lambda: len(gateway.gateway.connections) == 2)
        sent = 0
        content = "x" * 20_000
        most_waiting = 0
        with anyio.fail_after(PATIENCE_SECONDS):
            while not gateway.undelivered():
                both = record("fast", message_id=sent, content=content)
                await gateway.send_down({**both, "target_user_ids": ["fast", "slow"]})
                frame = await fast.expect("new-message")
                assert frame["id"] == str(sent)
                sent += 1
                most_waiting = max(most_waiting, gateway.observer.waiting_bytes)
                assert sent < 2000, "nobody ever stops it"
        assert most_waiting <= 2 * 65536
        lost = gateway.undelivered()
        assert lost[0]["reason"] == "slow-consumer"
        assert all(r["target_user_ids"] == ["slow"] for r in lost)
        # It is out at once, with what follows; and told why, should it ever read.
        await gateway.presence_becomes("slow")
        with anyio.fail_after(PATIENCE_SECONDS):
            received = set()
            while (frame_of_slow := await slow.receive_frame()).opcode != CLOSE:
                data = json.loads(frame_of_slow.payload)
                if data["type"] == "new-message":
                    received.add(int(data["data"]["id"]))
        assert frame_of_slow.close_code == 4008
        await slow.aclose()
        await gateway.settled()
        # Nothing is lost without a word: it got a record, or the topic has it.
        assert received | {r["record"]["message_id"] for r in gateway.undelivered()} == set(range(sent))
        await eventually(lambda: gateway.observer.counts["connection_closed", "4008"] == 1)
        assert gateway.observer.waiting_bytes == 0


@pytest.mark.usefixtures("_quick_cut_offs")
async def test_who_neither_reads_nor_leaves_is_cut_off(server: Server) -> None:
    """The close frame never gets through; the socket and its place are freed all the same."""
    limits = ConnectionSettings(send_queue_bytes=65536, max_per_user=1)
    async with running_gateway(server, connections=limits) as gateway:
        peer = await RawPeer.upgraded(gateway.host, gateway.port, "/ws", headers=bearer("alice"), receive_buffer=4096)
        while not gateway.undelivered():
            await gateway.send_down(record("alice", content="x" * 500_000))
            await anyio.sleep(0.01)
        await eventually(lambda: not gateway.gateway.connections)
        await peer.aclose()


# An authenticator of somebody else's.


class Whoever:
    """Believes everything, and fails on demand."""

    def __init__(self, expires_at: int) -> None:
        self.expires_at = expires_at

    async def authenticate(self, credentials: object, /) -> Identity | Refusal:
        token = getattr(credentials, "token", None)
        if token == "raise":
            raise RuntimeError("the plugin is broken")
        return Identity(token, self.expires_at)  # type: ignore[arg-type]  # on purpose, whatever the client sent

    async def aclose(self) -> None:
        pass


async def test_an_authenticator_that_fails_harms_nobody_else(server: Server) -> None:
    async with (
        running_gateway(server, authenticator=Whoever(2**45)) as gateway,
        await gateway.connect(token="alice") as client,
    ):
        problem = await gateway.refused(headers=[("Authorization", "Bearer raise")])
        assert (problem.status, problem.code) == (503, "UNAVAILABLE")
        await client.send("refresh-token", token="raise")
        assert (await client.expect("error"))["code"] == "UNAVAILABLE"
        await client.nothing_came()
        assert gateway.gateway.ready


async def test_an_authenticators_word_is_checked(server: Server) -> None:
    async with running_gateway(server, authenticator=Whoever(2**45)) as gateway:
        for user_id in ("a\tb", "x" * 129):
            assert (await gateway.refused(headers=[("Authorization", f"Bearer {user_id}")])).status == 401
    async with running_gateway(server, authenticator=Whoever(1)) as gateway:
        problem = await gateway.refused(headers=[("Authorization", "Bearer alice")])
        assert (problem.status, problem.code) == (401, "TOKEN_EXPIRED")
