"""From a back end's record to its users: the downstream half of contract section 5."""

import json
from typing import Any

import pytest
from tests.e2e.running_gateway import GATEWAY_ID, RunningGateway, Server, eventually, mint, running_gateway
from tests.e2e.websocket_client import Data

from imgateway.core.partitioning import partition_of
from imgateway.core.settings import ConnectionSettings, GatewaySettings
from imgateway.model import OutgoingRecord
from imgateway.testing.raw_peer import RawPeer

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("_quick_commits")]

BIG = 2**53 + 1
"""JavaScript would read 9007199254740992."""
MAX_UNSETTLED = 10_000
"""Records of one partition that may be open: contract section 5."""


def record(*targets: str, **members: Any) -> Data:
    """A downstream record with no more than it must have; a member given as None is left out."""
    whole = {
        "target_user_ids": list(targets),
        "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
        "message_id": 7,
        "conversation_id": "c-1",
        "sender_id": "bob",
        "message_type": 1,
        "content": "hello",
        "seq_id": 1,
        "timestamp": 1_700_000_000_123,
        **members,
    }
    return {name: value for name, value in whole.items() if value is not None}


def signal(*targets: str, **members: Any) -> Data:
    return {
        "target_user_ids": list(targets),
        "signal_type": "typing",
        "payload": {"on": True},
        "timestamp": 1,
        **members,
    }


# Shapes.


async def test_the_least_record_becomes_the_least_frame(gateway: RunningGateway) -> None:
    async with await gateway.connect("alice") as client:
        await gateway.send_down(record("alice"))
        assert await client.expect("new-message") == {
            "id": "7",
            "conversationId": "c-1",
            "sender": {"id": "bob"},
            "content": "hello",
            "messageType": 1,
            "seqId": 1,
            "createdAt": 1_700_000_000_123,
        }
        await gateway.settled()
    assert not gateway.undelivered()


async def test_everything_a_record_may_say_arrives(gateway: RunningGateway) -> None:
    async with await gateway.connect("alice") as client:
        await gateway.send_down(
            record(
                "alice",
                message_id=2**63 - 1,
                sender_info={"id": "bob", "username": "Bob 鲍勃", "avatar_url": "https://example.com/bob.png"},
                message_type=6,
                content="你好 🙂",
                seq_id=BIG,
                client_msg_id="m-1",
                extra={"n": BIG, "list": [1, None, {"a": 0.5}]},
            )
        )
        frame = await client.expect("new-message")
        assert frame == {
            "id": "9223372036854775807",
            "conversationId": "c-1",
            "sender": {"id": "bob", "username": "Bob 鲍勃", "avatarUrl": "https://example.com/bob.png"},
            "content": "你好 🙂",
            "messageType": 6,
            "seqId": BIG,
            "createdAt": 1_700_000_000_123,
            "client_msg_id": "m-1",
            "extra": {"n": BIG, "list": [1, None, {"a": 0.5}]},
        }


async def test_other_ways_to_write_a_record(gateway: RunningGateway) -> None:
    """What different back ends make of the same members."""
    async with await gateway.connect("alice", device="phone") as client:
        await gateway.send_down(
            record("alice", message_id="an-id", extra='{"a":[1]}', trace_id=None),
            record(target_user_ids=None, target_user_id="alice", extra="no JSON", sender_info={"username": "Bob"}),
            record("alice", require_ack=False, future_member={"a": 1}, sender_info={"id": "bob", "avatar_url": ""}),
            {**record("alice"), "sender_info": None, "client_msg_id": None, "extra": None, "target_user_id": None},
            {**record("alice"), "target_device_id": None, "signal_type": None},
            record("alice", target_device_id=""),
        )
        first = await client.expect("new-message")
        assert (first["id"], first["extra"]) == ("an-id", {"a": [1]})
        second = await client.expect("new-message")
        assert (second["extra"], second["sender"]) == ("no JSON", {"id": "bob", "username": "Bob"})
        await client.expect("new-message")
        fourth = await client.expect("new-message")
        assert set(fourth) == {"id", "conversationId", "sender", "content", "messageType", "seqId", "createdAt"}
        await client.expect("new-message")
        await client.expect("new-message")
        await gateway.settled()
    assert not gateway.undelivered()


async def test_a_signal_arrives_as_its_type_and_is_kept_for_nobody(gateway: RunningGateway) -> None:
    async with await gateway.connect("alice") as client:
        await gateway.send_down(
            signal("alice", "nobody"),
            signal("alice", signal_type="read-receipt", payload={"seq": BIG}),
            signal("alice", signal_type="list", payload=[1, "a"]),
        )
        assert (await client.expect("typing")) == {"on": True}
        assert (await client.expect("read-receipt")) == {"seq": BIG}
        frame = await client.frame()
        assert (frame["type"], frame["data"]) == ("list", [1, "a"])
        await gateway.settled()
    assert not gateway.undelivered()
    assert gateway.observer.counts["delivery", "dropped"] == 1


@pytest.mark.parametrize(
    "reserved",
    [
        "send-message", "mark-read", "message-received", "ping", "refresh-token", "welcome", "message-ack",
        "new-message", "error", "reply", "reconnect", "pong", "token-refreshed",
    ],
)  # fmt: skip
async def test_a_signal_can_not_pass_for_the_gateways_own_frames(shared_gateway: RunningGateway, reserved: str) -> None:
    async with await shared_gateway.connect("alice") as client:
        await shared_gateway.send_down(signal("alice", signal_type=reserved), signal("alice", signal_type="after"))
        await client.expect("after")


# To whom.


async def test_one_record_fans_out_to_every_device_of_every_target(gateway: RunningGateway) -> None:
    async with (
        await gateway.connect("alice", device="phone") as phone,
        await gateway.connect("alice", device="laptop") as laptop,
        await gateway.connect("carol") as carol,
        await gateway.connect("dave") as dave,
    ):
        await gateway.send_down(record("alice", "carol", "alice"), record("dave", message_id=8))
        for client in (phone, laptop, carol):
            assert (await client.expect("new-message"))["id"] == "7"
            await client.nothing_came()
        assert (await dave.expect("new-message"))["id"] == "8"
        await dave.nothing_came()


async def test_a_record_for_one_device_reaches_no_other(gateway: RunningGateway) -> None:
    async with (
        await gateway.connect("alice", device="phone") as phone,
        await gateway.connect("alice", device="laptop") as laptop,
        await gateway.connect("alice") as unnamed,
    ):
        await gateway.send_down(record("alice", target_device_id="phone"), record("alice", target_device_id="watch"))
        await phone.expect("new-message")
        await gateway.settled()
        for client in (phone, laptop, unnamed):
            await client.nothing_came()
    [undelivered] = gateway.undelivered()
    assert undelivered["record"]["target_device_id"] == "watch"


async def test_whom_nobody_could_reach_is_written_to_the_undelivered_topic(gateway: RunningGateway) -> None:
    sent = record("alice", "carol", "王", extra={"n": BIG}, conversation_id="c-9")
    async with await gateway.connect("alice"):
        await gateway.send_down(sent, key="c-9")
        await gateway.settled()
    [stored] = gateway.broker.records("im-undelivered-topic")
    assert stored.key == b"c-9"
    assert json.loads(stored.value) == {
        "record": sent,
        "reason": "no-connection",
        "gateway_id": GATEWAY_ID,
        "target_user_ids": ["carol", "王"],
    }
    assert gateway.observer.counts["undelivered", "no-connection"] == 2


async def test_every_user_with_a_bad_socket_goes_to_the_topic_while_the_rest_get_theirs(server: Server) -> None:
    """A client that left without a word between two records."""
    async with running_gateway(server) as gateway, await gateway.connect("alice") as alice:
        bearer = [("Authorization", f"Bearer {mint('ghost')}")]
        ghost = await RawPeer.upgraded(gateway.host, gateway.port, "/ws", headers=bearer)
        await ghost.receive_frame()
        await ghost.reset()
        await eventually(lambda: len(gateway.gateway.connections) == 1)
        await gateway.send_down(record("alice", "ghost"))
        await alice.expect("new-message")
        await gateway.settled()
        assert [r["target_user_ids"] for r in gateway.undelivered()] == [["ghost"]]


async def test_no_position_is_committed_before_the_undelivered_topic_took_the_record(server: Server) -> None:
    async with running_gateway(server) as gateway, await gateway.connect("alice") as client:
        group, topic = gateway.topics.downstream_group(GATEWAY_ID), gateway.topics.downstream(GATEWAY_ID)
        waiting, other = partition_of(b"c-1", 3), partition_of(b"c-2", 3)
        assert waiting != other
        gateway.publisher.hold()
        await gateway.send_down(record("nobody"), record("alice"))
        await gateway.send_down(record("alice"), key="c-2")
        for _ in range(2):
            await client.expect("new-message")
        await eventually(lambda: gateway.broker.committed(group, topic) == {other: 1})
        gateway.publisher.release()
        await eventually(lambda: gateway.broker.committed(group, topic) == {other: 1, waiting: 2})


# Order.


async def test_each_conversations_records_arrive_in_order(gateway: RunningGateway) -> None:
    async with await gateway.connect("alice") as alice, await gateway.connect("bob") as bob:
        for n in range(100):
            for conversation in ("c-a", "c-b", "c-c", "c-d"):
                down = record("alice", "bob", message_id=n, conversation_id=conversation, seq_id=n)
                await gateway.send_down(down, key=conversation)
        for client in (alice, bob):
            seen: dict[str, list[int]] = {}
            for _ in range(400):
                frame = await client.expect("new-message")
                seen.setdefault(frame["conversationId"], []).append(frame["seqId"])
            assert seen == {name: list(range(100)) for name in ("c-a", "c-b", "c-c", "c-d")}


# Records that can't be parsed.


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"nonsense", id="no JSON"),
        pytest.param(b"[]", id="array"),
        pytest.param(b"null", id="null"),
        pytest.param(b"{}", id="empty object"),
        pytest.param(b"\xff\xfe", id="no UTF-8"),
        pytest.param(json.dumps(record("alice")).encode()[:-1], id="cut off"),
        pytest.param(json.dumps(record("alice")).encode() + b"x", id="more behind it"),
        pytest.param(b"[" * 100_000, id="deep"),
        pytest.param(json.dumps(record()).encode(), id="no target"),
        pytest.param(json.dumps(record("")).encode(), id="empty target"),
        pytest.param(json.dumps(record("a\nb")).encode(), id="control character in a target"),
        pytest.param(json.dumps(record(target_user_ids="alice")).encode(), id="targets as text"),
        pytest.param(json.dumps(record(target_user_ids=["alice", 7])).encode(), id="a target as number"),
        pytest.param(json.dumps(record("alice", message_id=None)).encode(), id="no message_id"),
        pytest.param(json.dumps(record("alice", message_id=1.5)).encode(), id="message_id 1.5"),
        pytest.param(json.dumps(record("alice", content=None)).encode(), id="no content"),
        pytest.param(json.dumps(record("alice", seq_id="1")).encode(), id="seq_id text"),
        pytest.param(json.dumps(record("alice", extra=1)).encode().replace(b'"extra": 1', b'"extra": NaN'), id="NaN"),
        pytest.param(json.dumps(signal("alice", signal_type=7)).encode(), id="signal type number"),
        pytest.param(json.dumps(signal()).encode(), id="signal to nobody"),
    ],
)  # fmt: skip
async def test_a_record_that_can_not_be_parsed_stops_nothing(shared_gateway: RunningGateway, value: bytes) -> None:
    counted = shared_gateway.observer.counts["delivery", "unparsable"]
    async with await shared_gateway.connect("alice") as client:
        await shared_gateway.send_down(value, record("alice", message_id="after"))
        assert (await client.expect("new-message"))["id"] == "after"
    assert shared_gateway.observer.counts["delivery", "unparsable"] == counted + 1
    assert not shared_gateway.undelivered()


# Before and after this process.


async def test_what_stood_in_the_topic_before_is_delivered_and_marked() -> None:
    async with running_gateway() as earlier:
        await earlier.send_down(record("nobody", message_id="committed"))
        await earlier.settled()
    topic = earlier.topics.downstream(GATEWAY_ID)
    crowd = [record("nobody", message_id=n) for n in range(MAX_UNSETTLED)]
    for value in (*crowd, record("alice", message_id="left behind")):
        earlier.broker.append(OutgoingRecord(topic, b"c-1", json.dumps(value).encode()))
    async with running_gateway(embedded=earlier.embedded, wait_ready=False) as gateway:
        # While nothing becomes undelivered, the reading stops before the last one: time for somebody to connect.
        gateway.publisher.hold()
        await gateway.gateway.wait_ready()
        async with await gateway.connect("alice") as client:
            await eventually(lambda: gateway.publisher.held == MAX_UNSETTLED)
            await client.nothing_came()
            gateway.publisher.release()
            left = await client.expect("new-message")
            assert (left["id"], left["redelivered"]) == ("left behind", True)
            await gateway.send_down(record("alice", message_id="new"))
            assert "redelivered" not in await client.expect("new-message")
        await eventually(lambda: len(gateway.broker.records(gateway.topics.undelivered)) > MAX_UNSETTLED)
        ids = [r["record"]["message_id"] for r in gateway.undelivered()]
        assert ids == ["committed", *range(MAX_UNSETTLED)]


async def test_two_gateways_read_only_their_own_topics(server: Server) -> None:
    async with (
        running_gateway(server) as first,
        running_gateway(server, gateway=GatewaySettings(id="gw-other"), embedded=first.embedded) as second,
        await first.connect("alice") as here,
        await second.connect("alice") as there,
    ):
        await first.send_down(record("alice", message_id="here"))
        await second.send_down(record("alice", message_id="there"))
        assert (await here.expect("new-message"))["id"] == "here"
        assert (await there.expect("new-message"))["id"] == "there"
        await here.nothing_came()
        await there.nothing_came()


async def test_a_record_as_large_as_the_broker_takes_is_delivered(server: Server) -> None:
    limits = ConnectionSettings(send_queue_bytes=1024)
    async with running_gateway(server, connections=limits) as gateway, await gateway.connect("alice") as client:
        content = "x" * 1_000_000
        await gateway.send_down(record("alice", content=content))
        assert (await client.expect("new-message"))["content"] == content
        await gateway.settled()
    assert not gateway.undelivered()
