"""From the broker's topic to every connection, and the commits that follow."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

import anyio
import attrs
import pytest
from tests.gateways import Bench, eventually, message, quiet, running_hub

from imgateway.core import delivery
from imgateway.core.delivery import DeliveryPump
from imgateway.errors import ServiceUnavailableError
from imgateway.model import ConsumedRecord, PublishFailure
from imgateway.wire.json_codec import JsonCodec
from imgateway.wire.messages import ServerMessage

pytestmark = pytest.mark.anyio


@attrs.define(eq=False)
class Feed:
    """Implements `ports.DownstreamConsumer`: the test hands in the records. For gaps and failures no broker makes."""

    committed: dict[int, int] = attrs.field(factory=dict)
    fails: bool = False
    _records: list[ConsumedRecord] = attrs.field(factory=list)
    _given: anyio.Event = attrs.field(factory=anyio.Event)

    def give(self, offset: int, value: bytes, partition: int = 0, *, redelivered: bool = False) -> None:
        self._records.append(ConsumedRecord(partition, offset, b"c", value, redelivered=redelivered))
        self._given.set()

    async def start(self) -> None:
        pass

    async def take(self) -> Sequence[ConsumedRecord]:
        await self._given.wait()
        self._given = anyio.Event()
        records, self._records = self._records, []
        return records

    async def commit(self, positions: Mapping[int, int], /) -> None:
        if self.fails:
            raise ServiceUnavailableError("down")
        self.committed = dict(positions)

    def lag(self) -> int:
        return len(self._records)

    async def aclose(self) -> None:
        pass


class CountingCodec(JsonCodec):
    """Counts what is encoded."""

    encoded = 0

    def encode(self, message: ServerMessage, timestamp: int, /) -> bytes:
        self.encoded += 1
        return super().encode(message, timestamp)


@attrs.define(eq=False)
class Stream:
    bench: Bench
    feed: Feed
    pump: DeliveryPump
    ours: bool = True


@asynccontextmanager
async def streaming(*, max_unsettled: int = 10_000) -> AsyncIterator[Stream]:
    async with running_hub() as bench, anyio.create_task_group() as tasks:
        feed = Feed()
        pump = DeliveryPump(
            feed,
            bench.router,
            bench.world.observer,
            bench.world.clock,
            lambda: stream.ours,
            bench.hub.let_go_of_slow,
            lambda: bench.hub.hurried,
            max_unsettled,
        )
        stream = Stream(bench, feed, pump)
        tasks.start_soon(pump.run)
        tasks.start_soon(pump.commit_regularly)
        yield stream
        tasks.cancel_scope.cancel()


async def test_a_record_reaches_every_device_of_every_target() -> None:
    async with streaming() as stream:
        phone, laptop = await stream.bench.connect("ann"), await stream.bench.connect("ann")
        ben, eve = await stream.bench.connect("ben"), await stream.bench.connect("eve")
        stream.feed.give(0, message("ann", "ben", message_id="7", seq_id=3, content="你好"))
        for client in (phone, laptop, ben):
            assert await client.next("new-message") == {
                "id": "7",
                "conversationId": "c",
                "sender": {"id": "s"},
                "content": "你好",
                "messageType": 1,
                "seqId": 3,
                "createdAt": 1,
            }
        assert eve.unheard == []
        await eventually(lambda: stream.feed.committed == {0: 1})


async def test_one_device_can_be_meant() -> None:
    async with streaming() as stream:
        phone = await stream.bench.connect("ann", device="phone")
        laptop = await stream.bench.connect("ann", device="laptop")
        stream.feed.give(0, message("ann", target_device_id="phone"))
        stream.feed.give(1, message("ann", target_device_id="watch", message_id="2"))
        await phone.next("new-message")
        await eventually(lambda: stream.feed.committed == {0: 2})
        assert (laptop.unheard, phone.unheard) == ([], [])
        assert stream.bench.world.undelivered() == [("no-connection", ["ann"], "2")]


async def test_records_come_in_the_order_of_their_offsets() -> None:
    async with streaming() as stream:
        ann = await stream.bench.connect("ann")
        for offset in range(300):
            stream.feed.give(offset, message("ann", message_id=str(offset)))
            if offset % 70 == 0:
                await quiet()
        assert [(await ann.next("new-message"))["id"] for _ in range(300)] == [str(number) for number in range(300)]


async def test_a_client_that_reads_is_not_taken_for_slow_when_much_comes_at_once() -> None:
    async with streaming() as stream:
        ann = await stream.bench.connect("ann")
        count = 4 * stream.bench.hub.limits.send_queue_bytes // 3000
        for offset in range(count):
            stream.feed.give(offset, message("ann", message_id=str(offset), content="x" * 3000))
        await eventually(lambda: stream.feed.committed == {0: count})
        assert [(await ann.next("new-message"))["id"] for _ in range(count)] == [str(number) for number in range(count)]
        assert not ann.connection.closed
        assert stream.bench.world.undelivered() == []


async def test_what_may_be_a_repeat_says_so() -> None:
    async with streaming() as stream:
        ann = await stream.bench.connect("ann")
        stream.feed.give(0, message("ann"), redelivered=True)
        stream.feed.give(1, message("ann"))
        assert (await ann.next("new-message"))["redelivered"] is True
        assert "redelivered" not in await ann.next("new-message")


async def test_a_signal_is_its_payload_and_is_dropped_where_nobody_is() -> None:
    async with streaming() as stream:
        ann = await stream.bench.connect("ann")
        value = b'{"target_user_ids":["ann","ben"],"signal_type":"typing","payload":{"x":[1]},"timestamp":1}'
        stream.feed.give(0, value)
        assert await ann.next("typing") == {"x": [1]}
        await eventually(lambda: stream.feed.committed == {0: 1})
        assert stream.bench.world.undelivered() == []
        assert stream.bench.world.observer.counts["delivery", "dropped"] == 1


async def test_a_record_that_can_not_be_parsed_is_counted_and_skipped() -> None:
    async with streaming() as stream:
        ann = await stream.bench.connect("ann")
        nested = message("ann", extra="HERE").replace(b'"HERE"', b"[" * 995 + b"]" * 995)
        reserved = b'{"target_user_id":"ann","signal_type":"welcome","timestamp":1}'
        bad = [b"", b"\xff", b"[]", b"{}", message(), message("a\nb"), nested, reserved]
        for offset, value in enumerate(bad):
            stream.feed.give(offset, value)
        stream.feed.give(len(bad), message("ann", message_id="good"))
        assert (await ann.next("new-message"))["id"] == "good"
        assert stream.bench.world.observer.counts["delivery", "unparsable"] == len(bad)
        await eventually(lambda: stream.feed.committed == {0: len(bad) + 1})


async def test_a_user_has_a_record_when_one_of_their_devices_does() -> None:
    async with streaming() as stream:
        phone, laptop = await stream.bench.connect("ann"), await stream.bench.connect("ann")
        phone.socket.reads = laptop.socket.reads = False
        stream.feed.give(0, message("ann", "ben"))
        await quiet()
        phone.socket.leave()
        await phone.ended()
        await quiet()
        assert stream.feed.committed == {}
        laptop.socket.read_on()
        await eventually(lambda: stream.feed.committed == {0: 1})
        assert stream.bench.world.undelivered() == [("no-connection", ["ben"], "1")]


async def test_only_the_settled_prefix_is_committed_gaps_and_all() -> None:
    async with streaming() as stream:
        ann, ben = await stream.bench.connect("ann"), await stream.bench.connect("ben")
        ann.socket.reads = False
        stream.feed.give(3, message("ben"))
        stream.feed.give(7, message("ann"))
        stream.feed.give(8, message("ben"))
        stream.feed.give(5, message("ben"), partition=1)
        await eventually(lambda: stream.feed.committed == {0: 4, 1: 6})
        assert len(ben.unheard) == 3
        await quiet()
        assert stream.feed.committed == {0: 4, 1: 6}
        ann.socket.read_on()
        await eventually(lambda: stream.feed.committed == {0: 9, 1: 6})


async def test_nothing_is_committed_while_the_topic_may_not_be_ours() -> None:
    async with streaming() as stream:
        stream.ours = False
        ann = await stream.bench.connect("ann")
        stream.feed.give(0, message("ann"))
        await ann.next("new-message")
        await stream.pump.commit()
        assert stream.feed.committed == {}
        stream.ours = True
        await stream.pump.commit()
        assert stream.feed.committed == {0: 1}


async def test_positions_are_committed_again_every_hour() -> None:
    async with streaming() as stream:
        await stream.bench.connect("ann")
        stream.feed.give(0, message("ann"))
        await eventually(lambda: stream.feed.committed == {0: 1})
        stream.feed.committed.clear()
        stream.bench.world.clock.advance(delivery.RECOMMIT_SECONDS - 1)
        await stream.pump.commit()
        assert stream.feed.committed == {}
        stream.bench.world.clock.advance(1)
        await stream.pump.commit()
        assert stream.feed.committed == {0: 1}


async def test_a_commit_that_failed_is_made_again() -> None:
    async with streaming() as stream:
        stream.feed.fails = True
        ann = await stream.bench.connect("ann")
        stream.feed.give(0, message("ann"))
        await ann.next("new-message")
        with pytest.raises(ServiceUnavailableError):
            await stream.pump.commit()
        stream.feed.fails = False
        await eventually(lambda: stream.feed.committed == {0: 1})


async def test_what_could_not_be_delivered_is_offered_until_it_is_written_in_order() -> None:
    async with streaming() as stream:
        world = stream.bench.world
        world.publisher.full = True
        for offset in range(3):
            stream.feed.give(offset, message("ann", message_id=str(offset)))
        await quiet()
        stream.bench.router.retry()
        await quiet()
        assert stream.feed.committed == {}
        world.publisher.full = False
        world.publisher.fail_next(PublishFailure.UNKNOWN)
        stream.bench.router.retry()
        await eventually(lambda: len(world.undelivered()) == 2)
        assert stream.feed.committed == {}
        stream.bench.router.retry()
        await eventually(lambda: stream.feed.committed == {0: 3})
        assert [message_id for _, _, message_id in world.undelivered()] == ["1", "2", "0"]
        assert world.observer.counts["undelivered", "no-connection"] == 3


async def test_an_undelivered_record_that_never_fits_holds_back_nothing() -> None:
    async with streaming() as stream:
        stream.bench.world.publisher.fail_next(PublishFailure.TOO_LARGE, count=2)
        stream.feed.give(0, message("ann"))
        await eventually(lambda: stream.feed.committed == {0: 1})
        assert stream.bench.world.observer.counts["undelivered", "dropped-too-large"] == 1


async def test_an_undelivered_record_with_too_many_users_is_written_in_parts() -> None:
    users = [f"user-{number}" for number in range(5_000)]
    async with streaming() as stream:
        world = stream.bench.world
        world.publisher.fail_next(PublishFailure.TOO_LARGE)
        stream.feed.give(0, message(*users))
        await eventually(lambda: stream.feed.committed == {0: 1})
        parts = world.published(world.topics.undelivered)
        assert [user for part in parts for user in part["target_user_ids"]] == users
        assert len(parts) == 3
        assert all(part["record"]["content"] == "hello" for part in parts)
        assert not any("target_user_ids" in part["record"] for part in parts)
        assert world.observer.counts["undelivered", "no-connection"] == 5_000


async def test_a_full_partition_waits_for_its_oldest_and_lets_go_of_who_holds_them_back() -> None:
    async with streaming(max_unsettled=3) as stream:
        ann, ben = await stream.bench.connect("ann"), await stream.bench.connect("ben")
        ann.socket.reads = False
        for offset in range(3):
            stream.feed.give(offset, message("ann", message_id=str(offset)))
        await quiet()
        stream.feed.give(3, message("ben"))
        await quiet()
        assert ben.unheard == []
        assert not ann.connection.closed
        stream.bench.pass_time(delivery.STALL_SECONDS + 1)
        await ben.next("new-message")
        assert ann.connection.closed
        assert not ben.connection.closed
        await eventually(lambda: stream.feed.committed == {0: 4})
        assert {reason for reason, _, _ in stream.bench.world.undelivered()} == {"slow-consumer"}


async def test_another_partition_does_not_count_towards_a_full_one() -> None:
    async with streaming(max_unsettled=1) as stream:
        ann, ben = await stream.bench.connect("ann"), await stream.bench.connect("ben")
        ann.socket.reads = False
        stream.feed.give(0, message("ann"))
        stream.feed.give(0, message("ben"), partition=1)
        await ben.next("new-message")


async def test_each_record_is_encoded_once_for_all_recipients() -> None:
    async with streaming() as stream:
        stream.bench.codec = codec = CountingCodec()
        clients = [await stream.bench.connect(f"u{number}") for number in range(5)]
        before = codec.encoded
        stream.feed.give(0, message(*(f"u{number}" for number in range(5))))
        for client in clients:
            await client.next("new-message")
        assert codec.encoded == before + 1


async def test_the_lag_is_told() -> None:
    async with streaming() as stream:
        stream.bench.world.observer.lag = 99
        stream.feed.give(0, message("ann"))
        await eventually(lambda: stream.bench.world.observer.lag == 0)
