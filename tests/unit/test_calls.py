"""Client messages that methods answer: replies, errors, bounds, and what ends a call early."""

import asyncio
import logging
from typing import Any

import anyio
import attrs
import pytest
from tests.gateways import Bench, Client, eventually, quiet, running_gateway, running_hub
from tests.gateways import settings as gateway_settings

from imgateway.adapters.memory import MemoryTranscoder
from imgateway.codes import TABLE, Code
from imgateway.core.settings import Settings
from imgateway.core.settings_grpc import GrpcSettings
from imgateway.model import Identity
from imgateway.rpc import Metadata, RestAnswer, RestProblem
from imgateway.wire.json_codec import JsonCodec
from imgateway.wire.messages import Call

pytestmark = pytest.mark.anyio

REFUSED = RestProblem(
    404, "NOT_FOUND", "There is no such conversation.", ({"@type": "t", "reason": "gone"},), retry_after=3
)


class BackEnd(MemoryTranscoder):
    """Methods for every kind of call, and what they were asked.

    Attributes:
        asked: type and data of each call, in the order they began.
        told: metadata and time of each.
        users: whose identity each had.
        cancelled: how many were.
        go: what `wait` waits for.
    """

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[str, bytes]] = []
        self.told: list[tuple[Metadata, float]] = []
        self.users: list[Identity] = []
        self.cancelled = 0
        self.go = anyio.Event()
        self.answer_message("mark-read", self.echo)
        self.answer_message("send-message", self.echo)
        self.answer_message("ask", self.echo)
        self.answer_message("refuse", self.refuse_it)
        self.answer_message("wait", self.wait)
        self.answer_message("raise", self.fail)
        self.answer_message("cancels", self.cancel_itself)
        self.answer_message("nonsense", self.nonsense)
        self.answer_message("odd-details", self.odd_details)

    async def message(
        self, message_type: str, data: bytes, identity: Identity, metadata: Metadata, seconds: float, /
    ) -> RestAnswer | RestProblem:
        self.asked.append((message_type, data))
        self.told.append((metadata, seconds))
        self.users.append(identity)
        return await super().message(message_type, data, identity, metadata, seconds)

    async def echo(self, data: bytes, identity: Identity) -> RestAnswer:
        return RestAnswer(b'{"user": "%s", "data": %s}' % (identity.user_id.encode(), data))

    async def refuse_it(self, _: bytes, __: Identity) -> RestProblem:
        return REFUSED

    async def wait(self, data: bytes, identity: Identity) -> RestAnswer:
        try:
            await self.go.wait()
        except anyio.get_cancelled_exc_class():
            self.cancelled += 1
            raise
        return await self.echo(data, identity)

    async def fail(self, _: bytes, __: Identity) -> RestAnswer:
        raise ValueError("a bug of the transcoder")

    async def cancel_itself(self, _: bytes, __: Identity) -> RestAnswer:
        raise asyncio.CancelledError  # as grpc.aio does

    async def nonsense(self, _: bytes, __: Identity) -> RestAnswer:
        return None  # type: ignore[return-value]  # what a broken one does

    async def odd_details(self, _: bytes, __: Identity) -> RestProblem:
        return RestProblem(400, "ABORTED", "", ({"@type": object()},))


@pytest.fixture
def back_end() -> BackEnd:
    return BackEnd()


def settings(*, messages: dict[str, str] | None = None, deadline: float = 10.0, **connections: Any) -> Settings:
    grpc = GrpcSettings(default_deadline_seconds=deadline, messages=messages or {})
    return attrs.evolve(gateway_settings(**connections), grpc=grpc)


def echoed(user: str, data: dict[str, Any]) -> dict[str, Any]:
    return {"user": user, "data": data}


async def call_in_vain(client: Client, type_: str) -> dict[str, Any]:
    """Call something that fails; the error, which must be the whole reply."""
    client.say(type_, client_msg_id="m")
    reply = await client.next("reply")
    assert reply.keys() == {"client_msg_id", "error"}
    assert reply["client_msg_id"] == "m"
    error = reply["error"]
    assert isinstance(error, dict)
    return error


async def a_window(bench: Bench, client: Client, back_end: BackEnd, calls: int) -> None:
    """Fill the window with calls that wait."""
    for number in range(calls):
        client.say("wait", client_msg_id=str(number))
    await eventually(lambda: len(back_end.asked) == calls)


# Answers.


async def test_a_mapped_type_is_answered_by_its_method_and_written_nowhere(back_end: BackEnd) -> None:
    async with running_hub(transcoder=back_end) as bench:
        ann = await bench.connect("ann")
        for type_ in ("mark-read", "send-message", "ask"):
            data = {"conversationId": "c", "seqId": 7, "content": "x" * 6000, "client_msg_id": "m1"}
            ann.say(type_, **data)
            assert await ann.next("reply") == {"client_msg_id": "m1", "result": echoed("ann", data)}
        assert bench.world.published() == []
        assert bench.world.observer.counts["message_up", "accepted"] == 0


async def test_a_type_that_is_not_mapped_stays_what_it_was() -> None:
    transcoder = MemoryTranscoder()
    transcoder.answer_message("ask", BackEnd().echo)
    async with running_hub(transcoder=transcoder) as bench:
        ann = await bench.connect("ann")
        ann.say("mark-read", conversationId="c", seqId=7, client_msg_id="m1")
        await ann.next("message-ack")
        assert [record["kind"] for record in bench.world.published()] == ["mark-read"]
        ann.say("answer", client_msg_id="m2")
        assert (await ann.next("error"))["details"] == "unknown_type"


async def test_a_call_without_an_id_is_answered_without_one(back_end: BackEnd) -> None:
    async with running_hub(transcoder=back_end) as bench:
        ann = await bench.connect("ann")
        ann.say("ask", a=1)
        assert await ann.next("reply") == {"result": echoed("ann", {"a": 1})}
        ann.say("refuse")
        assert (await ann.next("reply")).keys() == {"error"}


async def test_the_back_end_gets_the_data_to_the_letter_a_trace_and_the_time(back_end: BackEnd) -> None:
    async with running_hub(settings(deadline=2.5), transcoder=back_end) as bench:
        ann = await bench.connect("ann")
        ann.socket.send('{"type":"ask", "data": { "n" : 1.50e1,"s":"\\u00e9"} ,"timestamp":1}')
        await ann.next("reply")
        ann.say("ask")
        await ann.next("reply")
    assert back_end.asked == [("ask", b'{ "n" : 1.50e1,"s":"\\u00e9"}'), ("ask", b"{}")]
    traces = set()
    for metadata, seconds in back_end.told:
        assert seconds == 2.5
        assert [name for name, _ in metadata] == ["x-request-id", "traceparent"]
        trace_id = metadata[0][1]
        assert isinstance(trace_id, str)
        assert len(trace_id) == 32
        assert metadata[1][1] == f"00-{trace_id}-{trace_id[16:]}-01"
        traces.add(trace_id)
    assert len(traces) == 2


async def test_a_refusal_says_everything_the_back_end_did(back_end: BackEnd) -> None:
    async with running_hub(settings(messages={"refuse": "a.B/Refuse"}), transcoder=back_end) as bench:
        ann = await bench.connect("ann")
        assert await call_in_vain(ann, "refuse") == {
            "code": "NOT_FOUND",
            "message": "There is no such conversation.",
            "details": [{"@type": "t", "reason": "gone"}],
            "retryAfter": 3,
        }
        ann.say("ask")
        await ann.next("reply")
        # By the method where the settings name it.
        assert bench.world.observer.counts["call_finished", "a.B/Refuse NOT_FOUND"] == 1
        assert bench.world.observer.counts["call_finished", "ask OK"] == 1


async def test_refused_calls_are_no_malformed_frames(back_end: BackEnd) -> None:
    async with running_hub(settings(max_malformed_frames=2), transcoder=back_end) as bench:
        ann = await bench.connect("ann")
        for _ in range(5):
            await call_in_vain(ann, "refuse")
        ann.say("ask", client_msg_id="")
        assert (await ann.next("error"))["details"] == "invalid_field"
        ann.socket.send('{"type":"ask","data":[]}')
        await ann.next("error")
        assert await ann.ended() == TABLE[Code.INVALID_MESSAGE].close_code


@pytest.mark.parametrize("type_", ["raise", "nonsense", "odd-details"])
async def test_a_transcoder_that_fails_harms_nobody_else(
    back_end: BackEnd, type_: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with running_hub(transcoder=back_end) as bench:
        ann, ben = await bench.connect("ann"), await bench.connect("ben")
        ben.say("wait", client_msg_id="w")
        with caplog.at_level(logging.ERROR, "imgateway.core.calls"):
            error = await call_in_vain(ann, type_)
        assert error == {"code": "INTERNAL", "message": "The server has failed; its log says how."}
        assert caplog.records
        back_end.go.set()
        assert (await ben.next("reply"))["client_msg_id"] == "w"
        ann.say("ask")
        await ann.next("reply")


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_transcoder_that_cancels_by_itself_harms_nobody_else(back_end: BackEnd) -> None:
    async with running_hub(transcoder=back_end) as bench:
        ann, ben = await bench.connect("ann"), await bench.connect("ben")
        ben.say("wait", client_msg_id="w")
        assert (await call_in_vain(ann, "cancels"))["code"] == "CANCELLED"
        back_end.go.set()
        assert (await ben.next("reply"))["client_msg_id"] == "w"
        ann.say("ask")
        await ann.next("reply")


async def test_a_codec_that_knows_calls_where_nobody_makes_them() -> None:
    async with running_hub() as bench:
        bench.codec = JsonCodec(frozenset({"ask"}))
        assert (await call_in_vain(await bench.connect("ann"), "ask"))["code"] == "UNIMPLEMENTED"


# Side by side, and within bounds.


async def test_replies_come_as_the_back_end_answers(back_end: BackEnd) -> None:
    async with running_hub(transcoder=back_end) as bench:
        ann = await bench.connect("ann")
        ann.say("wait", client_msg_id="slow")
        ann.say("ask", client_msg_id="quick")
        assert (await ann.next("reply"))["client_msg_id"] == "quick"
        back_end.go.set()
        assert (await ann.next("reply"))["client_msg_id"] == "slow"


async def test_calls_and_messages_share_the_window(back_end: BackEnd) -> None:
    async with running_hub(settings(max_inflight_messages=3), transcoder=back_end) as bench:
        ann, ben = await bench.connect("ann"), await bench.connect("ben")
        await a_window(bench, ann, back_end, 3)
        assert ann.socket.paused
        for number in range(3, 5):
            ann.say("wait", client_msg_id=str(number))
        await quiet()
        assert len(back_end.asked) == 3
        # Another connection has a window of its own.
        ben.say("ask")
        await ben.next("reply")
        back_end.go.set()
        answered = {(await ann.next("reply"))["client_msg_id"] for _ in range(5)}
        assert answered == set("01234")
        assert not ann.socket.paused
        assert ann.connection.in_flight == 0


@pytest.mark.parametrize(("bound", "value"), [("most", 2), ("most_bytes", 50)])
async def test_calls_are_bounded_over_all_connections(back_end: BackEnd, bound: str, value: int) -> None:
    async with running_hub(transcoder=back_end) as bench:
        setattr(bench.hub.calls, bound, value)
        ann, ben = await bench.connect("ann"), await bench.connect("ben")
        await a_window(bench, ann, back_end, 2)
        assert await call_in_vain(ben, "ask") == {
            "code": "OVERLOADED",
            "message": "The gateway makes too many calls already.",
            "retryAfter": 1,
        }
        assert bench.world.observer.counts["call_finished", "ask OVERLOADED"] == 1
        back_end.go.set()
        for _ in range(2):
            await ann.next("reply")
        # However much it is: nothing else is under way.
        ben.say("ask", text="x" * 100)
        assert "result" in await ben.next("reply")


# Ends.


async def test_a_connection_that_ends_cancels_its_calls_and_nobody_elses(back_end: BackEnd) -> None:
    async with running_hub(transcoder=back_end) as bench:
        ann, ben = await bench.connect("ann"), await bench.connect("ben")
        await a_window(bench, ann, back_end, 3)
        ben.say("wait", client_msg_id="w")
        await eventually(lambda: len(back_end.asked) == 4)
        ann.socket.leave()
        await ann.ended()
        await eventually(lambda: back_end.cancelled == 3)
        await eventually(lambda: bench.world.observer.counts["call_finished", "wait CANCELLED"] == 3)
        back_end.go.set()
        assert (await ben.next("reply"))["client_msg_id"] == "w"
        assert ann.connection.in_flight == 0
        # Nothing of it is kept.
        assert bench.hub.calls._count == bench.hub.calls._bytes == 0
        assert not bench.hub.calls._by_connection


async def test_a_call_whose_client_left_at_once_is_never_made(back_end: BackEnd) -> None:
    async with running_hub(transcoder=back_end) as bench:
        ann = await bench.connect("ann")
        ann.connection.receive_text('{"type":"ask","data":{}}')
        ann.socket.leave()
        ann.connection.lost(1006)
        await quiet()
        assert back_end.asked == []
        assert bench.hub.calls._count == 0


async def test_calls_end_with_the_gateway(back_end: BackEnd) -> None:
    async with running_gateway(transcoder=back_end) as house:
        ann = await house.connect("ann")
        ann.say("wait")
        await eventually(lambda: back_end.asked)
    assert back_end.cancelled == 1


async def test_a_drain_waits_for_calls_and_takes_no_new_ones(back_end: BackEnd) -> None:
    async with running_gateway(transcoder=back_end) as house:
        ann = await house.connect("ann")
        ann.say("wait", client_msg_id="w")
        await eventually(lambda: back_end.asked)
        house.world.tasks.start_soon(house.gateway.drain)
        await ann.next("reconnect")
        ann.say("ask", client_msg_id="late")
        error = await ann.next("error")
        assert (error["code"], error["client_msg_id"]) == ("DRAINING", "late")
        await quiet()
        assert ann.socket.over is None
        back_end.go.set()
        assert (await ann.next("reply"))["client_msg_id"] == "w"
        assert await ann.ended() == TABLE[Code.DRAINING].close_code


# Who calls.


async def test_a_call_is_made_by_whom_the_newest_token_proved(back_end: BackEnd) -> None:
    async with running_hub(transcoder=back_end) as bench:
        now = bench.world.clock.now()
        first, second = now + 60_000, now + 90_000
        ann = await bench.connect(f"ann@{first}")
        ann.say("ask")
        ann.say("refresh-token", token=f"ann@{second}")
        ann.say("ask", user_id="eve")
        await eventually(lambda: len(ann.unheard) == 3)
    calls = dict(zip(back_end.asked, back_end.users, strict=True))
    before, after = calls["ask", b"{}"], calls["ask", b'{"user_id": "eve"}']
    assert (before.user_id, before.expires_at) == ("ann", first)
    assert (after.user_id, after.expires_at) == ("ann", second)


async def test_calls_are_made_within_the_grace_of_an_expired_token(back_end: BackEnd) -> None:
    async with running_hub(settings(expiry_grace_seconds=25.0), transcoder=back_end) as bench:
        ann = await bench.connect(f"ann@{bench.world.clock.now() + 1000}")
        bench.pass_time(2.0)
        ann.say("ask", a=1)
        assert await ann.next("reply") == {"result": echoed("ann", {"a": 1})}


def test_calls_are_values() -> None:
    assert JsonCodec(frozenset({"ask"})).decode('{"type":"ask","data":{"client_msg_id":"m"}}') == Call(
        "ask", b'{"client_msg_id":"m"}', "m"
    )
