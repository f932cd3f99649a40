"""im_logic's messages: written over gRPC, watched as a stream, described by reflection, healthy until it ends."""

from typing import Any

import anyio
import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from tests.e2e.im_logic import PATIENCE_SECONDS, ImLogic, by, im_logic, refused, wrong_fields

from imgateway_im_logic.conversations import WORLD
from imgateway_im_logic.generated.common.v1 import types_pb2
from imgateway_im_logic.generated.im.logic.v1 import conversation_pb2
from imgateway_im_logic.generated.im.logic.v1 import message_pb2 as pb
from imgateway_im_logic.server import SERVICES
from imgateway_im_logic.watching import MAX_BEHIND

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    """What grpc.aio is bound to."""
    return "asyncio"


def message(user: str, content: str, client_msg_id: str = "m", conversation_id: str = WORLD) -> pb.SendMessageRequest:
    return pb.SendMessageRequest(
        user_id=user, conversation_id=conversation_id, content=content, client_msg_id=client_msg_id
    )


async def say(logic: ImLogic, user: str, content: str) -> None:
    await logic.messages.SendMessage(message(user, content, content), metadata=by(user))


async def test_a_message_over_grpc_goes_down_like_one_over_a_websocket() -> None:
    async with im_logic() as logic:
        ann, bob = await logic.guest("Ann"), await logic.guest("Bob")
        for user in (ann, bob):
            await logic.connect(user)
        down = await logic.reader()
        sent = await logic.messages.SendMessage(message(ann, "你好 👋", "mine"), metadata=by(ann))
        assert (sent.client_msg_id, sent.message.type) == ("mine", types_pb2.MESSAGE_TYPE_TEXT)
        delivery = await down.delivery()
        assert set(delivery.targets) == {ann, bob}
        assert (delivery.content, delivery.seq_id, delivery.client_msg_id) == ("你好 👋", 1, "mine")
        assert (str(delivery.message_id), delivery.sender.username) == (sent.message.id, "Ann")


async def test_a_repeated_request_writes_nothing_twice() -> None:
    async with im_logic() as logic:
        ann = await logic.guest("Ann")
        first = await logic.messages.SendMessage(message(ann, "once"), metadata=by(ann))
        assert await logic.messages.SendMessage(message(ann, "once"), metadata=by(ann)) == first
        other = await refused(logic.messages.SendMessage(message(ann, "twice"), metadata=by(ann)))
        assert other.code() is grpc.StatusCode.ALREADY_EXISTS
        request = conversation_pb2.GetMessagesRequest(user_id=ann, conversation_id=WORLD)
        history = (await logic.conversations.GetMessages(request, metadata=by(ann))).messages
        assert [each.content for each in history] == ["once"]


async def test_what_is_no_message_is_named() -> None:
    async with im_logic() as logic:
        ann, bob, carol = [await logic.guest(name) for name in ("Ann", "Bob", "Carol")]
        empty = pb.SendMessageRequest(user_id=ann, conversation_id=WORLD, type=types_pb2.MESSAGE_TYPE_SYSTEM)
        error = await refused(logic.messages.SendMessage(empty, metadata=by(ann)))
        assert wrong_fields(error) == {"content", "type", "client_msg_id"}
        for request in (message(ann, "x" * 5001), message(ann, "字" * 1667)):
            assert wrong_fields(await refused(logic.messages.SendMessage(request, metadata=by(ann)))) == {"content"}
        unknown = pb.SendMessageRequest(user_id=ann, conversation_id=WORLD, content="x", client_msg_id="m")
        unknown.MergeFromString(b"\x20\x63")  # type 99
        assert wrong_fields(await refused(logic.messages.SendMessage(unknown, metadata=by(ann)))) == {"type"}
        for conversation_id, code in (
            ("nowhere", grpc.StatusCode.NOT_FOUND),
            (f"dm:{min(ann, bob)}:{max(ann, bob)}", grpc.StatusCode.NOT_FOUND),
        ):
            request = message(carol, "let me in", conversation_id=conversation_id)
            assert (await refused(logic.messages.SendMessage(request, metadata=by(carol)))).code() is code


async def test_a_watcher_gets_what_was_missed_and_what_is_new() -> None:
    async with im_logic() as logic:
        ann, bob = await logic.guest("Ann"), await logic.guest("Bob")
        for content in ("one", "two", "three"):
            await say(logic, ann, content)
        watch = logic.messages.WatchMessages(
            pb.WatchMessagesRequest(user_id=bob, conversation_id=WORLD, after_seq_id=1), metadata=by(bob)
        )
        with anyio.fail_after(PATIENCE_SECONDS):
            assert [(await watch.read()).message.content for _ in range(2)] == ["two", "three"]
            await say(logic, ann, "four")
            assert (await watch.read()).message.seq_id == 4
            watch.cancel()
            while logic.back_end.watchers.count:
                await anyio.lowlevel.checkpoint()


async def test_who_may_not_read_may_not_watch() -> None:
    async with im_logic() as logic:
        ann = await logic.guest("Ann")
        request = pb.WatchMessagesRequest(user_id=ann, conversation_id="nowhere")
        missing = await refused(logic.messages.WatchMessages(request, metadata=by(ann)).read())
        assert missing.code() is grpc.StatusCode.NOT_FOUND
        request = pb.WatchMessagesRequest(user_id=ann, conversation_id=WORLD)
        nobody = await refused(logic.messages.WatchMessages(request).read())
        assert nobody.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_a_watcher_who_cannot_keep_up_is_sent_away() -> None:
    async with im_logic() as logic:
        ann = await logic.guest("Ann")
        # Nobody reads here, as where a client does not and the transport is full.
        with logic.back_end.watchers.watch(ann, WORLD) as stream:  # type: ignore[arg-type]  # a user's id
            for number in range(MAX_BEHIND + 1):
                await say(logic, ann, f"n{number}")
            seen = [each.content async for each in stream]
        assert len(seen) == MAX_BEHIND


async def test_health_and_reflection_tell_of_the_services() -> None:
    async with im_logic() as logic:
        health: Any = health_pb2_grpc.HealthStub(logic.channel)  # the stubs know no methods
        for name in ("", *SERVICES):
            answer = await health.Check(health_pb2.HealthCheckRequest(service=name))
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        target = logic.channel_target

        def services() -> set[str]:
            with grpc.insecure_channel(target) as channel:
                return set(ProtoReflectionDescriptorDatabase(channel).get_services())

        assert await anyio.to_thread.run_sync(services) >= {
            "im.logic.v1.AuthService",
            "im.logic.v1.ConversationService",
            "im.logic.v1.MessageService",
            "grpc.health.v1.Health",
        }
