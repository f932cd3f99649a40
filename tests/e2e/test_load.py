"""Two thousand clients at once: nothing lost, nothing twice, every conversation in order."""

import asyncio
import json
from collections import defaultdict
from typing import Any

import anyio
import pytest
from tests.e2e.light_client import LightClient, allow_many_files
from tests.e2e.running_gateway import RunningGateway, Server, eventually, mint, running_gateway

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("_quick_commits")]

CLIENTS = 2_000
UP_EACH = 10
UNICAST_RECORDS = 10_000
FAN_OUT_RECORDS = 1_000
FAN_OUT = 10
CONVERSATIONS = 100
SECONDS = 150  # ten times what it takes where nothing else runs


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, Any]]:
    """As `imgateway serve` runs."""
    return "asyncio", {"use_uvloop": True}


class Chatter:
    """One user: sends its messages and keeps what comes."""

    def __init__(self, number: int) -> None:
        self.user_id = f"user-{number}"
        self.welcomed = asyncio.Event()
        self.acked: list[str] = []
        self.received: list[tuple[str, int]] = []
        self.other: list[Any] = []
        self.client: LightClient | None = None

    def on_text(self, text: bytes) -> None:
        frame = json.loads(text)
        data = frame["data"]
        if frame["type"] == "new-message":
            self.received.append((data["conversationId"], data["seqId"]))
        elif frame["type"] == "message-ack" and data["status"] == "accepted":
            self.acked.append(data["client_msg_id"])
        elif frame["type"] == "welcome":
            self.welcomed.set()
        else:
            self.other.append(frame)

    async def connect(self, gateway: RunningGateway) -> None:
        self.client = await LightClient.connect(gateway.host, gateway.port, mint(self.user_id), self.on_text)
        await self.client.upgraded
        await self.welcomed.wait()

    def send(self, n: int) -> None:
        assert self.client is not None
        # Two conversations of its own, so that order within each can be told from order in all.
        message = {"conversationId": f"{self.user_id}/{n % 2}", "content": str(n), "messageType": 1}
        message["client_msg_id"] = f"{self.user_id}/{n}"
        self.client.send_text(json.dumps({"type": "send-message", "data": message}).encode())


def downstream() -> list[tuple[str, dict[str, Any]]]:
    """Records with their keys; the n-th one of each conversation has seq_id n."""
    records = []
    for n in range(UNICAST_RECORDS + FAN_OUT_RECORDS):
        fans_out = n % (UNICAST_RECORDS // FAN_OUT_RECORDS + 1) == 0
        targets = [f"user-{(n * 37 + k * 101) % CLIENTS}" for k in range(FAN_OUT if fans_out else 1)]
        conversation = f"down-{n % CONVERSATIONS}"
        record = {
            "target_user_ids": targets, "message_id": n, "conversation_id": conversation, "sender_id": "somebody",
            "message_type": 1, "content": "x" * 120, "seq_id": n // CONVERSATIONS, "timestamp": 1,
        }  # fmt: skip
        records.append((conversation, record))
    return records


async def test_two_thousand_clients_and_twenty_thousand_messages_each_way(server: Server) -> None:
    if not allow_many_files(2 * CLIENTS):
        pytest.fail("this machine does not allow so many open files")
    async with running_gateway(server) as gateway:
        chatters = [Chatter(n) for n in range(CLIENTS)]
        with anyio.fail_after(SECONDS):
            for start in range(0, CLIENTS, 100):
                async with anyio.create_task_group() as tasks:
                    for chatter in chatters[start : start + 100]:
                        tasks.start_soon(chatter.connect, gateway)
            records = downstream()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_send_up, chatters)
                tasks.start_soon(_send_down, gateway, records)
            expected = _expected(records)
            assert sum(map(len, expected.values())) == UNICAST_RECORDS + FAN_OUT_RECORDS * FAN_OUT == 20_000
            await eventually(lambda: sum(len(c.acked) for c in chatters) >= CLIENTS * UP_EACH, SECONDS)
            await eventually(lambda: sum(len(c.received) for c in chatters) >= 20_000, SECONDS)
        # Up: each message once, each conversation in the order sent, each acked.
        upstream: dict[str, list[int]] = defaultdict(list)
        for record in gateway.upstream():
            assert record["conversation_id"].startswith(record["user_id"])
            upstream[record["conversation_id"]].append(int(record["content"]))
        for chatter in chatters:
            assert sorted(chatter.acked) == sorted(f"{chatter.user_id}/{n}" for n in range(UP_EACH))
            for half in range(2):
                assert upstream.pop(f"{chatter.user_id}/{half}") == list(range(half, UP_EACH, 2))
            assert not chatter.other
        assert not upstream
        # Down: each user everything for it once, each conversation in order.
        for chatter in chatters:
            by_conversation: dict[str, list[int]] = defaultdict(list)
            for conversation, seq_id in chatter.received:
                by_conversation[conversation].append(seq_id)
            assert by_conversation == expected_by_conversation(expected[chatter.user_id])
        await gateway.settled()
        assert not gateway.undelivered()
        assert len(gateway.gateway.connections) == CLIENTS
        assert gateway.observer.waiting_bytes == 0
        for chatter in chatters:
            assert chatter.client is not None
            chatter.client.abort()
        await eventually(lambda: not gateway.gateway.connections)


async def _send_up(chatters: list[Chatter]) -> None:
    for n in range(UP_EACH):
        for chatter in chatters:
            chatter.send(n)
        await asyncio.sleep(0)


async def _send_down(gateway: RunningGateway, records: list[tuple[str, dict[str, Any]]]) -> None:
    for conversation, record in records:
        await gateway.send_down(record, key=conversation)


def _expected(records: list[tuple[str, dict[str, Any]]]) -> dict[str, list[tuple[str, int]]]:
    expected: dict[str, list[tuple[str, int]]] = defaultdict(list)
    for conversation, record in records:
        for user_id in record["target_user_ids"]:
            expected[user_id].append((conversation, record["seq_id"]))
    return expected


def expected_by_conversation(received: list[tuple[str, int]]) -> dict[str, list[int]]:
    by_conversation: dict[str, list[int]] = defaultdict(list)
    for conversation, seq_id in received:
        by_conversation[conversation].append(seq_id)
    return by_conversation
