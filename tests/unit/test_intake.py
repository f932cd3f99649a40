"""Messages on their way up: acknowledged when durable, in order, within bounds."""

import json

import pytest
from tests.gateways import Client, eventually, quiet, running_hub, settings

from imgateway.core.intake import DELIVERY_TIMEOUT_SECONDS, _Pending
from imgateway.model import PublishFailure

pytestmark = pytest.mark.anyio


async def test_an_ack_says_where_the_message_stands() -> None:
    async with running_hub() as bench:
        ann = await bench.connect("ann")
        ann.send_message("m1", "你好")
        ack = await ann.next("message-ack")
        (record,) = bench.world.broker.records("im-upstream-topic")
        assert ack == {
            "client_msg_id": "m1",
            "status": "accepted",
            "topic": "im-upstream-topic",
            "partition": record.partition,
            "offset": record.offset,
        }
        value = json.loads(record.value)
        assert record.key == b"c"
        assert len(value.pop("trace_id")) == 32
        assert value == {
            "user_id": "ann",
            "gateway_id": "gw-1",
            "conversation_id": "c",
            "message_type": 1,
            "content": "你好",
            "client_msg_id": "m1",
            "timestamp": bench.world.clock.now(),
            "kind": "send-message",
        }
        assert dict(record.headers)["priority"] == b"normal"


async def test_who_a_client_claims_to_be_does_not_matter() -> None:
    async with running_hub() as bench:
        ann = await bench.connect("ann")
        ann.say(
            "send-message",
            conversationId="c",
            content="",
            messageType=1,
            client_msg_id="m",
            user_id="eve",
            extra={"user_id": "eve"},
        )
        await ann.next("message-ack")
        (record,) = bench.world.published()
        assert record["user_id"] == "ann"
        assert record["extra"] == {"user_id": "eve"}


async def test_there_is_no_ack_before_the_publisher_says_durable() -> None:
    async with running_hub() as bench:
        ann = await bench.connect("ann")
        bench.world.publisher.hold()
        ann.send_message("m1")
        await eventually(lambda: bench.world.publisher.held)
        await quiet()
        assert ann.unheard == []
        bench.world.publisher.release()
        assert (await ann.next("message-ack"))["status"] == "accepted"


async def test_messages_of_a_conversation_are_written_in_the_order_sent() -> None:
    async with running_hub(settings(max_inflight_messages=3)) as bench:
        ann = await bench.connect("ann")
        bench.world.publisher.full = True
        for number in range(20):
            ann.send_message(str(number))
        await quiet()
        bench.world.publisher.full = False
        bench.pass_time(0.25)
        acks = [await ann.next("message-ack") for _ in range(20)]
        assert [ack["client_msg_id"] for ack in acks] == [str(number) for number in range(20)]
        assert [record["client_msg_id"] for record in bench.world.published()] == [str(number) for number in range(20)]


async def test_a_full_window_pauses_reading_until_an_answer_makes_room() -> None:
    async with running_hub(settings(max_inflight_messages=2)) as bench:
        ann, ben = await bench.connect("ann"), await bench.connect("ben")
        bench.world.publisher.hold()
        for number in range(5):
            ann.send_message(str(number))
        await eventually(lambda: ann.socket.paused)
        await quiet()
        assert bench.world.publisher.held == 2
        # Another connection has a window of its own.
        ben.send_message("m")
        await eventually(lambda: bench.world.publisher.held == 3)
        bench.world.publisher.release()
        for number in range(5):
            assert (await ann.next("message-ack"))["client_msg_id"] == str(number)
        assert not ann.socket.paused


async def test_a_full_publisher_holds_one_message_of_each_connection_and_goes_on_in_order() -> None:
    async with running_hub() as bench:
        ann, ben = await bench.connect("ann"), await bench.connect("ben")
        bench.world.publisher.full = True
        for client, name in ((ann, "a"), (ben, "b")):
            for number in range(3):
                client.send_message(f"{name}{number}")
            await quiet()
        assert ann.socket.paused
        assert ben.socket.paused
        assert bench.world.published() == []
        bench.world.publisher.full = False
        bench.pass_time(0.25)
        for client, name in ((ann, "a"), (ben, "b")):
            for number in range(3):
                assert (await client.next("message-ack"))["client_msg_id"] == f"{name}{number}"
        written = [record["client_msg_id"] for record in bench.world.published()]
        assert written[:2] == ["a0", "b0"]  # first come, first served


async def test_nobody_overtakes_those_who_found_no_room() -> None:
    async with running_hub() as bench:
        ann, ben = await bench.connect("ann"), await bench.connect("ben")
        bench.world.publisher.full = True
        ann.send_message("a")
        await eventually(lambda: ann.socket.paused)
        bench.world.publisher.full = False
        ben.send_message("b")
        await quiet()
        bench.pass_time(0.25)
        await ann.next("message-ack")
        await ben.next("message-ack")
        assert [record["client_msg_id"] for record in bench.world.published()] == ["a", "b"]


async def test_the_bytes_of_all_that_is_pending_are_bounded() -> None:
    async with running_hub() as bench:
        bench.hub.intake.max_pending_bytes = 1000
        ann, ben = await bench.connect("ann"), await bench.connect("ben")
        bench.world.publisher.hold()
        ann.send_message("a", "x" * 500)
        await eventually(lambda: bench.world.publisher.held == 1)
        ben.send_message("b", "x" * 500)
        await eventually(lambda: ben.socket.paused)
        assert bench.world.publisher.held == 1
        bench.world.publisher.release()
        await ann.next("message-ack")
        await ben.next("message-ack")


async def test_a_message_larger_than_that_bound_is_taken_when_nothing_else_is_pending() -> None:
    async with running_hub() as bench:
        bench.hub.intake.max_pending_bytes = 10
        ann = await bench.connect("ann")
        for number in range(3):
            ann.send_message(str(number))
        for _ in range(3):
            await ann.next("message-ack")


async def test_what_is_not_durable_in_time_is_unavailable_and_its_retry_a_duplicate_once_it_is() -> None:
    async with running_hub() as bench:
        ann = await bench.connect("ann")
        bench.world.publisher.hold()
        ann.send_message("m1")
        await eventually(lambda: bench.world.publisher.held)
        bench.pass_time(DELIVERY_TIMEOUT_SECONDS - 1)
        await quiet()
        assert ann.unheard == []
        bench.pass_time(1.5)
        error = await ann.next("error")
        assert (error["code"], error["client_msg_id"], error["retryAfter"]) == ("UNAVAILABLE", "m1", 1)
        bench.world.publisher.release()
        await eventually(bench.world.published)
        await quiet()
        assert ann.unheard == []
        ann.send_message("m1")
        ack = await ann.next("message-ack")
        assert ack["status"] == "duplicate"
        (record,) = bench.world.broker.records("im-upstream-topic")
        assert (ack["partition"], ack["offset"]) == (record.partition, record.offset)


async def test_the_answer_that_never_came_frees_the_window() -> None:
    async with running_hub(settings(max_inflight_messages=1)) as bench:
        ann = await bench.connect("ann")
        bench.world.publisher.hold()
        ann.send_message("m1")
        await eventually(lambda: ann.socket.paused)
        bench.pass_time(DELIVERY_TIMEOUT_SECONDS + 1)
        await ann.next("error")
        assert not ann.socket.paused


async def test_a_stalled_message_that_nobody_waits_for_any_more_is_never_written() -> None:
    async with running_hub() as bench:
        ann = await bench.connect("ann")
        bench.world.publisher.full = True
        ann.send_message("m1")
        await eventually(lambda: ann.socket.paused)
        bench.pass_time(DELIVERY_TIMEOUT_SECONDS + 1)
        assert (await ann.next("error"))["code"] == "UNAVAILABLE"
        assert not ann.socket.paused
        bench.world.publisher.full = False
        bench.pass_time(1)
        await quiet()
        assert bench.world.published() == []
        # It was not written, so the retry is the first.
        ann.send_message("m1")
        assert (await ann.next("message-ack"))["status"] == "accepted"


@pytest.mark.parametrize(
    ("failure", "code", "retry_after"),
    [
        (PublishFailure.UNKNOWN, "UNAVAILABLE", 1),
        (PublishFailure.REFUSED, "UNAVAILABLE", 1),
        (PublishFailure.TOO_LARGE, "MESSAGE_TOO_LARGE", None),
    ],
)
async def test_what_the_broker_does_not_write_is_told_and_may_be_tried_again(
    failure: PublishFailure, code: str, retry_after: int | None
) -> None:
    async with running_hub() as bench:
        ann = await bench.connect("ann")
        bench.world.publisher.fail_next(failure)
        ann.send_message("m1")
        error = await ann.next("error")
        assert (error["code"], error["client_msg_id"], error.get("retryAfter")) == (code, "m1", retry_after)
        ann.send_message("m1")
        assert (await ann.next("message-ack"))["status"] == "accepted"


async def test_a_client_that_left_is_not_answered_and_its_message_is_written_all_the_same() -> None:
    async with running_hub() as bench:
        ann = await bench.connect("ann")
        bench.world.publisher.hold()
        ann.send_message("m1")
        await eventually(lambda: bench.world.publisher.held)
        ann.socket.leave()
        await ann.ended()
        bench.world.publisher.release()
        await eventually(bench.world.published)
        await quiet()
        assert ann.unheard == []
        # Another of the user's devices hears about the retry.
        phone = await bench.connect("ann")
        phone.send_message("m1")
        assert (await phone.next("message-ack"))["status"] == "duplicate"


async def test_a_read_mark_goes_up_like_a_message() -> None:
    async with running_hub() as bench:
        ann = await bench.connect("ann")
        ann.say("mark-read", conversationId="c", seqId=2**62, client_msg_id="r1")
        assert (await ann.next("message-ack"))["client_msg_id"] == "r1"
        (record,) = bench.world.published()
        told = {name: record[name] for name in ("kind", "message_type", "content", "extra", "client_msg_id")}
        assert told == {
            "kind": "mark-read",
            "message_type": 0,
            "content": "",
            "extra": {"seq_id": 2**62},
            "client_msg_id": "r1",
        }


async def test_a_read_mark_without_an_id_gets_no_ack_and_is_never_a_duplicate() -> None:
    async with running_hub() as bench:
        ann = await bench.connect("ann")
        for _ in range(2):
            ann.say("mark-read", conversationId="c", seqId=5)
        ann.say("ping")
        await ann.next("pong")
        await eventually(lambda: len(bench.world.published()) == 2)
        await quiet()
        assert ann.unheard == []
        assert [record["client_msg_id"] for record in bench.world.published()] == ["", ""]
        assert ann.connection.in_flight == 0


async def test_what_happens_to_messages_is_counted() -> None:
    async with running_hub() as bench:
        ann: Client = await bench.connect("ann")
        bench.world.publisher.fail_next(PublishFailure.UNKNOWN)
        for _ in range(3):
            ann.send_message("m1")
            await eventually(lambda: ann.unheard)
            ann.heard += 1
        counts = bench.world.observer.counts
        assert (counts["message_up", "UNAVAILABLE"], counts["message_up", "accepted"]) == (1, 1)
        assert (counts["message_up", "duplicate"], counts["published", ""]) == (1, 1)


async def test_what_is_settled_costs_no_memory_behind_a_message_that_is_not() -> None:
    """One partition may be stuck while the others go on."""
    async with running_hub() as bench:
        ann, ben = await bench.connect("ann"), await bench.connect("ben")
        publisher = bench.world.publisher
        publisher.hold()
        ann.send_message("stuck", "x" * 1000)
        await eventually(lambda: publisher.held)
        stuck, publisher._held = publisher._held, None
        for number in range(20):
            ben.send_message(f"m{number}", "x" * 1000)
            await ben.next("message-ack")
        waiting = [pending.record for pending in bench.hub.intake._waiting if isinstance(pending, _Pending)]
        assert len(waiting) == 21
        assert sum(len(record.value) for record in waiting[1:]) == 0
        assert stuck is not None
