"""Client messages that methods answer, over real sockets: contract section 4, `reply`."""

import json
from contextlib import AbstractAsyncContextManager

import anyio
import pytest
from tests.e2e.running_gateway import RunningGateway, Server, eventually, mint, running_gateway

from imgateway.adapters.memory import MemoryTranscoder
from imgateway.core.settings import ConnectionSettings
from imgateway.model import Identity
from imgateway.rpc import RestAnswer, RestProblem

pytestmark = pytest.mark.anyio


class BackEnd:
    """A conversation service.

    Attributes:
        under_way: searches that were begun and not ended.
        searched: searches that were begun.
        found: lets them end.
    """

    def __init__(self) -> None:
        self.under_way = self.searched = 0
        self.found = anyio.Event()
        self.transcoder = MemoryTranscoder()
        self.transcoder.answer_message("mark-read", self.mark_read)
        self.transcoder.answer_message("search", self.search)

    def served(self, server: Server, *, max_inflight: int = 64) -> AbstractAsyncContextManager[RunningGateway]:
        """A gateway in front of it."""
        return running_gateway(
            server, connections=ConnectionSettings(max_inflight_messages=max_inflight), transcoder=self.transcoder
        )

    async def mark_read(self, data: bytes, identity: Identity) -> RestAnswer | RestProblem:
        seq_id = json.loads(data).get("seqId")
        if not isinstance(seq_id, int):
            return RestProblem(400, "INVALID_ARGUMENT", "seqId: is no integer")
        return RestAnswer(json.dumps({"userId": identity.user_id, "readTo": seq_id}).encode())

    async def search(self, _: bytes, __: Identity) -> RestAnswer:
        self.searched += 1
        self.under_way += 1
        try:
            await self.found.wait()
        finally:
            self.under_way -= 1
        return RestAnswer(b'{"hits":["' + b"x" * 100_000 + b'"]}')


@pytest.fixture
def back_end() -> BackEnd:
    return BackEnd()


async def test_a_mapped_type_is_answered_and_not_published(server: Server, back_end: BackEnd) -> None:
    async with back_end.served(server) as gateway, await gateway.connect("alice") as client:
        await client.send("mark-read", conversationId="c-1", seqId=2**53 + 1, client_msg_id="m-1")
        assert await client.expect("reply") == {
            "client_msg_id": "m-1",
            "result": {"userId": "alice", "readTo": 2**53 + 1},
        }
        await client.send("mark-read", seqId=1)
        assert await client.expect("reply") == {"result": {"userId": "alice", "readTo": 1}}
        await client.send("mark-read", seqId="1", client_msg_id="m-2")
        assert await client.expect("reply") == {
            "client_msg_id": "m-2",
            "error": {"code": "INVALID_ARGUMENT", "message": "seqId: is no integer"},
        }
        await client.send("mark-unread")
        assert (await client.expect("error"))["details"] == "unknown_type"
        await client.send_message("m-3")
        await client.expect("message-ack")
        assert [record["kind"] for record in gateway.upstream()] == ["send-message"]


async def test_replies_overtake_each_other_and_the_window_holds(server: Server, back_end: BackEnd) -> None:
    async with back_end.served(server, max_inflight=2) as gateway, await gateway.connect() as client:
        await client.send("search", client_msg_id="slow")
        await client.send("mark-read", seqId=1, client_msg_id="quick")
        assert (await client.expect("reply"))["client_msg_id"] == "quick"
        for number in range(3):
            await client.send("search", client_msg_id=str(number))
        await eventually(lambda: back_end.searched == 2)
        await client.send("ping")
        back_end.found.set()
        frames = [await client.frame() for _ in range(5)]
        pong = next(place for place, frame in enumerate(frames) if frame["type"] == "pong")
        assert pong >= 3  # it was not read before at most one call was left
        del frames[pong]
        assert {frame["data"]["client_msg_id"] for frame in frames} == {"slow", "0", "1", "2"}
        assert all(len(frame["data"]["result"]["hits"][0]) == 100_000 for frame in frames)


async def test_a_client_that_leaves_cancels_its_call(server: Server, back_end: BackEnd) -> None:
    async with (
        back_end.served(server) as gateway,
        await gateway.connect() as leaver,
        await gateway.connect("bob") as stayer,
    ):
        await leaver.send("search")
        await stayer.send("search", client_msg_id="s")
        await eventually(lambda: back_end.under_way == 2)
        leaver.socket.transport.abort()
        await eventually(lambda: back_end.under_way == 1)
        back_end.found.set()
        assert (await stayer.expect("reply"))["client_msg_id"] == "s"


async def test_calls_are_answered_before_a_drain_closes(server: Server, back_end: BackEnd) -> None:
    async with back_end.served(server) as gateway, await gateway.connect() as client:
        await client.send("search", client_msg_id="s")
        await eventually(lambda: back_end.under_way == 1)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(gateway.gateway.drain)
            await client.expect("reconnect")
            await client.send("search", client_msg_id="late")
            error = await client.expect("error")
            assert (error["code"], error["client_msg_id"]) == ("DRAINING", "late")
            back_end.found.set()
            assert (await client.expect("reply"))["client_msg_id"] == "s"
            assert await client.ended() == 1012
    assert back_end.searched == 1


async def test_a_refreshed_token_goes_on_calling(server: Server, back_end: BackEnd) -> None:
    async with back_end.served(server) as gateway, await gateway.connect("alice") as client:
        await client.send("refresh-token", token=mint("alice", seconds=3600))
        await client.expect("token-refreshed")
        await client.send("mark-read", seqId=1, userId="eve")
        assert (await client.expect("reply"))["result"]["userId"] == "alice"
