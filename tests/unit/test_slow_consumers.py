"""Clients that do not read: closed before they cost much, without hurting anyone."""

import pytest
from tests.gateways import eventually, quiet, running_hub, settings
from tests.sockets import SimulatedSocket

from imgateway.codes import TABLE, Code
from imgateway.core.connection import MOST_HELD_SECONDS

pytestmark = pytest.mark.anyio

SLOW_CONSUMER = TABLE[Code.SLOW_CONSUMER].close_code


async def test_who_does_not_read_is_closed_its_records_are_undelivered_and_the_others_have_theirs() -> None:
    async with running_hub(settings(send_queue_bytes=2000)) as bench:
        ann, ben = await bench.connect("ann"), await bench.connect("ben")
        ann.socket.reads = False
        settled: list[int] = []
        for number in range(20):
            bench.deliver("ann", "ben", message_id=str(number), on_settled=lambda: settled.append(1))
            await quiet()
        assert ann.connection.closed
        assert ann.socket.close_reason is not None
        assert ann.socket.close_reason.code == SLOW_CONSUMER
        assert [(await ben.next("new-message"))["id"] for _ in range(20)] == [str(number) for number in range(20)]
        await eventually(lambda: len(settled) == 20)
        assert [(users, message_id) for _, users, message_id in bench.world.undelivered()] == [
            (["ann"], str(number)) for number in range(20)
        ]
        reasons = [reason for reason, _, _ in bench.world.undelivered()]
        assert set(reasons[:5]) == {"slow-consumer"}
        assert reasons[-1] == "no-connection"
        assert bench.world.observer.counts["undelivered", "slow-consumer"] == reasons.count("slow-consumer")
        await bench.hub.presence.flush()
        assert await bench.world.online("ann") == []


async def test_bytes_that_wait_in_the_transport_count_as_well() -> None:
    async with running_hub(settings(send_queue_bytes=2000)) as bench:
        ann = await bench.connect("ann")
        ann.socket.reads = False
        for number in range(6):
            bench.deliver("ann", message_id=str(number))
            await quiet()  # each is written to the transport before the next one comes
        assert ann.socket.buffered_bytes > 1000
        assert not ann.connection.closed
        for number in range(6):
            bench.deliver("ann", message_id=str(number))
        assert ann.connection.closed
        assert ann.socket.buffered_bytes <= 2000


async def test_a_burst_to_one_who_reads_is_bounded_by_the_same_bytes() -> None:
    """The bound is on what waits, and within one turn of the loop everything does."""
    async with running_hub(settings(send_queue_bytes=1024)) as bench:
        ann = await bench.connect("ann")
        bench.deliver("ann", content="x" * 5000)
        assert (await ann.next("new-message"))["content"] == "x" * 5000  # alone it always fits
        for _ in range(20):
            bench.deliver("ann")
        assert await ann.ended() == SLOW_CONSUMER


async def test_a_record_is_handed_over_only_when_the_kernel_has_its_last_byte() -> None:
    async with running_hub() as bench:
        ann = await bench.connect("ann")
        ann.socket.reads = False
        settled: list[str] = []
        bench.deliver("ann", on_settled=lambda: settled.append("ann"))
        await quiet()
        bench.pass_time(5)
        assert settled == []
        ann.socket.read_on()
        await eventually(lambda: settled)
        assert (await ann.next("new-message"))["id"] == "1"
        assert bench.world.observer.counts["delivery", "handed_over"] == 1
        assert bench.world.undelivered() == []


async def test_a_record_that_was_under_way_when_the_client_left_is_undelivered() -> None:
    async with running_hub() as bench:
        ann = await bench.connect("ann")
        ann.socket.reads = False
        settled: list[str] = []
        bench.deliver("ann", on_settled=lambda: settled.append("ann"))
        await quiet()
        ann.socket.leave()
        await eventually(lambda: settled)
        assert bench.world.undelivered() == [("no-connection", ["ann"], "1")]
        assert bench.world.observer.counts["delivery", "missed"] == 1


async def test_what_was_queued_still_goes_out_before_the_close_frame() -> None:
    async with running_hub(settings(max_per_user=1)) as bench:
        ann = await bench.connect("ann")
        settled: list[str] = []
        bench.deliver("ann", on_settled=lambda: settled.append("ann"))
        again = await bench.connect("ann")
        assert (await ann.next("new-message"))["id"] == "1"
        assert await ann.ended() == TABLE[Code.REPLACED].close_code
        assert (settled, again.unheard) == (["ann"], [])


async def test_who_takes_a_record_never_is_let_go_of_though_it_is_alive_and_little_waits() -> None:
    async with running_hub() as bench:
        ann, ben = await bench.connect("ann"), await bench.connect("ben")
        ann.socket.reads = False
        settled: list[str] = []
        bench.deliver("ann", on_settled=lambda: settled.append("ann"))
        await quiet()
        for _ in range(round(MOST_HELD_SECONDS) - 1):
            bench.pass_time(1)
            ann.connection.heard()
            ben.connection.heard()
        assert not ann.connection.closed
        for _ in range(30):
            bench.pass_time(1)
            ann.connection.heard()
            ben.connection.heard()
        assert ann.connection.closed
        assert ann.socket.close_reason is not None
        assert ann.socket.close_reason.code == SLOW_CONSUMER
        await eventually(lambda: settled)
        assert bench.world.undelivered() == [("slow-consumer", ["ann"], "1")]
        assert not ben.connection.closed


async def test_letting_go_of_the_slow_spares_those_who_hold_back_nothing_that_old() -> None:
    async with running_hub() as bench:
        ann, ben, cat = [await bench.connect(user) for user in ("ann", "ben", "cat")]
        for client in (ann, ben):
            client.socket.reads = False
        bench.deliver("ann", "cat")
        await quiet()
        bench.pass_time(2)
        bench.deliver("ben", "cat")
        await quiet()
        bench.pass_time(1)
        bench.hub.let_go_of_slow(2.0)
        assert [client.connection.closed for client in (ann, ben, cat)] == [True, False, False]


async def test_the_bytes_that_wait_are_counted_and_none_is_left_in_the_end() -> None:
    async with running_hub(settings(send_queue_bytes=2000)) as bench:
        observer = bench.world.observer
        slow, lost, fine = [await bench.connect(user) for user in ("ann", "ben", "cat")]
        opening = SimulatedSocket()
        bench.deliver("ann", "ben", "cat")
        await quiet()
        assert observer.waiting_bytes == 0
        for client in (slow, lost):
            client.socket.reads = False
        bench.deliver("ann", "ben", "cat")
        await quiet()
        assert observer.waiting_bytes == sum(client.socket.buffered_bytes for client in (slow, lost)) > 0
        for _ in range(30):
            bench.deliver("ann")
        bench.deliver("ben")
        lost.connection.lost(1006)
        slow.socket.leave()
        fine.socket.send(b"binary")
        await fine.ended()
        await quiet()
        assert observer.waiting_bytes == 0
        assert opening.received == []
