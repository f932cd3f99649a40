"""What a client may say and what it is answered: contract section 4, and the upstream half of section 5."""

import json
import time
from itertools import count

import pytest
from tests.e2e.running_gateway import SECRET, RunningGateway, Server, eventually, mint, running_gateway
from tests.e2e.websocket_client import Client

from imgateway.core.settings import AuthSettings, ConnectionSettings
from imgateway.model import PublishFailure

pytestmark = pytest.mark.anyio

_numbers = count()


@pytest.fixture
def conversation() -> str:
    """A conversation that no other test uses."""
    return f"c-{next(_numbers)}"


# Messages up.


async def test_a_message_is_acked_when_it_stands_upstream(shared_gateway: RunningGateway, conversation: str) -> None:
    async with await shared_gateway.connect("alice") as client:
        before = int(time.time() * 1000)
        await client.send_message("m-1", conversationId=conversation, content="héllo 你好 🙂", messageType=6)
        ack = await client.expect("message-ack")
        after = int(time.time() * 1000)
    [stored] = [r for r in shared_gateway.broker.records("im-upstream-topic") if r.key == conversation.encode()]
    assert ack == {
        "client_msg_id": "m-1",
        "status": "accepted",
        "topic": "im-upstream-topic",
        "partition": stored.partition,
        "offset": stored.offset,
    }
    record = json.loads(stored.value)
    headers = dict(stored.headers)
    trace_id = record.pop("trace_id")
    assert before <= record.pop("timestamp") <= after
    assert record == {
        "user_id": "alice",
        "gateway_id": "gw-test",
        "conversation_id": conversation,
        "message_type": 6,
        "content": "héllo 你好 🙂",
        "client_msg_id": "m-1",
        "kind": "send-message",
    }
    assert set(headers) == {"trace_id", "traceparent", "priority"}
    assert headers["trace_id"].decode() == trace_id
    assert headers["priority"] == b"normal"
    version, in_traceparent, span, _ = headers["traceparent"].decode().split("-")
    assert (version, in_traceparent) == ("00", trace_id)
    assert len(trace_id) == 32
    assert len(span) == 16
    assert int(span, 16)


async def test_extra_goes_up_as_it_is(shared_gateway: RunningGateway, conversation: str) -> None:
    extra = {"reply_to": "18014398509481985", "n": 2**63 - 1, "f": 0.5, "deep": [{"a": [None, True]}], "": ""}
    async with await shared_gateway.connect() as client:
        await client.send_message("m-1", conversationId=conversation, extra=extra)
        await client.expect("message-ack")
        await client.send_message("m-2", conversationId=conversation, extra={})
        await client.expect("message-ack")
    assert [record["extra"] for record in shared_gateway.upstream_of(conversation)] == [extra, {}]


async def test_the_user_is_the_verified_one_whatever_the_client_writes(
    shared_gateway: RunningGateway, conversation: str
) -> None:
    async with await shared_gateway.connect("alice") as client:
        await client.send_message(
            conversationId=conversation, user_id="bob", userId="bob", sender_id="bob", gateway_id="x", timestamp=1
        )
        await client.expect("message-ack")
    [record] = shared_gateway.upstream_of(conversation)
    assert record["user_id"] == "alice"
    assert record["gateway_id"] == "gw-test"
    assert record["timestamp"] > 1


async def test_mark_read_is_published_and_acked(shared_gateway: RunningGateway, conversation: str) -> None:
    async with await shared_gateway.connect("alice") as client:
        await client.send("mark-read", conversationId=conversation, seqId=2**53 + 1, client_msg_id="r-1")
        assert (await client.expect("message-ack"))["status"] == "accepted"
        await client.send("mark-read", conversationId=conversation, seqId=2**53 + 1, client_msg_id="r-1")
        assert (await client.expect("message-ack"))["status"] == "duplicate"
    [record] = shared_gateway.upstream_of(conversation)
    assert (record["kind"], record["message_type"], record["content"]) == ("mark-read", 0, "")
    assert (record["client_msg_id"], record["extra"]) == ("r-1", {"seq_id": 2**53 + 1})


async def test_mark_read_without_an_id_is_neither_acked_nor_checked(
    shared_gateway: RunningGateway, conversation: str
) -> None:
    async with await shared_gateway.connect("alice") as client:
        for _ in range(2):
            await client.send("mark-read", conversationId=conversation, seqId=5)
        await eventually(lambda: len(shared_gateway.upstream_of(conversation)) == 2)
        await client.nothing_came()
    assert {record["client_msg_id"] for record in shared_gateway.upstream_of(conversation)} == {""}


async def test_a_retry_is_a_duplicate_with_the_first_receipt(shared_gateway: RunningGateway, conversation: str) -> None:
    async with await shared_gateway.connect("alice") as client:
        await client.send_message(conversationId=conversation)
        first = await client.expect("message-ack")
        await client.send_message(conversationId=conversation)
        again = await client.expect("message-ack")
    # Another connection of the user, later.
    async with await shared_gateway.connect("alice") as client:
        await client.send_message(conversationId=conversation)
        later = await client.expect("message-ack")
    assert first["status"] == "accepted"
    assert again == later == {**first, "status": "duplicate"}
    assert len(shared_gateway.upstream_of(conversation)) == 1


async def test_an_id_is_bound_to_user_conversation_and_content(
    shared_gateway: RunningGateway, conversation: str
) -> None:
    async with await shared_gateway.connect("alice") as alice, await shared_gateway.connect("bob") as bob:
        await alice.send_message(conversationId=conversation)
        await alice.expect("message-ack")
        await alice.send_message(conversationId=conversation, content="something else")
        error = await alice.expect("error")
        assert (error["code"], error["details"]) == ("INVALID_MESSAGE", "client_msg_id_reused")
        assert error["client_msg_id"] == "m-1"
        for other in (
            bob.send_message(conversationId=conversation),
            alice.send_message(conversationId=f"{conversation}'"),
        ):
            await other
        assert (await bob.expect("message-ack"))["status"] == "accepted"
        assert (await alice.expect("message-ack"))["status"] == "accepted"
    assert [record["content"] for record in shared_gateway.upstream_of(conversation)] == ["hello", "hello"]


async def test_a_connections_messages_keep_their_order_in_each_conversation(shared_gateway: RunningGateway) -> None:
    conversations = [f"order-{next(_numbers)}" for _ in range(3)]
    async with await shared_gateway.connect("alice") as client:
        for n in range(300):
            await client.send_message(f"m-{n}", conversationId=conversations[n % 3], content=str(n))
        acked = [(await client.expect("message-ack"))["client_msg_id"] for _ in range(300)]
    assert set(acked) == {f"m-{n}" for n in range(300)}
    for position, name in enumerate(conversations):
        contents = [int(record["content"]) for record in shared_gateway.upstream_of(name)]
        assert contents == list(range(position, 300, 3))


async def test_an_unknown_outcome_is_told_and_the_retry_is_written(server: Server) -> None:
    async with running_gateway(server) as gateway, await gateway.connect() as client:
        gateway.publisher.fail_next(PublishFailure.UNKNOWN)
        await client.send_message("m-1")
        error = await client.expect("error")
        assert (error["code"], error["client_msg_id"]) == ("UNAVAILABLE", "m-1")
        assert error["retryAfter"] >= 1
        await client.send_message("m-1")
        assert (await client.expect("message-ack"))["status"] == "accepted"
        assert len(gateway.upstream()) == 1


async def test_a_users_last_200_messages_are_remembered(shared_gateway: RunningGateway, conversation: str) -> None:
    async with await shared_gateway.connect("forgetful") as client:
        for n in range(201):
            await client.send_message(f"m-{n}", conversationId=conversation)
        for _ in range(201):
            assert (await client.expect("message-ack"))["status"] == "accepted"
        statuses = []
        for n in (1, 200, 0):
            await client.send_message(f"m-{n}", conversationId=conversation)
            statuses.append((await client.expect("message-ack"))["status"])
    assert statuses == ["duplicate", "duplicate", "accepted"]
    assert len(shared_gateway.upstream_of(conversation)) == 202


async def test_what_was_taken_in_is_written_though_its_sender_is_gone(server: Server) -> None:
    async with running_gateway(server) as gateway:
        client = await gateway.connect("alice")
        gateway.publisher.hold()
        await client.send_message()
        await eventually(lambda: gateway.publisher.held == 1)
        client.socket.transport.abort()
        await eventually(lambda: not gateway.gateway.connections)
        gateway.publisher.release()
        await eventually(lambda: len(gateway.upstream()) == 1)
        # The next connection's retry finds it.
        async with await gateway.connect("alice") as again:
            await again.send_message()
            assert (await again.expect("message-ack"))["status"] == "duplicate"


async def test_a_retry_in_flight_joins_the_first_and_writes_nothing(server: Server) -> None:
    async with running_gateway(server) as gateway, await gateway.connect() as first, await gateway.connect() as second:
        gateway.publisher.hold()
        await first.send_message("m-1")
        await eventually(lambda: gateway.publisher.held == 1)
        await second.send_message("m-1")
        await second.nothing_came()
        gateway.publisher.release()
        acks = [await first.expect("message-ack"), await second.expect("message-ack")]
        assert [ack.pop("status") for ack in acks] == ["accepted", "duplicate"]
        assert acks[0] == acks[1]
        assert len(gateway.upstream()) == 1


async def test_nothing_is_acked_before_it_is_durable(server: Server) -> None:
    async with running_gateway(server) as gateway, await gateway.connect() as client:
        gateway.publisher.hold()
        await client.send_message()
        await client.nothing_came()
        assert gateway.publisher.held == 1
        gateway.publisher.release()
        await client.expect("message-ack")


async def test_a_full_window_pauses_the_reading_and_loses_nothing(server: Server) -> None:
    limits = ConnectionSettings(max_inflight_messages=4)
    async with running_gateway(server, connections=limits) as gateway, await gateway.connect() as client:
        gateway.publisher.hold()
        for n in range(50):
            await client.send_message(f"m-{n}")
        await eventually(lambda: gateway.publisher.held == 4)
        async with await gateway.connect("bob") as other:
            await other.nothing_came()
        assert gateway.publisher.held == 4
        gateway.publisher.release()
        assert [(await client.expect("message-ack"))["client_msg_id"] for _ in range(50)] == [
            f"m-{n}" for n in range(50)
        ]


# Pings and tokens.


async def test_both_kinds_of_pings_are_answered(shared_gateway: RunningGateway) -> None:
    async with await shared_gateway.connect() as client:
        for frame in ('{"type":"ping"}', '{"type":"ping","data":{}}', '{"type":"ping","data":null,"timestamp":1}'):
            await client.socket.send(frame)
            assert await client.expect("pong") == {}
        await (await client.socket.ping(b"are you there?"))


async def test_a_newer_token_extends_the_connection(shared_gateway: RunningGateway) -> None:
    exp = int(time.time()) + 7200
    async with await shared_gateway.connect("alice", token=mint("alice", seconds=600)) as client:
        assert client.welcome["tokenExpiresAt"] < exp * 1000
        await client.send("refresh-token", token=mint("alice", exp=exp))
        assert await client.expect("token-refreshed") == {"tokenExpiresAt": exp * 1000}


@pytest.mark.parametrize(
    ("token", "code"),
    [
        ("", "UNAUTHENTICATED"),
        ("nonsense", "UNAUTHENTICATED"),
        (mint("alice", seconds=-3600), "TOKEN_EXPIRED"),
        (mint("bob"), "FORBIDDEN"),
    ],
)
async def test_a_token_that_proves_nothing_is_an_error_and_the_connection_lives(
    shared_gateway: RunningGateway, token: str, code: str
) -> None:
    async with await shared_gateway.connect("alice") as client:
        await client.send("refresh-token", token=token)
        assert (await client.expect("error"))["code"] == code
        await client.nothing_came()


async def test_frames_behind_a_new_token_wait_for_it(shared_gateway: RunningGateway) -> None:
    async with await shared_gateway.connect("alice") as client:
        await client.send("refresh-token", token=mint("alice"))
        await client.send("ping")
        await client.expect("token-refreshed")
        await client.expect("pong")


async def test_a_connection_ends_with_its_tokens_grace_unless_refreshed(server: Server) -> None:
    auth = AuthSettings(secret=SECRET, leeway_seconds=0, expiry_grace_seconds=1)
    async with (
        running_gateway(server, auth=auth) as gateway,
        await gateway.connect("alice", token=mint("alice", seconds=4)) as careless,
        await gateway.connect("bob", token=mint("bob", seconds=4)) as careful,
    ):
        await careful.send("refresh-token", token=mint("bob", seconds=60))
        await careful.expect("token-refreshed")
        assert await careless.ended() == 4001
        assert time.time() * 1000 >= careless.welcome["tokenExpiresAt"] + 1000
        await careful.nothing_came()


async def test_a_polite_close_is_answered(shared_gateway: RunningGateway) -> None:
    client: Client = await shared_gateway.connect("leaver")
    await client.socket.close(1000, "bye")
    assert client.socket.close_code == 1000
    await eventually(lambda: all(c.user_id != "leaver" for c in shared_gateway.gateway.connections))
    await shared_gateway.presence_becomes("leaver")
