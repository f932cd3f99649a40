"""The same message sent again: answered, not written again."""

import pytest
from tests.gateways import eventually, quiet, running_hub

from imgateway.core import recall

pytestmark = pytest.mark.anyio


async def test_a_retry_gets_the_first_receipt_and_writes_nothing() -> None:
    async with running_hub() as bench:
        ann = await bench.connect("ann")
        ann.send_message("m1")
        first = await ann.next("message-ack")
        ann.send_message("m1")
        assert await ann.next("message-ack") == first | {"status": "duplicate"}
        assert len(bench.world.published()) == 1


async def test_a_retry_of_a_message_in_flight_waits_for_the_same_receipt() -> None:
    async with running_hub() as bench:
        phone, laptop = await bench.connect("ann"), await bench.connect("ann")
        bench.world.publisher.hold()
        phone.send_message("m1")
        await eventually(lambda: bench.world.publisher.held)
        laptop.send_message("m1")
        await quiet()
        assert bench.world.publisher.held == 1
        bench.world.publisher.release()
        first, second = await phone.next("message-ack"), await laptop.next("message-ack")
        assert (first["status"], second["status"]) == ("accepted", "duplicate")
        assert second == first | {"status": "duplicate"}
        assert len(bench.world.published()) == 1


async def test_a_retry_of_a_stalled_message_joins_it_and_holds_nobody_up() -> None:
    async with running_hub() as bench:
        phone, laptop = await bench.connect("ann"), await bench.connect("ann")
        bench.world.publisher.full = True
        phone.send_message("m1")
        await eventually(lambda: phone.socket.paused)
        laptop.send_message("m1")
        await quiet()
        assert not laptop.socket.paused
        laptop.send_message("m2")
        await eventually(lambda: laptop.socket.paused)
        bench.world.publisher.full = False
        bench.pass_time(0.25)
        assert (await phone.next("message-ack"))["status"] == "accepted"
        assert [(await laptop.next("message-ack"))["status"] for _ in range(2)] == ["duplicate", "accepted"]


async def test_who_joined_a_stalled_message_stays_held_for_one_of_their_own() -> None:
    async with running_hub() as bench:
        bench.hub.intake.max_pending_bytes = 10  # one message at a time
        other, phone, laptop = await bench.connect("eve"), await bench.connect("ann"), await bench.connect("ann")
        bench.world.publisher.hold()
        other.send_message("m0")
        await eventually(lambda: bench.world.publisher.held)
        phone.send_message("m1")
        await eventually(lambda: phone.socket.paused)
        laptop.send_message("m1")
        laptop.send_message("m2")
        await eventually(lambda: laptop.socket.paused)
        bench.world.publisher.release()
        bench.world.publisher.hold()
        await eventually(lambda: bench.world.publisher.held)
        await quiet()
        assert (phone.socket.paused, laptop.socket.paused) == (False, True)
        bench.world.publisher.release()
        assert [(await laptop.next("message-ack"))["client_msg_id"] for _ in range(2)] == ["m1", "m2"]


@pytest.mark.parametrize("settled", [False, True])
async def test_the_same_id_with_other_content_is_refused(settled: bool) -> None:
    async with running_hub() as bench:
        ann = await bench.connect("ann")
        if not settled:
            bench.world.publisher.hold()
        ann.send_message("m1", "one thing")
        if settled:
            await ann.next("message-ack")
        ann.send_message("m1", "another")
        error = await ann.next("error")
        assert (error["code"], error["details"], error["client_msg_id"]) == (
            "INVALID_MESSAGE",
            "client_msg_id_reused",
            "m1",
        )
        bench.world.publisher.release()
        await eventually(bench.world.published)
        assert [record["content"] for record in bench.world.published()] == ["one thing"]


async def test_a_read_mark_is_another_message_than_one_with_its_id() -> None:
    async with running_hub() as bench:
        ann = await bench.connect("ann")
        ann.send_message("m1", "")
        await ann.next("message-ack")
        ann.say("mark-read", conversationId="c", seqId=1, client_msg_id="m1")
        assert (await ann.next("error"))["details"] == "client_msg_id_reused"
        for status in ("accepted", "duplicate"):
            ann.say("mark-read", conversationId="c", seqId=1, client_msg_id="r1")
            assert (await ann.next("message-ack"))["status"] == status
        ann.say("mark-read", conversationId="c", seqId=2, client_msg_id="r1")
        assert (await ann.next("error"))["details"] == "client_msg_id_reused"


async def test_the_same_id_of_another_user_or_conversation_is_another_message() -> None:
    async with running_hub() as bench:
        ann, ben = await bench.connect("ann"), await bench.connect("ben")
        ann.send_message("m1", conversation_id="c")
        ann.send_message("m1", conversation_id="d")
        ben.send_message("m1", conversation_id="c")
        acks = [await ann.next("message-ack"), await ann.next("message-ack"), await ben.next("message-ack")]
        assert [ack["status"] for ack in acks] == ["accepted"] * 3
        assert len(bench.world.published()) == 3


async def test_after_ten_minutes_a_message_is_forgotten() -> None:
    async with running_hub() as bench:
        ann = await bench.connect("ann")
        ann.send_message("m1")
        await ann.next("message-ack")
        bench.world.clock.advance(recall.KEEP_SECONDS - 1)
        ann.send_message("m1")
        assert (await ann.next("message-ack"))["status"] == "duplicate"
        bench.world.clock.advance(2)
        ann.send_message("m1")
        assert (await ann.next("message-ack"))["status"] == "accepted"


async def test_what_is_remembered_matches_the_contract() -> None:
    assert (recall.KEEP_SECONDS, recall.KEEP_PER_USER) == (600, 200)
    async with running_hub() as bench:
        ann = await bench.connect("ann")
        for number in range(recall.KEEP_PER_USER + 1):
            ann.send_message(str(number))
            await ann.next("message-ack")
        ann.send_message("1")
        assert (await ann.next("message-ack"))["status"] == "duplicate"
        ann.send_message("0")
        assert (await ann.next("message-ack"))["status"] == "accepted"
