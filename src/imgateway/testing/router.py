"""The contract of `ports.DownstreamRouter`."""

import json
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Final

import attrs

from imgateway.codes import Code
from imgateway.model import CloseReason, ConnectionId, ConsumedRecord, DeviceId, Displaced, GatewayId, UserId
from imgateway.ports import DownstreamRouter
from imgateway.testing.connections import RecordingConnection
from imgateway.testing.suite import ContractSuite
from imgateway.wire.records import encode_eviction

HOSTILE_RECORDS: Final = tuple(
    value.encode("utf-8", errors="surrogatepass") if isinstance(value, str) else value
    for value in (
        b"", b"\x00", b"\xff\xfe", b"null", b"1", b"[]", b'"x"', b"{", b"{}", b"[" * 100_000, b'{"a":' * 100_000,
        '{"target_user_id": "ann"}',
        '{"target_user_ids": [], "message_id": 1, "conversation_id": "c", "sender_id": "s", "message_type": 1, '
        '"content": "x", "seq_id": 1, "timestamp": 1}',
        '{"target_user_id": "", "message_id": 1, "conversation_id": "c", "sender_id": "s", "message_type": 1, '
        '"content": "x", "seq_id": 1, "timestamp": 1}',
        '{"target_user_id": "a\\u0000b", "message_id": 1, "conversation_id": "c", "sender_id": "s", "message_type": 1, '
        '"content": "x", "seq_id": 1, "timestamp": 1}',
        '{"target_user_id": "ann", "message_id": 1.5, "conversation_id": "c", "sender_id": "s", "message_type": 1, '
        '"content": "x", "seq_id": 1, "timestamp": 1}',
        '{"target_user_id": "ann", "message_id": 1, "conversation_id": 7, "sender_id": "s", "message_type": 1, '
        '"content": "x", "seq_id": 1, "timestamp": 1}',
        '{"target_user_id": "ann", "message_id": 1, "conversation_id": "c", "sender_id": "s", "message_type": 1, '
        '"content": "\\ud800", "seq_id": 1, "timestamp": 1}',
        '{"target_user_id": "ann", "message_id": 1, "conversation_id": "c", "sender_id": "s", "message_type": 1, '
        '"content": "\ud800", "seq_id": 1, "timestamp": 1}',
        '{"target_user_id": "ann", "signal_type": "new-message", "payload": {}, "timestamp": 1}',
        '{"target_user_id": "ann", "signal_type": 5, "payload": {}, "timestamp": 1}',
        '{"target_user_id": "ann", "signal_type": "typing", "payload": {}}',
        '{"signal_type": "typing", "payload": {}, "timestamp": 1}',
    )
)  # fmt: skip
"""Values that are no downstream records."""


@attrs.frozen
class RouterUnderTest:
    """A router of gateway `gw-1` and its surroundings.

    Attributes:
        router: without connections at first.
        connect: put a connection into the router's registry; it takes itself out when it is closed.
        undelivered: everything that a reader of the undelivered topic gets now, in order.
        publishing: whether the undelivered topic can be written; it can at first.
        turn: let the event loop do its work.
    """

    router: DownstreamRouter
    connect: Callable[[RecordingConnection], None]
    undelivered: Callable[[], Awaitable[Sequence[ConsumedRecord]]]
    publishing: Callable[[bool], None]
    turn: Callable[[], Awaitable[None]]


class DownstreamRouterSuite(ContractSuite):
    """Every router holds to this."""

    def make(self) -> AbstractAsyncContextManager[RouterUnderTest]:
        """A router without connections, and an empty undelivered topic."""
        raise NotImplementedError

    async def test_every_connection_of_every_target_gets_the_record(self) -> None:
        """All connections of all targets get one frame that says what the record says; nobody else gets any."""
        async with self.make() as under_test:
            ann, ann_too, ben, cat = _connect(under_test, "ann", "ann", "ben", "cat")
            route = _Route(under_test)
            extra = {"sender_info": {"id": "s", "username": "Sam", "avatar_url": "u"}, "extra": {"a": 1}}
            route(_record(1, ["ann", "ben", "ann"], client_msg_id="m1", **extra))
            for connection in (ann, ann_too, ben, cat):
                connection.hand_over()
            expected = {
                "id": "1001",
                "conversationId": "c1",
                "sender": {"id": "s", "username": "Sam", "avatarUrl": "u"},
                "content": "hello 1",
                "messageType": 1,
                "seqId": 1,
                "createdAt": 1_700_000_000_000,
                "client_msg_id": "m1",
                "extra": {"a": 1},
            }
            for connection in (ann, ann_too, ben):
                assert _read(connection) == [("new-message", expected)]
            assert _read(cat) == []

    async def test_each_connection_gets_records_in_order(self) -> None:
        """The order on every connection is that of the calls, across users and signals."""
        async with self.make() as under_test:
            (ann,) = _connect(under_test, "ann")
            route = _Route(under_test)
            for number in range(30):
                route(_signal(["ann"], number) if number % 3 == 0 else _record(number, ["ben", "ann"]))
                await under_test.turn()
            ann.hand_over()
            seen = [data.get("n", data.get("seqId")) for _, data in _read(ann)]
            assert seen == list(range(30))

    async def test_a_record_is_settled_when_all_have_it(self) -> None:
        """`on_settled` is called once: when the kernel has the record for every target, not before."""
        async with self.make() as under_test:
            ann, ben = _connect(under_test, "ann", "ben")
            route = _Route(under_test)
            route(_record(1, ["ann", "ben"]))
            for expected, connection in (([], ann), ([1], ben)):
                connection.hand_over()
                await under_test.turn()
                assert route.settled == expected
            ann.lose()
            ben.lose()
            await under_test.turn()
            assert route.settled == [1]
            assert await under_test.undelivered() == []

    async def test_records_are_settled_each_for_itself(self) -> None:
        """A record waits for nobody but its own targets."""
        async with self.make() as under_test:
            _, ben = _connect(under_test, "ann", "ben")
            route = _Route(under_test)
            route(_record(1, ["ann"]))
            route(_record(2, ["ben"]))
            ben.hand_over()
            await under_test.turn()
            assert route.settled == [2]

    async def test_whoever_has_no_connection_is_undelivered(self) -> None:
        """For targets without a connection the record is in the undelivered topic when `on_settled` is called."""
        async with self.make() as under_test:
            (ann,) = _connect(under_test, "ann")
            route = _Route(under_test)
            record = _record(1, ["ben", "ann", "cat"])
            route(record)
            ann.hand_over()
            await self.eventually(lambda: bool(route.settled), "the record is settled")
            (undelivered,) = await under_test.undelivered()
            assert undelivered.key == record.key
            assert json.loads(undelivered.value) == {
                "record": json.loads(record.value),
                "reason": "no-connection",
                "gateway_id": "gw-1",
                "target_user_ids": ["ben", "cat"],
            }
            assert route.settled == [1]

    async def test_one_of_several_devices_is_enough(self) -> None:
        """A user has the record when one of the connections has it: then nothing is undelivered."""
        async with self.make() as under_test:
            broken, well, slow = _connect(under_test, "ann", "ann", "ann")
            slow.capacity = 0
            route = _Route(under_test)
            route(_record(1, ["ann"]))
            broken.lose()
            well.hand_over()
            await self.eventually(lambda: route.settled == [1], "the record is settled")
            await under_test.turn()
            assert await under_test.undelivered() == []

    async def test_whom_the_record_did_not_reach_is_undelivered(self) -> None:
        """Reasons: `slow-consumer` for one who reads too slowly, `no-connection` for one whose connection ended."""
        async with self.make() as under_test:
            slow, gone, closing, well = _connect(under_test, "slow", "gone", "closing", "well")
            slow.capacity = 0
            # It is closed, but still in the registry.
            closing.registry = None
            closing.lose()
            route = _Route(under_test)
            route(_record(1, ["slow", "gone", "closing", "well"]))
            well.hand_over()
            await under_test.turn()
            assert route.settled == []
            gone.lose()
            await self.eventually(lambda: route.settled == [1], "the record is settled")
            reasons = {
                user: value["reason"]
                for value in [json.loads(record.value) for record in await under_test.undelivered()]
                for user in value["target_user_ids"]
            }
            assert reasons == {"slow": "slow-consumer", "gone": "no-connection", "closing": "no-connection"}

    async def test_nothing_is_settled_before_it_is_durable(self) -> None:
        """While the undelivered topic can't be written, the record stays open; once it can, it is written."""
        async with self.make() as under_test:
            route = _Route(under_test)
            under_test.publishing(False)
            for number in range(5):
                route(_record(number, ["nobody"]))
                await under_test.turn()
            await self.quiet()
            assert route.settled == []
            assert await under_test.undelivered() == []
            under_test.publishing(True)
            await self.eventually(lambda: len(route.settled) == 5, "the records are settled")
            values = [json.loads(record.value)["record"]["seq_id"] for record in await under_test.undelivered()]
            assert sorted(values) == [0, 1, 2, 3, 4]
            assert sorted(route.settled) == [0, 1, 2, 3, 4]

    async def test_one_device_may_be_meant(self) -> None:
        """With `target_device_id` only that device of each target gets the record."""
        async with self.make() as under_test:
            phone, laptop = _connect(under_test, "ann", "ann")
            laptop.device_id = DeviceId("laptop")
            route = _Route(under_test)
            route(_record(1, ["ann"], target_device_id="laptop"))
            route(_record(2, ["ann"], target_device_id="watch"))
            for connection in (phone, laptop):
                connection.hand_over()
            await self.eventually(lambda: len(route.settled) == 2, "the records are settled")
            assert (len(phone.frames), len(laptop.frames)) == (0, 1)
            (undelivered,) = await under_test.undelivered()
            assert json.loads(undelivered.value)["record"]["seq_id"] == 2

    async def test_signals_are_transient(self) -> None:
        """A signal reaches who is there, as a frame of its own type; it is settled at once and never undelivered."""
        async with self.make() as under_test:
            ann, slow = _connect(under_test, "ann", "slow")
            slow.capacity = 0
            route = _Route(under_test)
            route(_signal(["ann", "slow", "nobody"], 7))
            assert route.settled == [7]
            ann.hand_over()
            assert _read(ann) == [("typing", {"n": 7})]
            await under_test.turn()
            assert await under_test.undelivered() == []
            assert route.settled == [7]

    async def test_possible_repeats_are_marked(self) -> None:
        """`redelivered` is true on the frame where it is on the record, and only there."""
        async with self.make() as under_test:
            (ann,) = _connect(under_test, "ann")
            route = _Route(under_test)
            route(attrs.evolve(_record(1, ["ann"]), redelivered=True))
            route(_record(2, ["ann"]))
            ann.hand_over()
            assert [data.get("redelivered", False) for _, data in _read(ann)] == [True, False]

    async def test_what_is_no_record_hinders_nothing(self) -> None:
        """A record that can't be parsed is settled at once; nobody gets it, and the next one comes."""
        async with self.make() as under_test:
            (ann,) = _connect(under_test, "ann")
            route = _Route(under_test)
            for number, value in enumerate(HOSTILE_RECORDS):
                route(ConsumedRecord(0, number, b"c1", value))
                assert route.settled == list(range(number + 1)), value[:200]
            route(_record(99, ["ann"]))
            ann.hand_over()
            await under_test.turn()
            assert [data["seqId"] for _, data in _read(ann)] == [99]
            assert await under_test.undelivered() == []

    async def test_another_gateways_word_closes_a_connection(self) -> None:
        """Exactly the one that the header names is closed, if it is here; the record is settled and goes nowhere."""
        async with self.make() as under_test:
            ann, ann_too, ben = _connect(under_test, "ann", "ann", "ben")
            route = _Route(under_test)
            word = encode_eviction(Displaced(ann.user_id, ann.connection_id, GatewayId("gw-1")), "topic")
            for number in range(2):
                route(ConsumedRecord(0, number, word.key, word.value, (("other", b""), *word.headers)))
            elsewhere = encode_eviction(Displaced(UserId("cat"), ConnectionId("elsewhere"), GatewayId("gw-1")), "topic")
            route(ConsumedRecord(0, 2, elsewhere.key, elsewhere.value, elsewhere.headers))
            assert route.settled == [0, 1, 2]
            assert [each.reason for each in (ann, ann_too, ben)] == [CloseReason.of(Code.REPLACED), None, None]
            await under_test.turn()
            assert await under_test.undelivered() == []

    async def test_a_record_may_be_for_very_many(self) -> None:
        """The number of targets is no matter: each of thousands gets it, or is in the undelivered topic."""
        users = [f"user-{number}" for number in range(4_000)]
        async with self.make() as under_test:
            there = _connect(under_test, *users[::2])
            route = _Route(under_test)
            route(_record(1, users))
            for connection in there:
                connection.hand_over()
            await self.eventually(lambda: route.settled == [1], "the record is settled")
            assert all(len(connection.frames) == 1 for connection in there)
            (undelivered,) = await under_test.undelivered()
            assert json.loads(undelivered.value)["target_user_ids"] == users[1::2]


@attrs.define(eq=False)
class _Route:
    """Routes records, and keeps the offsets of those that are settled."""

    under_test: RouterUnderTest
    settled: list[int] = attrs.field(factory=list, init=False)

    def __call__(self, record: ConsumedRecord, /) -> None:
        self.under_test.router.route(record, lambda: self.settled.append(record.offset))


def _connect(under_test: RouterUnderTest, *users: str) -> list[RecordingConnection]:
    connections = [
        RecordingConnection(UserId(user), ConnectionId(f"connection-{number}"), DeviceId("phone"))
        for number, user in enumerate(users)
    ]
    for connection in connections:
        under_test.connect(connection)
    return connections


def _record(number: int, users: Sequence[str], **more: Any) -> ConsumedRecord:
    value = {
        "target_user_ids": users,
        "trace_id": "t",
        "message_id": 1000 + number,
        "conversation_id": "c1",
        "sender_id": "s",
        "message_type": 1,
        "content": f"hello {number}",
        "seq_id": number,
        "timestamp": 1_700_000_000_000,
    }
    return ConsumedRecord(0, number, b"c1", json.dumps(value | more).encode())


def _signal(users: Sequence[str], number: int) -> ConsumedRecord:
    value = {"target_user_ids": users, "signal_type": "typing", "payload": {"n": number}, "timestamp": 1}
    return ConsumedRecord(0, number, b"c1", json.dumps(value).encode())


def _read(connection: RecordingConnection) -> list[tuple[str, Any]]:
    frames = [json.loads(frame.payload) for frame in connection.frames]
    return [(frame["type"], frame["data"]) for frame in frames]
