"""im_logic between the topics, over the memory adapters: what goes up comes down, in order, to everyone it is for."""

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import count

import anyio
import attrs
import grpc
import pytest
from tests.e2e.im_logic import Down

from imgateway.adapters.memory import MemoryBroker, MemoryConsumer, MemoryPublisher, MemorySessionStore
from imgateway.core.topics import Topics
from imgateway.model import (
    ConnectionId,
    ConversationId,
    Envelope,
    GatewayId,
    OutgoingRecord,
    Priority,
    Receipt,
    SessionRecord,
    UserId,
)
from imgateway.testing.clock import VirtualClock
from imgateway.wire.records import encode_upstream
from imgateway_im_logic.accounts import MAX_USERS, User
from imgateway_im_logic.conversations import MAX_CONVERSATIONS, MAX_HISTORY, WORLD, direct_id
from imgateway_im_logic.distribution import MAX_WAITING
from imgateway_im_logic.messaging import Messaging, messaging
from imgateway_im_logic.posting import MAX_REMEMBERED_IDS, Written
from imgateway_im_logic.records import read_upstream
from imgateway_im_logic.refusals import RefusedError

ALICE, BOB, CAROL = map(UserId, ("alice", "bob", "carol"))
G1, G2 = map(GatewayId, ("g1", "g2"))
TOPICS = Topics()

pytestmark = pytest.mark.anyio


@attrs.define(eq=False)
class World:
    """A back end between a broker and a session store; the test plays the gateways."""

    broker: MemoryBroker
    sessions: MemorySessionStore
    back_end: Messaging
    clock: VirtualClock
    _numbers: Iterator[int] = attrs.field(factory=count)

    async def connect(self, user_id: UserId, gateway_id: GatewayId, connected_at: int = 0) -> SessionRecord:
        connection_id = ConnectionId(f"c{next(self._numbers)}")
        record = SessionRecord(user_id, connection_id, gateway_id, None, None, connected_at)
        await self.sessions.add([record])
        return record

    def meet(self, *user_ids: UserId) -> None:
        for user_id in user_ids:
            self.back_end.accounts.meet(user_id, self.clock.now())

    def up(self, envelope: Envelope) -> None:
        assert isinstance(self.broker.append(encode_upstream(envelope, TOPICS.upstream, Priority.NORMAL)), Receipt)

    def say(self, user_id: UserId, conversation_id: str, content: str, client_msg_id: str | None = None) -> None:
        self.up(
            Envelope(
                kind="send-message",
                trace_id="t" * 32,
                user_id=user_id,
                gateway_id=G1,
                conversation_id=ConversationId(conversation_id),
                message_type=1,
                content=content,
                client_msg_id=client_msg_id or f"m{next(self._numbers)}",
                timestamp=self.clock.now(),
            )
        )

    def mark_read(self, user_id: UserId, conversation_id: str, seq_id: int) -> None:
        self.up(
            Envelope(
                kind="mark-read",
                trace_id="t" * 32,
                user_id=user_id,
                gateway_id=G1,
                conversation_id=ConversationId(conversation_id),
                message_type=0,
                content="",
                client_msg_id="",
                timestamp=self.clock.now(),
                extra={"seq_id": seq_id},
            )
        )

    async def reader(self, gateway_id: GatewayId) -> "Down":
        consumer = MemoryConsumer(self.broker, TOPICS.downstream(gateway_id), TOPICS.downstream_group(gateway_id))
        await consumer.start()
        return Down(consumer)


@asynccontextmanager
async def world(presence_seconds: float = 3600) -> AsyncIterator[World]:
    broker, clock = MemoryBroker(), VirtualClock()
    sessions = MemorySessionStore(60, clock)
    async with MemoryPublisher(broker) as publisher, anyio.create_task_group() as tasks:
        upstream = MemoryConsumer(broker, TOPICS.upstream, "back-end")
        back_end = messaging(
            upstream=upstream,
            downstream=publisher,
            sessions=sessions,
            clock=clock,
            presence_seconds=presence_seconds,
        )
        await tasks.start(back_end.run)
        yield World(broker, sessions, back_end, clock)
        tasks.cancel_scope.cancel()


async def test_a_message_goes_once_to_each_gateway_that_a_member_is_on() -> None:
    async with world() as w:
        w.meet(ALICE, BOB, CAROL)
        await w.connect(ALICE, G1)
        await w.connect(BOB, G1)
        await w.connect(CAROL, G2)
        first, second = await w.reader(G1), await w.reader(G2)
        w.say(ALICE, WORLD, "你好 👋", "mine")
        here, there = await first.delivery(), await second.delivery()
        assert (set(here.targets), set(there.targets)) == ({ALICE, BOB}, {CAROL})
        assert attrs.evolve(here, targets=()) == attrs.evolve(there, targets=())
        assert (here.content, here.seq_id, here.client_msg_id) == ("你好 👋", 1, "mine")
        assert (here.sender.id, here.sender.username, here.trace_id) == (ALICE, ALICE, "t" * 32)
        assert len(w.broker.records(TOPICS.downstream(G1))) == len(w.broker.records(TOPICS.downstream(G2))) == 1


async def test_a_user_on_two_gateways_is_reached_through_the_newest() -> None:
    async with world() as w:
        w.meet(ALICE)
        await w.connect(ALICE, G1, connected_at=1)
        await w.connect(ALICE, G2, connected_at=2)
        newest = await w.reader(G2)
        w.say(ALICE, WORLD, "hi")
        assert (await newest.delivery()).targets == (ALICE,)
        assert w.broker.records(TOPICS.downstream(G1)) == []


async def test_each_conversation_counts_for_itself_in_the_order_of_the_topic() -> None:
    async with world() as w:
        w.meet(ALICE, BOB)
        await w.connect(ALICE, G1)
        down = await w.reader(G1)
        direct = direct_id(ALICE, BOB)
        for number in range(30):
            w.say(ALICE, direct if number % 3 == 0 else WORLD, str(number))
        got = [await down.delivery() for _ in range(30)]
        for conversation_id, expected in (
            (direct, [n for n in range(30) if n % 3 == 0]),
            (WORLD, [n for n in range(30) if n % 3]),
        ):
            of_it = [d for d in got if d.conversation_id == conversation_id]
            assert [int(d.content) for d in of_it] == expected
            assert [d.seq_id for d in of_it] == list(range(1, len(expected) + 1))
        assert len({d.message_id for d in got}) == 30


async def test_a_repeated_record_is_recognised_by_user_and_client_msg_id() -> None:
    async with world() as w:
        w.meet(ALICE, BOB)
        await w.connect(ALICE, G1)
        down = await w.reader(G1)
        w.say(ALICE, WORLD, "once", "a")
        w.say(ALICE, WORLD, "once", "a")
        w.say(BOB, WORLD, "another user's a", "a")
        w.say(ALICE, WORLD, "next", "b")
        seen = [await down.delivery() for _ in range(3)]
        assert [(d.content, d.seq_id) for d in seen] == [("once", 1), ("another user's a", 2), ("next", 3)]


async def test_only_the_two_named_write_and_read_in_a_direct_conversation() -> None:
    async with world() as w:
        w.meet(ALICE, BOB, CAROL)
        for user in (ALICE, BOB, CAROL):
            await w.connect(user, G1)
        down = await w.reader(G1)
        direct = direct_id(BOB, ALICE)
        assert direct == "dm:alice:bob"
        w.say(CAROL, direct, "let me in")
        w.say(ALICE, "dm:bob:alice", "no such conversation")
        w.say(ALICE, "nowhere", "no such conversation")
        w.say(BOB, direct, "between us")
        delivery = await down.delivery()
        assert (delivery.content, set(delivery.targets)) == ("between us", {ALICE, BOB})
        w.mark_read(CAROL, direct, 1)
        w.mark_read(ALICE, direct, 1)
        assert (await down.signal()).payload == {"conversationId": direct, "userId": ALICE, "seqId": 1}


async def test_a_read_mark_moves_forward_only_and_never_beyond_the_last_message() -> None:
    async with world() as w:
        w.meet(ALICE, BOB)
        await w.connect(ALICE, G1)
        await w.connect(BOB, G1)
        down = await w.reader(G1)
        for number in range(3):
            w.say(ALICE, WORLD, str(number))
            await down.delivery()
        for seq_id in (2, 1, 2, 99):
            w.mark_read(BOB, WORLD, seq_id)
        marks = [await down.signal(), await down.signal()]
        assert [mark.signal_type for mark in marks] == ["message.read"] * 2
        assert [mark.payload["seqId"] for mark in marks] == [2, 3]
        assert all(set(mark.targets) == {ALICE, BOB} for mark in marks)
        assert w.back_end.conversations.world.read_by_others(ALICE) == 3
        assert w.back_end.conversations.world.read_by_others(BOB) == 0


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"{",
        b"\xff",
        b"null",
        b"[]",
        b"7",
        b'"text"',
        b"[" * 100_000,
        b"9" * 10_000,
        b'{"kind":"send-message"}',
        json.dumps({"kind": "send-message", "user_id": 1, "conversation_id": "world"}).encode(),
        json.dumps(
            {"kind": "mark-read", "user_id": "a", "conversation_id": "world", "extra": {"seq_id": True}}
        ).encode(),
        json.dumps({"kind": "mark-read", "user_id": "a", "conversation_id": "world", "extra": "{"}).encode(),
        json.dumps({"kind": "something-new", "user_id": "a", "conversation_id": "world"}).encode(),
    ],
)
async def test_a_record_it_cannot_read_is_skipped(value: bytes, caplog: pytest.LogCaptureFixture) -> None:
    assert read_upstream(value) is None
    async with world() as w:
        w.meet(ALICE)
        await w.connect(ALICE, G1)
        down = await w.reader(G1)
        w.broker.append(OutgoingRecord(TOPICS.upstream, b"world", value))
        w.say(ALICE, WORLD, "still alive")
        assert (await down.delivery()).content == "still alive"
    assert "skipped an upstream record" in caplog.text


async def test_extra_may_be_an_object_or_its_json_text() -> None:
    base = {
        "kind": "send-message", "user_id": "a", "conversation_id": "world", "message_type": 1, "content": "x",
        "client_msg_id": "1", "timestamp": 5, "trace_id": "t",
    }  # fmt: skip
    as_object = read_upstream(json.dumps(base | {"extra": {"k": [1]}}).encode())
    assert as_object == read_upstream(json.dumps(base | {"extra": '{"k":[1]}'}).encode())
    assert as_object is not None
    assert read_upstream(json.dumps(base | {"timestamp": 2**63}).encode()) is None


async def test_coming_and_going_is_announced_to_those_who_are_there() -> None:
    async with world(presence_seconds=0.001) as w:
        w.meet(ALICE, BOB)
        down = await w.reader(G1)
        await w.connect(ALICE, G1)
        online = await down.signal()
        assert (online.signal_type, online.payload) == ("user.online", {"userId": ALICE, "name": ALICE})
        session = await w.connect(BOB, G1)
        assert set((await down.signal()).targets) == {ALICE, BOB}
        await w.sessions.remove([session])
        offline = await down.signal()
        assert (offline.signal_type, offline.payload["userId"], offline.targets) == ("user.offline", BOB, (ALICE,))


async def test_what_was_handled_is_committed_and_not_handled_again() -> None:
    async with world() as w:
        w.meet(ALICE)
        await w.connect(ALICE, G1)
        down = await w.reader(G1)
        w.say(ALICE, WORLD, "one")
        await down.delivery()
        with anyio.fail_after(30):
            while not any(w.broker.committed("back-end", TOPICS.upstream).values()):
                await anyio.lowlevel.checkpoint()
        assert sum(w.broker.committed("back-end", TOPICS.upstream).values()) == 1


def knowing_nobody() -> Messaging:
    clock, broker = VirtualClock(), MemoryBroker()
    upstream, downstream = MemoryConsumer(broker, TOPICS.upstream, "g"), MemoryPublisher(broker)
    return messaging(upstream=upstream, downstream=downstream, sessions=MemorySessionStore(60, clock), clock=clock)


def written(user_id: UserId, conversation_id: ConversationId, client_msg_id: str, timestamp: int = 1) -> Written:
    return Written(user_id, conversation_id, "x", 1, client_msg_id, timestamp)


def test_everything_it_remembers_is_bounded() -> None:
    known = knowing_nobody()
    world = known.conversations.world
    for number in range(MAX_USERS + 10):
        known.accounts.meet(UserId(f"u{number:04}"), 0)
    assert len(known.accounts.everyone) == len(world.members) == MAX_USERS
    for number in range(MAX_HISTORY + 10):
        known.posting.post(written(ALICE, WORLD, f"m{number}"))
    assert [message.seq_id for message in world.messages] == list(range(11, MAX_HISTORY + 11))
    assert world.last_seq == MAX_HISTORY + 10
    for number in range(MAX_CONVERSATIONS + 1):
        known.posting.post(written(ALICE, direct_id(ALICE, UserId(f"v{number:04}")), f"d{number}"))
    assert known.conversations.look(direct_id(ALICE, UserId("v0000"))) is None
    assert known.conversations.look(direct_id(ALICE, UserId("v0001"))) is not None
    for number in range(MAX_REMEMBERED_IDS):
        known.posting.post(written(ALICE, WORLD, f"r{number}"))
    _, again, is_new = known.posting.post(written(ALICE, WORLD, "m0"))
    assert (is_new, again.seq_id) == (True, MAX_HISTORY + 10 + MAX_REMEMBERED_IDS + 1)


def test_message_ids_ascend_even_when_the_clock_goes_back() -> None:
    known = knowing_nobody()
    posted = [known.posting.post(written(ALICE, WORLD, f"m{n}", stamp)) for n, stamp in enumerate((5, 9, 2, 9))]
    ids = [message.message_id for _, message, _ in posted]
    assert ids == sorted(set(ids))
    assert len(ids) == 4


async def test_a_user_whom_a_restart_made_unknown_is_met_again_by_id() -> None:
    async with world() as w:
        await w.connect(ALICE, G1)
        down = await w.reader(G1)
        w.say(ALICE, WORLD, "my token is older than your memory")
        assert (await down.delivery()).targets == (ALICE,)
        assert w.back_end.accounts.look(ALICE) == User(
            ALICE, ALICE, is_guest=True, created_at=w.clock.now(), updated_at=w.clock.now()
        )


async def test_with_a_full_queue_a_message_over_grpc_is_refused_before_it_counts() -> None:
    known = knowing_nobody()
    known.accounts.meet(ALICE, 0)
    for number in range(MAX_WAITING):
        known.send(written(ALICE, WORLD, f"m{number}"))
    with pytest.raises(RefusedError) as refused:
        known.send(written(ALICE, WORLD, "one more"))
    assert refused.value.code is grpc.StatusCode.UNAVAILABLE
    assert known.conversations.world.last_seq == MAX_WAITING
