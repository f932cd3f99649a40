"""The end of a gateway, polite and impolite: contract section 8."""

import os
import re
import signal
from pathlib import Path

import anyio
import httpx
import pytest
from tests.e2e.gateway_process import gateway_process
from tests.e2e.running_gateway import GATEWAY_ID, Server, eventually, mint, running_gateway
from tests.e2e.websocket_client import PATIENCE_SECONDS, open_socket, refusal

from imgateway.core import delivery
from imgateway.core import gateway as gateway_module
from imgateway.core.settings import GatewaySettings
from imgateway.model import GatewayId
from imgateway.testing.raw_peer import TEXT, RawPeer, client_frame

pytestmark = pytest.mark.anyio


def record(user_id: str) -> dict[str, object]:
    return {
        "target_user_ids": [user_id], "message_id": 1, "conversation_id": "c-1", "sender_id": "bob",
        "message_type": 1, "content": "hello", "seq_id": 1, "timestamp": 1,
    }  # fmt: skip


async def test_a_drain_step_by_step(server: Server) -> None:
    async with (
        running_gateway(server) as gateway,
        await gateway.connect("idle") as idle,
        await gateway.connect("busy") as busy,
        anyio.create_task_group() as tasks,
    ):
        assert [i.id for i in gateway.embedded.services._instances("im-gateway")] == [GATEWAY_ID]
        gateway.publisher.hold()
        await busy.send_message("in-flight")
        await eventually(lambda: gateway.publisher.held == 1)
        tasks.start_soon(gateway.gateway.drain)
        # Everyone is told, and who waits for nothing is closed; presence goes with the socket.
        farewell = await idle.expect("reconnect")
        assert set(farewell) == {"afterMs", "reason"}
        assert isinstance(farewell["afterMs"], int)
        assert 0 <= farewell["afterMs"] < 60_000
        assert await idle.ended() == 1012
        await busy.expect("reconnect")
        await eventually(lambda: len(gateway.gateway.connections) == 1)
        await gateway.presence_becomes("idle")
        assert await gateway.presence("busy")
        # Not ready, not to be found, and nobody is let in any more.
        async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE_SECONDS) as http:
            response = await http.get(gateway.http_url("/readyz"))
            assert (response.status_code, response.json()["failing"][0]) == (503, "gateway")
            assert (await http.get(gateway.http_url("/healthz"))).status_code == 200
        assert not gateway.embedded.services._instances("im-gateway")
        problem = await gateway.refused(headers=[("Authorization", f"Bearer {mint()}")])
        assert (problem.status, problem.code) == (503, "DRAINING")
        assert int(problem.retry_after or 0) >= 1
        # What comes down is delivered still; what goes up has to wait for the next gateway.
        await gateway.send_down(record("busy"))
        assert (await busy.expect("new-message"))["id"] == "1"
        await busy.send_message("too late")
        error = await busy.expect("error")
        assert (error["code"], error["client_msg_id"]) == ("DRAINING", "too late")
        # What was in flight is answered before the close.
        gateway.publisher.release()
        assert (await busy.expect("message-ack"))["client_msg_id"] == "in-flight"
        assert await busy.ended() == 1012
    assert not await gateway.presence("busy")
    assert [r["client_msg_id"] for r in gateway.upstream()] == ["in-flight"]
    group, topic = gateway.topics.downstream_group(GATEWAY_ID), gateway.topics.downstream(GATEWAY_ID)
    assert sum(gateway.broker.committed(group, topic).values()) == 1


async def test_the_next_process_with_the_same_id_takes_over_where_the_first_one_ended() -> None:
    async with running_gateway() as first, running_gateway(embedded=first.embedded, wait_ready=False) as second:
        problem = await second.refused(headers=[("Authorization", f"Bearer {mint()}")])
        assert (problem.status, problem.code) == (503, "UNAVAILABLE")
        await first.send_down(record("nobody"))
        await first.gateway.drain()
        with anyio.fail_after(PATIENCE_SECONDS):
            await second.gateway.wait_ready()
        await second.send_down(record("nobody"))
        await second.settled()
        assert len(second.undelivered()) == 2


async def test_a_broker_that_never_answers_does_not_keep_the_drain(server: Server) -> None:
    async with running_gateway(server, gateway=GatewaySettings(id=GATEWAY_ID, drain_seconds=0.5)) as gateway:
        client = await gateway.connect("alice")
        gateway.publisher.hold()
        await client.send_message()
        await eventually(lambda: gateway.publisher.held == 1)
        with anyio.fail_after(PATIENCE_SECONDS):
            await gateway.gateway.drain()
        await client.expect("reconnect")
    assert await client.ended() == 1012
    assert not await gateway.presence("alice")


async def test_who_does_not_leave_does_not_keep_positions_from_being_committed(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "COMMIT_SECONDS", 1000)
    # It is cut off early, so that there is time enough for what comes after that.
    monkeypatch.setattr(gateway_module, "CUT_OFF_SHARE", 0.1)
    async with running_gateway(server, gateway=GatewaySettings(id=GATEWAY_ID, drain_seconds=10)) as gateway:
        headers = [("Authorization", f"Bearer {mint('stubborn')}")]
        peer = await RawPeer.upgraded(gateway.host, gateway.port, "/ws", headers=headers)
        await gateway.send_down(record("nobody"))
        await eventually(lambda: len(gateway.undelivered()) == 1)
        group, topic = gateway.topics.downstream_group(GATEWAY_ID), gateway.topics.downstream(GATEWAY_ID)
        assert not gateway.broker.committed(group, topic)
        await gateway.gateway.drain()
        assert sum(gateway.broker.committed(group, topic).values()) == 1
        assert not gateway.gateway.connections
        assert not await gateway.presence("stubborn")
        await peer.aclose()


async def test_reconnecting_clients_are_spread_over_time() -> None:
    async with running_gateway() as gateway:
        clients = [await gateway.connect(f"user-{n}") for n in range(30)]
        await gateway.gateway.drain()
        delays = {(await client.expect("reconnect"))["afterMs"] for client in clients}
        assert len(delays) > 20
        for client in clients:
            assert await client.ended() == 1012


async def test_leaving_without_a_drain_cuts_everyone_off_and_leaves_nothing(server: Server) -> None:
    async with running_gateway(server, gateway=GatewaySettings(id=GATEWAY_ID, drain_seconds=0)) as gateway:
        client = await gateway.connect("alice")
        peer = await RawPeer.upgraded(
            gateway.host, gateway.port, "/ws", headers=[("Authorization", f"Bearer {mint()}")]
        )
    assert await client.ended() in {1012, 1006}
    await peer.aclose()
    assert not await gateway.presence("alice")
    assert not gateway.gateway.connections


async def test_a_gateway_that_loses_its_id_sends_everyone_away_and_comes_back(server: Server) -> None:
    async with running_gateway(server) as gateway, await gateway.connect("alice") as client:
        gateway.embedded.services.revoke(GatewayId(GATEWAY_ID))
        assert await client.ended() == 1012
        await eventually(lambda: gateway.gateway.ready)
        async with await gateway.connect("alice") as again:
            await gateway.send_down(record("alice"))
            await again.expect("new-message")


# As a process.


async def test_sigterm_drains_and_ends_with_0() -> None:
    async with gateway_process(GATEWAY__DRAIN_SECONDS=20) as gateway:
        async with await gateway.connect("alice") as alice, await gateway.connect("bob") as bob:
            assert (await gateway.get("/readyz")).status_code == 200
            for n in range(50):
                await alice.send_message(f"m-{n}")
            gateway.send_signal(signal.SIGTERM)
            acked, told = set(), None
            for _ in range(51):
                frame = await alice.frame()
                if frame["type"] == "message-ack":
                    acked.add(frame["data"]["client_msg_id"])
                elif frame["type"] == "reconnect":
                    told = frame["data"]
                    break
            assert told is not None
            # Each message was acked, or turned down with a word, or its frame was never read: none is lost silently.
            assert acked <= {f"m-{n}" for n in range(50)}
            assert await alice.ended() == 1012
            assert (await bob.expect("reconnect"))["reason"] == told["reason"]
            assert await bob.ended() == 1012
        assert await gateway.ended() == 0
        assert "Traceback" not in gateway.output.decode()
        assert gateway.seconds_to_end < 20


async def test_sigint_does_the_same() -> None:
    async with gateway_process() as gateway, await gateway.connect() as client:
        gateway.send_signal(signal.SIGINT)
        await client.expect("reconnect")
        assert await client.ended() == 1012
        assert await gateway.ended() == 0


async def test_sigterm_while_it_is_still_loading_ends_it_with_0(tmp_path: Path) -> None:
    # Nobody writes it, so that loading goes no further than this.
    os.mkfifo(tmp_path / "gateway.toml")
    async with gateway_process("--config", str(tmp_path / "gateway.toml"), ready=False) as gateway:
        with anyio.fail_after(PATIENCE_SECONDS):
            while not _catches(gateway.process.pid, signal.SIGTERM):
                await anyio.sleep(0.001)
        assert not gateway.output
        gateway.send_signal(signal.SIGTERM)
        assert await gateway.ended() == 0


async def test_clients_that_never_read_do_not_keep_the_process_beyond_drain_seconds() -> None:
    """Their sockets' buffers are full, so neither the farewell nor the close frame gets through."""
    async with (
        gateway_process(GATEWAY__DRAIN_SECONDS=15, CONNECTIONS__SEND_QUEUE_BYTES=100_000_000) as gateway,
        await gateway.connect("polite") as polite,
    ):
        headers = [("Authorization", f"Bearer {mint('stuck')}")]
        members = '"conversationId":"c","messageType":1,"client_msg_id":"m"'
        message = '{"type":"send-message","data":{"content":"%d",' + members + "}}"
        peers = []
        for _ in range(2):
            peer = await RawPeer.upgraded(*_place(await gateway.url()), "/ws", headers=headers, receive_buffer=4096)
            peers.append(peer)
            # Each but the first is an error that is never read.
            await peer.send(b"".join(client_frame(TEXT, (message % n).encode()) for n in range(30_000)))
        with anyio.fail_after(PATIENCE_SECONDS):
            while _metric(await gateway.metrics(), 'messages_up_total{status="INVALID_MESSAGE"}') < 59_000:
                await anyio.sleep(0.05)
        gateway.send_signal(signal.SIGTERM)
        await polite.expect("reconnect")
        assert await polite.ended() == 1012
        assert await gateway.ended() == 0
        # It did everything else in the twentieth of its time that was left, and does not say that it took too long.
        assert gateway.log()[-1]["message"] == "drained"
        for peer in peers:
            await peer.aclose()


async def test_a_process_that_was_stopped_finds_nobody_dead_whose_pongs_it_has_not_read_yet() -> None:
    beat = {"CONNECTIONS__PING_INTERVAL_SECONDS": "1", "CONNECTIONS__PONG_TIMEOUT_SECONDS": "4"}
    async with gateway_process(ready=True, **beat) as gateway:
        clients = [await gateway.connect(f"user-{n}") for n in range(10)]
        gateway.process.send_signal(signal.SIGSTOP)
        await anyio.sleep(5.5)  # longer than a ping's interval and its timeout together: that is the point
        gateway.process.send_signal(signal.SIGCONT)
        for client in clients:
            for _ in range(2):
                await client.nothing_came()
            await client.socket.close()
        assert 'code="4000"' not in await gateway.metrics()


async def test_a_second_signal_ends_it_at_once() -> None:
    async with gateway_process(GATEWAY__DRAIN_SECONDS=300) as gateway:
        peer = await RawPeer.upgraded(
            *_place(await gateway.url()), "/ws", headers=[("Authorization", f"Bearer {mint()}")]
        )
        gateway.send_signal(signal.SIGTERM)
        await gateway.logged("draining")
        # While somebody takes his time to leave, it says that it is going.
        assert (await gateway.get("/readyz")).status_code == 503
        assert (await gateway.get("/healthz")).status_code == 200
        refused = await refusal(await gateway.url(), headers={"Authorization": f"Bearer {mint()}"})
        assert refused.status_code == 503
        gateway.send_signal(signal.SIGTERM)
        with anyio.fail_after(PATIENCE_SECONDS):
            assert await gateway.ended() != 0
        await peer.aclose()


async def test_ports_that_are_taken_end_it_with_1_and_a_line() -> None:
    async with gateway_process() as first:
        _, port = _place(await first.url())
        metrics = (await first.logged("metrics"))["url"].removesuffix("/metrics").rpartition(":")[2]
        for name, number in (("PORT", port), ("ADMIN_PORT", int(metrics))):
            async with gateway_process(ready=False, **{f"SERVER__{name}": number}) as second:
                assert await second.ended() == 1
                errors = [line for line in second.log() if line.get("text")]
                assert len(errors) == 1
                assert f"server.{name.lower()}" in errors[0]["text"]
                assert str(number) in errors[0]["text"]
        # The first one is not disturbed.
        async with await first.connect():
            pass


async def test_a_killed_gateways_port_can_be_taken_again_at_once() -> None:
    async with gateway_process() as first:
        socket = await open_socket(await first.url(), headers={"Authorization": f"Bearer {mint()}"})
        _, port = _place(await first.url())
        first.send_signal(signal.SIGKILL)
        await first.ended()
        async with gateway_process(SERVER__PORT=port) as second, await second.connect():
            pass
        await socket.close()


def _catches(process_id: int, number: signal.Signals) -> bool:
    status = Path(f"/proc/{process_id}/status").read_text()
    return bool(int(re.findall(r"SigCgt:\s*(\w+)", status)[0], 16) >> (number - 1) & 1)


def _place(url: str) -> tuple[str, int]:
    host, _, port = url.removeprefix("ws://").removesuffix("/ws").rpartition(":")
    return host, int(port)


def _metric(text: str, name: str) -> float:
    return sum(float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(f"imgateway_{name}"))
