"""What operators read: the metrics' names and values (contract section 3), and who may read them."""

import re

import anyio
import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.e2e.gateway_process import gateway_process
from tests.e2e.running_gateway import Server, eventually, mint, running_gateway
from tests.e2e.websocket_client import PATIENCE_SECONDS, Data

from imgateway.adapters.prometheus import PrometheusObserver
from imgateway.core.settings import ConnectionSettings
from imgateway.model import PublishFailure
from imgateway.testing.raw_peer import RawPeer

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("_quick_commits")]

NAMES = {
    "imgateway_connections", "imgateway_connects_total", "imgateway_messages_up_total", "imgateway_deliveries_total",
    "imgateway_downstream_lag", "imgateway_undelivered_total", "imgateway_closes_total", "imgateway_publish_seconds",
    "imgateway_outbox_bytes",
}  # fmt: skip


def values(text: str) -> dict[str, float]:
    """Samples by name, with the value of the only label there may be."""
    return {
        f"{sample.name} {' '.join(sample.labels.values())}".strip(): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


def record(*user_ids: str) -> Data:
    return {
        "target_user_ids": list(user_ids), "message_id": 1, "conversation_id": "c-1", "sender_id": "bob",
        "message_type": 1, "content": "hello", "seq_id": 1, "timestamp": 1,
    }  # fmt: skip


async def test_every_metric_counts_what_its_name_says(server: Server) -> None:
    observer = PrometheusObserver()

    def now() -> dict[str, float]:
        return values(observer.render()[0].decode())

    limits = ConnectionSettings(max_per_user=2, on_excess="refuse")
    async with running_gateway(server, connections=limits, observer=observer) as gateway:
        async with await gateway.connect("alice", device="a") as alice, await gateway.connect("bob") as bob:
            assert now()["imgateway_connections"] == 2
            # Up.
            await alice.send_message("m-1")
            await alice.expect("message-ack")
            await alice.send_message("m-1")
            await alice.expect("message-ack")
            await alice.socket.send("nonsense")
            await alice.expect("error")
            gateway.publisher.fail_next(PublishFailure.UNKNOWN)
            await alice.send_message("m-2")
            await alice.expect("error")
            # Down.
            await gateway.send_down(record("alice", "bob", "nobody", "nobody-else"), b"nonsense")
            await alice.expect("new-message")
            await bob.expect("new-message")
            await gateway.send_down({**record("nobody"), "signal_type": "typing", "payload": {}})
            await gateway.settled()
            # Refused, and ended.
            await gateway.refused(headers={"Authorization": "Bearer bad"})
            async with await gateway.connect("alice", device="b"):
                await gateway.refused(headers={"Authorization": f"Bearer {mint('alice')}"})
            async with await gateway.connect("alice", device="a"):
                assert await alice.ended() == 4509
            await bob.socket.close(4242, "my own code")
        await eventually(lambda: now()["imgateway_connections"] == 0)
        seen = now()
    assert {name for name in NAMES if any(key.startswith(name) for key in seen)} == NAMES
    assert {
        key: value
        for key, value in seen.items()
        if not key.startswith(("imgateway_publish_seconds", "imgateway_downstream_lag"))
    } == {
        "imgateway_connections": 0,
        "imgateway_connects_total accepted": 4,
        "imgateway_connects_total UNAUTHENTICATED": 1,
        "imgateway_connects_total RATE_LIMITED": 1,
        "imgateway_messages_up_total accepted": 1,
        "imgateway_messages_up_total duplicate": 1,
        "imgateway_messages_up_total INVALID_MESSAGE": 1,
        "imgateway_messages_up_total UNAVAILABLE": 1,
        "imgateway_deliveries_total handed_over": 2,
        "imgateway_deliveries_total unparsable": 1,
        "imgateway_deliveries_total dropped": 1,
        "imgateway_undelivered_total no-connection": 2,
        "imgateway_closes_total 4509": 1,
        "imgateway_closes_total 1000": 2,
        # Labels are a small fixed set, whatever clients send.
        "imgateway_closes_total other": 1,
        "imgateway_outbox_bytes": 0,
    }
    assert seen["imgateway_publish_seconds_count"] == 1
    assert seen["imgateway_publish_seconds_sum"] > 0
    assert seen["imgateway_downstream_lag"] == 0


@pytest.mark.usefixtures("_patient_presence")
async def test_bytes_that_wait_are_counted_and_forgotten_with_their_connection(server: Server) -> None:
    observer = PrometheusObserver()
    async with running_gateway(server, observer=observer) as gateway:
        gateway.store.hang()
        peer = await RawPeer.connect(gateway.host, gateway.port)
        lines = [
            "GET /ws HTTP/1.1",
            "Host: x",
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Version: 13",
        ]
        lines += ["Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==", f"Authorization: Bearer {mint('alice')}"]
        await peer.send("\r\n".join([*lines, "", ""]).encode())
        await peer.receive_head()
        await eventually(lambda: len(gateway.gateway.connections) == 1)
        # Before the welcome everything waits.
        await gateway.send_down(record("alice"))
        await eventually(lambda: values(observer.render()[0].decode())["imgateway_outbox_bytes"] > 100)
        async with anyio.create_task_group() as tasks:
            # It is closed before it was welcomed, with what waits for it.
            tasks.start_soon(gateway.gateway.drain)
            await eventually(lambda: values(observer.render()[0].decode())["imgateway_outbox_bytes"] == 0)
            assert await peer.receive_close() == 1012
            gateway.store.release()
        assert [r["reason"] for r in gateway.undelivered()] == ["no-connection"]
        await peer.aclose()


async def test_metrics_are_on_the_admin_port_only_and_may_need_a_token() -> None:
    async with gateway_process(SERVER__ADMIN_TOKEN="Wk3-an-admin-token-of-enough-bytes-9") as gateway:
        assert (await gateway.get("/metrics")).status_code == 404
        url = (await gateway.logged("metrics"))["url"]
        async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE_SECONDS) as http:
            for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Bearer {mint('alice')}"}):
                refused = await http.get(url, headers=headers)
                assert refused.status_code == 401
                assert refused.headers["content-type"] == "application/problem+json"
                assert refused.json()["code"] == "UNAUTHENTICATED"
            shown = await http.get(url, headers={"Authorization": "Bearer Wk3-an-admin-token-of-enough-bytes-9"})
            assert shown.status_code == 200
            assert shown.headers["content-type"].startswith("text/plain")
            assert "imgateway_connections 0.0" in shown.text
            # No WebSocket there.
            assert (await http.get(url.replace("/metrics", "/ws"))).status_code == 404


async def test_the_process_counts_what_its_clients_do() -> None:
    async with gateway_process() as gateway:
        async with await gateway.connect("alice") as client:
            await client.send_message()
            await client.expect("message-ack")
            seen = values(await gateway.metrics())
            assert seen["imgateway_connections"] == 1
            assert seen["imgateway_messages_up_total accepted"] == 1
        with anyio.fail_after(PATIENCE_SECONDS):
            while values(await gateway.metrics())["imgateway_connections"]:
                await anyio.sleep(0.02)
        assert re.search(r'imgateway_connects_total\{outcome="accepted"\} 1\.0', await gateway.metrics())


async def test_two_gateways_of_a_process_count_apart() -> None:
    first, second = PrometheusObserver(), PrometheusObserver()
    async with (
        running_gateway(observer=first) as one,
        running_gateway(observer=second),
        await one.connect("alice"),
    ):
        assert values(first.render()[0].decode())["imgateway_connections"] == 1
        assert values(second.render()[0].decode())["imgateway_connections"] == 0
