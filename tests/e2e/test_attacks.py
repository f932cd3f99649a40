"""Clients that mean harm: the right answer, bounded memory, the others unharmed, and no token anywhere."""

import contextlib
import gc
import json
import resource
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from tests.e2e.gateway_process import gateway_process
from tests.e2e.running_gateway import RunningGateway, Server, eventually, mint, running_gateway
from tests.e2e.websocket_client import PATIENCE_SECONDS, Client, open_socket
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.exceptions import ConnectionClosed, InvalidMessage, InvalidStatus

from imgateway.adapters.uvicorn import GatewayHttpProtocol
from imgateway.core.settings import ConnectionSettings, ServerSettings
from imgateway.model import Identity, UserId
from imgateway.ports import Authenticator
from imgateway.testing.raw_peer import CLOSE, CONTINUATION, TEXT, RawPeer, client_frame

pytestmark = pytest.mark.anyio


def bearer(user_id: str = "mallory") -> list[tuple[str, str]]:
    return [("Authorization", f"Bearer {mint(user_id)}")]


async def attacker(gateway: RunningGateway, query: str = "", **options: Any) -> RawPeer:
    return await RawPeer.upgraded(gateway.host, gateway.port, f"/ws?{query}", headers=bearer(), **options)


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


# Before the upgrade.


async def test_a_handshake_that_never_ends_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running_gateway() as gateway, await gateway.connect("alice") as alice:
        monkeypatch.setattr(GatewayHttpProtocol, "head_seconds", 0.5)
        peers = [await RawPeer.connect(gateway.host, gateway.port) for _ in range(20)]
        for peer in peers[:10]:
            await peer.send(b"GET /ws HTTP/1.1\r\nHost: x\r\nX-Slow: ")
        with anyio.fail_after(PATIENCE_SECONDS):
            for peer in peers:
                assert await peer.receive_rest() == b""
                await peer.aclose()
        await alice.nothing_came()
        assert gateway.observer.counts["connect_decided", "accepted"] == 1


async def test_a_token_of_any_size_is_turned_down_quickly() -> None:
    async with running_gateway() as gateway:
        await _offer_huge_tokens(gateway)
        assert not gateway.gateway.connections
        async with await gateway.connect("alice"):
            pass


async def _offer_huge_tokens(gateway: RunningGateway) -> None:
    for size in (8193, 20_000, 100_000, 5_000_000):
        peer = await RawPeer.connect(gateway.host, gateway.port)
        head = f"GET /ws HTTP/1.1\r\nHost: {gateway.address}\r\nAuthorization: Bearer "
        with anyio.fail_after(PATIENCE_SECONDS):
            try:
                await peer.send(head.encode() + b"e" * size + b"\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n")
                await peer.send(b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n")
                answer = await peer.receive_head()
            except (anyio.BrokenResourceError, ConnectionError):
                answer = b""
        assert answer == b"" or answer.split()[1] in {b"400", b"401", b"431"}
        await peer.aclose()


async def test_who_is_refused_by_a_frame_and_does_not_leave_is_thrown_out(
    gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It costs no session, so it must not cost a socket either."""
    # uvicorn gives it ten seconds.
    monkeypatch.setattr(
        WebSocketsSansIOProtocol, "close_timeout", property(lambda _: 0.2, lambda *_: None), raising=False
    )
    peer = await RawPeer.upgraded(gateway.host, gateway.port, "/ws?errors=frame")
    with anyio.fail_after(PATIENCE_SECONDS):
        assert (await peer.receive_frame()).opcode == TEXT
        assert (await peer.receive_frame()).opcode == CLOSE
        assert await peer.receive_rest() == b""
    await peer.aclose()


async def test_compression_is_not_spoken() -> None:
    async with running_gateway() as gateway:
        socket = await open_socket(gateway.url(), headers=bearer(), compression="deflate")
        assert socket.response is not None
        assert "Sec-WebSocket-Extensions" not in socket.response.headers
        await socket.close()


async def test_a_strange_user_is_no_way_to_another_topic_or_entry(gateway: RunningGateway) -> None:
    users = ["../../etc", "a:b", "{x}", "*", "im-upstream-topic", "user_session:alice", "a/b?c#d", "%0a", "$(id)"]
    async with await gateway.connect("alice"):
        for user_id in users:
            async with await gateway.connect(user_id) as client:
                await client.send_message(conversationId=user_id)
                await client.expect("message-ack")
                down = {"target_user_ids": [user_id], "message_id": 1, "conversation_id": user_id, "sender_id": user_id,
                        "message_type": 1, "content": "x", "seq_id": 1, "timestamp": 1}  # fmt: skip
                await gateway.send_down(down, key=user_id)
                assert (await client.expect("new-message"))["conversationId"] == user_id
        assert {record["user_id"] for record in gateway.upstream()} == set(users)
        assert len(await gateway.presence("alice")) == 1
    topics = set(gateway.broker._topics)
    assert topics <= {gateway.topics.upstream, gateway.topics.undelivered, "im-downstream-topic-gw-test"}


class Slow:
    """An authenticator that takes its time, until released."""

    def __init__(self) -> None:
        self.asked = 0
        self.released = anyio.Event()

    async def authenticate(self, credentials: object, /) -> Identity:
        self.asked += 1
        await self.released.wait()
        return Identity(UserId("mallory"), 2**45)

    async def aclose(self) -> None:
        pass


async def test_a_crowd_can_not_slip_past_the_limits_while_it_is_being_checked(server: Server) -> None:
    slow = Slow()
    authenticator: Authenticator = slow
    limits = ConnectionSettings(max_total=5)
    async with running_gateway(server, connections=limits, authenticator=authenticator) as gateway:
        statuses: list[int] = []

        async def come() -> None:
            try:
                socket = await open_socket(gateway.url("token=x"))
            except InvalidStatus as refused:
                statuses.append(refused.response.status_code)
            else:
                statuses.append(101)
                await socket.close()

        async with anyio.create_task_group() as tasks:
            for _ in range(12):
                tasks.start_soon(come)
            await eventually(lambda: len(statuses) == 7)
            assert slow.asked == 5
            slow.released.set()
        assert sorted(statuses) == [101] * 5 + [503] * 7


async def test_who_leaves_while_being_checked_gives_its_place_back(server: Server) -> None:
    slow = Slow()
    authenticator: Authenticator = slow
    limits = ConnectionSettings(max_total=5)
    async with running_gateway(server, connections=limits, authenticator=authenticator) as gateway:
        peers = [await RawPeer.connect(gateway.host, gateway.port) for _ in range(5)]
        for peer in peers:
            lines = ["GET /ws HTTP/1.1", "Host: x", "Upgrade: websocket", "Connection: Upgrade"]
            lines += ["Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="]
            await peer.send("\r\n".join([*lines, "", ""]).encode())
        await eventually(lambda: slow.asked == 5)
        assert (await gateway.refused()).status == 503
        for peer in peers:
            await peer.reset()
        slow.released.set()
        await eventually(lambda: not gateway.gateway.connections)
        for n in range(5):
            peers[n] = await RawPeer.upgraded(gateway.host, gateway.port, "/ws")
        for peer in peers:
            await peer.aclose()


# After the upgrade.


async def test_a_hundred_thousand_fragments_end_the_connection_and_cost_little() -> None:
    # So large a message is allowed, but not in so many pieces.
    network = ServerSettings(max_frame_bytes=1_000_000)
    async with running_gateway(network=network) as gateway, await gateway.connect("alice") as alice:
        flood = client_frame(TEXT, b'"', fin=False) + client_frame(CONTINUATION, b"x", fin=False) * 100_000
        before = resident_bytes()
        for _ in range(5):
            peer = await attacker(gateway)
            with anyio.fail_after(PATIENCE_SECONDS):
                async with anyio.create_task_group() as tasks:

                    async def send(to: RawPeer = peer) -> None:
                        with contextlib.suppress(anyio.BrokenResourceError):
                            await to.send(flood)

                    tasks.start_soon(send)
                    assert await peer.receive_close() == 1009
                    tasks.cancel_scope.cancel()
            await peer.aclose()
            await alice.nothing_came()
        gc.collect()
        assert resident_bytes() - before < 20 * 1024 * 1024


async def test_many_unfinished_messages_cost_no_more_than_their_limit(server: Server) -> None:
    async with running_gateway(server, connections=ConnectionSettings(max_per_user=1000)) as gateway:
        peers = [await attacker(gateway) for _ in range(100)]
        before = resident_bytes()
        piece = client_frame(TEXT, b"x" * 60_000, fin=False)
        for peer in peers:
            await peer.send(piece)
        async with await gateway.connect("alice") as alice:
            await alice.nothing_came()
            gc.collect()
            assert resident_bytes() - before < 100 * 65536 * 4
            for peer in peers:
                await peer.send(client_frame(CONTINUATION, b"x" * 10_000, fin=False))
                assert await peer.receive_close() == 1009
                await peer.aclose()
            await alice.nothing_came()


@pytest.mark.usefixtures("_patient_presence")
async def test_frames_before_the_welcome_wait_and_cost_no_more_than_a_window(server: Server) -> None:
    async with running_gateway(server) as gateway, await gateway.connect("alice") as alice:
        gateway.store.hang()
        peer = await attacker(gateway)
        flood = client_frame(TEXT, b'{"type":"nonsense","x":"' + b"x" * 60_000 + b'"}')
        with anyio.move_on_after(1.0) as stuck:
            for _ in range(1000):
                await peer.send(flood)
        assert stuck.cancelled_caught, "60 MB were taken in from somebody who is not welcomed"
        await alice.nothing_came()
        gateway.store.release()
        # It is served in order, and ended for what it sent.
        with anyio.fail_after(PATIENCE_SECONDS):
            types = []
            while (frame := await peer.receive_frame()).opcode != CLOSE:
                types.append(json.loads(frame.payload)["type"])
        assert types == ["welcome", *["error"] * 10]
        assert frame.close_code == 4504
        await peer.aclose()


async def test_who_sends_but_never_reads_is_stopped() -> None:
    """Every frame asks for an answer: what waits for this client is bounded all the same."""
    async with running_gateway() as gateway, await gateway.connect("alice") as alice:
        peer = await attacker(gateway, receive_buffer=4096)
        message = {"conversationId": "c", "content": "x", "messageType": 1, "client_msg_id": "m" * 128}
        text = json.dumps({"type": "send-message", "data": message}).encode()
        flood = client_frame(TEXT, text) * 1000

        async def send() -> None:
            try:
                while True:
                    await peer.send(flood)
            except anyio.BrokenResourceError:
                pass

        with anyio.fail_after(3 * PATIENCE_SECONDS):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(send)
                most = 0
                while gateway.observer.counts["connection_closed", "4008"] == 0:
                    most = max(most, gateway.observer.waiting_bytes)
                    await anyio.sleep(0.01)
                tasks.cancel_scope.cancel()
        assert most <= 2 * 262_144
        await alice.nothing_came()
        assert len(gateway.upstream()) == 1
        await peer.aclose()


# Tokens in what others read.


async def test_no_token_comes_out_of_the_process_whatever_clients_do_with_it() -> None:
    canary = "canaryCANARYcanary"
    good = mint("alice", note=canary)
    encoded = good.split(".")[1]
    bad = f"{canary}.{canary}.{canary}"
    async with gateway_process(OBSERVABILITY__LOG_LEVEL="debug", GATEWAY__DRAIN_SECONDS=3) as gateway:
        url = await gateway.url()
        place = url.removeprefix("ws://").removesuffix("/ws")
        http_url = f"http://{place}"
        host, _, port = place.rpartition(":")
        async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE_SECONDS) as http:
            for token in (good, bad):
                fields = {"Authorization": f"Bearer {token}", "Cookie": f"token={token}"}
                protocols = ["imgateway.json.v1", f"bearer.{token}"]
                for target, options in (
                    (f"{url}?token={token}", {}),
                    (f"{url}?tok%65n={token}", {}),
                    (f"{url}?errors=frame&token={token}&token={token}", {}),
                    (f"{url}/?token={token}", {}),
                    (f"ws://{place}/other?token={token}", {}),
                    (f"ws://{place}/{token}", {}),
                    (url, {"headers": fields}),
                    (url, {"subprotocols": protocols}),
                    (url, {"subprotocols": protocols[1:]}),
                    (url, {"headers": {"Authorization": token}}),
                    (f"{url}?token={token}", {"origin": "http://evil.example"}),
                    (f"{url}?token={token}&acks=1", {}),
                    (f"{url}?token={token}&device_id=%00", {}),
                ):
                    try:
                        socket = await open_socket(target, **options)
                    except (InvalidStatus, InvalidMessage):
                        continue
                    refreshes = [{"type": "refresh-token", "data": {"token": it}} for it in (token, [token])]
                    frames: list[str | bytes] = [*map(json.dumps, refreshes), token, token.encode()]
                    for frame in frames:
                        with contextlib.suppress(ConnectionClosed):
                            await socket.send(frame)
                    # Binary ends it.
                    await Client(socket).ended()
                    await socket.close()
                for path in ("/ws", "/healthz", "/readyz", "/nowhere", f"/{token}"):
                    for method in ("GET", "POST", "HEAD", "OPTIONS"):
                        await http.request(method, f"{http_url}{path}?token={token}", headers=fields)
                for request in (
                    f"GET /ws?token={token} HTTP/9.9\r\n\r\n",
                    f"GET /ws?token={token} HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
                    f"NONSENSE {token}\r\n\r\n",
                    f"GET /ws HTTP/1.1\r\nAuthorization: Bearer {token}\r\n bad fold\r\nX\r\n\r\n",
                    f"GET /ws?token={token} HTTP/1.1\r\nHost: x\r\nAuthor",
                ):
                    peer = await RawPeer.connect(host, int(port))
                    await peer.send(request.encode())
                    with anyio.move_on_after(0.2):
                        await peer.receive_rest()
                    await peer.aclose()
        metrics = await gateway.metrics()
        gateway.process.terminate()
        assert await gateway.ended() == 0
    output = gateway.output.decode()
    assert output.count("\n") > 3
    for text in (output, metrics):
        assert canary not in text
        assert encoded not in text
        assert good.rpartition(".")[2] not in text
        assert "Traceback" not in text
