"""im_logic's conversations, members and read marks over gRPC."""

from typing import Any

import grpc
import pytest
from tests.e2e.im_logic import GATEWAY, ImLogic, by, im_logic, refused, wrong_fields

from imgateway.model import GatewayId, UserId
from imgateway_im_logic.conversations import MAX_HISTORY, WORLD, direct_id
from imgateway_im_logic.generated.common.v1 import types_pb2
from imgateway_im_logic.generated.im.logic.v1 import conversation_pb2 as pb
from imgateway_im_logic.generated.im.logic.v1 import message_pb2

pytestmark = pytest.mark.anyio

GROUP, SINGLE = types_pb2.CONVERSATION_TYPE_GROUP, types_pb2.CONVERSATION_TYPE_SINGLE
MEMBER, ADMIN, OWNER = (
    types_pb2.CONVERSATION_MEMBER_ROLE_MEMBER,
    types_pb2.CONVERSATION_MEMBER_ROLE_ADMIN,
    types_pb2.CONVERSATION_MEMBER_ROLE_OWNER,
)
NOT_FOUND, DENIED = grpc.StatusCode.NOT_FOUND, grpc.StatusCode.PERMISSION_DENIED
IMPOSSIBLE = grpc.StatusCode.FAILED_PRECONDITION


@pytest.fixture
def anyio_backend() -> str:
    """What grpc.aio is bound to."""
    return "asyncio"


async def group(logic: ImLogic, creator: str, *members: str, name: str = "Club") -> str:
    request = pb.CreateConversationRequest(creator_id=creator, type=GROUP, name=name, member_ids=members)
    answer = await logic.conversations.CreateConversation(request, metadata=by(creator))
    conversation_id: str = answer.conversation.id
    return conversation_id


async def say(logic: ImLogic, user: str, conversation_id: str, content: str) -> Any:
    request = message_pb2.SendMessageRequest(
        user_id=user, conversation_id=conversation_id, content=content, client_msg_id=f"{user} {content}"
    )
    return (await logic.messages.SendMessage(request, metadata=by(user))).message


async def listed(logic: ImLogic, user: str, **more: Any) -> Any:
    request = pb.GetConversationsOptimizedRequest(user_id=user, **more)
    return await logic.conversations.GetConversationsOptimized(request, metadata=by(user))


async def call(logic: ImLogic, method: str, user: str, **fields: Any) -> Any:
    """A call whose request names the user as the proto does."""
    request = getattr(pb, f"{method}Request")
    who = next(name for name in ("user_id", "creator_id", "operator_id") if name in request.DESCRIPTOR.fields_by_name)
    return await getattr(logic.conversations, method)(request(**{who: user}, **fields), metadata=by(user))


async def test_everyone_finds_the_world_chat_and_may_leave_and_join_it() -> None:
    async with im_logic() as logic:
        ann, bob = await logic.guest("Ann"), await logic.guest("Bob")
        [world] = (await listed(logic, ann)).conversations
        assert (world.id, world.type, world.member_count) == (WORLD, types_pb2.CONVERSATION_TYPE_WORLD, 2)
        assert (await call(logic, "LeaveConversation", ann, conversation_id=WORLD)).success
        assert (await listed(logic, ann)).total == 0
        assert (await refused(say(logic, ann, WORLD, "hi"))).code() is DENIED
        assert [each.user.id for each in (await call(logic, "GetMembers", bob, conversation_id=WORLD)).members] == [bob]
        assert (await call(logic, "JoinWorldChat", ann)).conversation.member_count == 2


async def test_two_users_have_one_conversation_named_after_the_other() -> None:
    async with im_logic() as logic:
        ann, bob, carol = [await logic.guest(name) for name in ("Ann", "Bob", "Carol")]
        first = await call(logic, "CreateConversation", ann, type=SINGLE, member_ids=[bob])
        second = await call(logic, "CreateConversation", bob, type=SINGLE, member_ids=[ann])
        assert first.conversation.id == second.conversation.id == direct_id(UserId(ann), UserId(bob))
        assert (first.conversation.name, second.conversation.name) == ("Bob", "Ann")
        about = {"conversation_id": first.conversation.id}
        assert (await refused(call(logic, "GetConversation", carol, **about))).code() is DENIED
        assert (await refused(call(logic, "LeaveConversation", ann, **about))).code() is IMPOSSIBLE
        assert (await refused(call(logic, "UpdateConversation", ann, name="x", **about))).code() is IMPOSSIBLE
        for members in ([], [ann], [bob, carol]):
            wrong = await refused(call(logic, "CreateConversation", ann, type=SINGLE, member_ids=members))
            assert wrong_fields(wrong) == {"member_ids"}
        unknown = await refused(call(logic, "CreateConversation", ann, type=SINGLE, member_ids=["nobody"]))
        assert unknown.code() is NOT_FOUND


async def test_a_group_is_changed_by_those_who_may() -> None:
    async with im_logic() as logic:
        ann, bob, carol = [await logic.guest(name) for name in ("Ann", "Bob", "Carol")]
        club = {"conversation_id": await group(logic, ann, bob)}
        assert (await refused(call(logic, "UpdateConversation", bob, name="Mine", **club))).code() is DENIED
        assert (await refused(call(logic, "AddMembers", bob, user_ids=[carol], **club))).code() is DENIED
        assert (await refused(call(logic, "GetConversation", carol, **club))).code() is DENIED
        await call(logic, "UpdateMemberRole", ann, target_user_id=bob, new_role=ADMIN, **club)
        added = await call(logic, "AddMembers", bob, user_ids=[carol, ann, "nobody"], **club)
        assert (added.success, list(added.added_user_ids)) == (False, [carol])
        assert {each.user_id: each.error_code for each in added.failed_users} == {
            ann: "ALREADY_MEMBER",
            "nobody": "NOT_FOUND",
        }
        by_admin = await refused(call(logic, "AddMembers", bob, user_ids=[carol], role=ADMIN, **club))
        assert by_admin.code() is DENIED
        removed = await call(logic, "RemoveMembers", bob, user_ids=[carol, ann, "nobody"], reason="x", **club)
        assert list(removed.removed_user_ids) == [carol]
        assert {each.error_code for each in removed.failed_users} == {"FORBIDDEN", "NOT_MEMBER"}
        assert (await refused(call(logic, "DeleteConversation", bob, **club))).code() is DENIED
        assert (await refused(call(logic, "LeaveConversation", ann, **club))).code() is IMPOSSIBLE
        await call(logic, "UpdateMemberRole", ann, target_user_id=bob, new_role=OWNER, **club)
        roles = {each.user.id: each.role for each in (await call(logic, "GetMembers", ann, **club)).members}
        assert roles == {ann: ADMIN, bob: OWNER}
        await call(logic, "DeleteConversation", bob, **club)
        assert (await refused(call(logic, "GetConversation", ann, **club))).code() is NOT_FOUND


async def test_an_update_changes_what_its_mask_names() -> None:
    async with im_logic() as logic:
        ann = await logic.guest("Ann")
        club = {"conversation_id": await group(logic, ann)}
        changed = await call(logic, "UpdateConversation", ann, description="all of us", **club)
        assert (changed.conversation.name, changed.conversation.description) == ("Club", "all of us")
        changed = await call(
            logic, "UpdateConversation", ann, name="Other", update_mask=["name", "description"], **club
        )
        assert (changed.conversation.name, changed.conversation.description) == ("Other", "")
        for fields, wrong in (
            ({"update_mask": ["owner_id"]}, "update_mask"),
            ({"update_mask": ["name"]}, "name"),
            ({"name": "x" * 65}, "name"),
            ({"description": "x" * 501}, "description"),
            ({"avatar_url": "ftp://x"}, "avatar_url"),
        ):
            error = await refused(call(logic, "UpdateConversation", ann, **fields, **club))
            assert wrong_fields(error) == {wrong}
        assert (await call(logic, "GetConversation", ann, **club)).conversation.name == "Other"


async def test_lists_are_paged_ordered_filtered_and_searched() -> None:
    async with im_logic() as logic:
        ann, bob = await logic.guest("Ann"), await logic.guest("Bob")
        for name in ("beta", "Alpha", "gamma"):
            logic.clock.advance(1)
            await group(logic, ann, bob, name=name)
        first = await listed(logic, ann, page_size=2, type_filter=GROUP)
        assert ([each.name for each in first.conversations], first.total, first.has_more) == (
            ["gamma", "Alpha"],
            3,
            True,
        )
        second = await listed(logic, ann, page=2, page_size=2, type_filter=GROUP)
        assert ([each.name for each in second.conversations], second.has_more) == (["beta"], False)
        by_name = await call(logic, "GetConversations", ann, order_by="name")
        assert [each.name for each in by_name.conversations] == ["Alpha", "beta", "gamma", "Lobby"]
        found = await call(logic, "SearchConversations", ann, query="ALPH")
        assert [each.name for each in found.conversations] == ["Alpha"]
        for fields, wrong in (
            ({"page": -1}, {"page"}),
            ({"page": -1, "page_size": -1}, {"page", "page_size"}),
            ({"order_by": "luck"}, {"order_by"}),
            ({"type_filter": 9}, {"type_filter"}),
        ):
            assert wrong_fields(await refused(listed(logic, ann, **fields))) == wrong
        assert wrong_fields(await refused(call(logic, "SearchConversations", ann, query=""))) == {"query"}


async def test_what_is_unread_is_counted_until_it_is_read() -> None:
    async with im_logic() as logic:
        ann, bob = await logic.guest("Ann"), await logic.guest("Bob")
        await logic.connect(ann)
        down = await logic.reader()
        for content in ("one", "two", "three"):
            await say(logic, ann, WORLD, content)
            await down.delivery()
        await say(logic, bob, WORLD, "four")
        await down.delivery()
        [of_bob] = (await listed(logic, bob, include_unread_count=True, include_last_message=True)).conversations
        assert (of_bob.unread_count, of_bob.last_message.content, of_bob.last_message.seq_id) == (3, "four", 4)
        [bare] = (await listed(logic, bob)).conversations
        assert (bare.unread_count, bare.HasField("last_message")) == (0, False)
        read = await call(logic, "MarkAsRead", bob, conversation_id=WORLD, seq_id=2)
        assert (read.success, read.unread_count) == (True, 1)
        signal = await down.signal()
        assert (signal.signal_type, signal.payload) == (
            "message.read",
            {"conversationId": WORLD, "userId": bob, "seqId": 2},
        )
        assert (await call(logic, "MarkAsRead", bob, conversation_id=WORLD, seq_id=1)).unread_count == 1
        counts = await call(logic, "GetUnreadCount", bob)
        assert [(each.conversation_id, each.unread_count) for each in counts.conversation_counts] == [(WORLD, 1)]
        assert (await call(logic, "MarkAsRead", bob, conversation_id=WORLD, seq_id=99)).unread_count == 0
        assert (await call(logic, "GetUnreadCount", bob)).unread_count == 0
        [mark] = (await call(logic, "GetReadMarks", bob)).marks
        assert (mark.conversation_id, mark.read_seq_id, mark.read_by_others_seq_id) == (WORLD, 4, 0)
        [mark] = (await call(logic, "GetReadMarks", ann)).marks
        assert (mark.read_seq_id, mark.read_by_others_seq_id) == (0, 4)
        assert wrong_fields(await refused(call(logic, "MarkAsRead", bob, conversation_id=WORLD, seq_id=-1))) == {
            "seq_id"
        }


async def test_members_online_are_those_on_any_gateway() -> None:
    async with im_logic() as logic:
        ann, bob, carol = [await logic.guest(name) for name in ("Ann", "Bob", "Carol")]
        await logic.connect(bob, GATEWAY)
        session = await logic.connect(carol, GatewayId("g2"))
        assert list((await call(logic, "GetOnlineMembers", ann, conversation_id=WORLD)).user_ids) == sorted(
            [bob, carol]
        )
        await logic.sessions.remove([session])
        assert list((await call(logic, "GetOnlineMembers", ann, conversation_id=WORLD)).user_ids) == [bob]


async def test_messages_are_read_page_by_page_in_both_directions() -> None:
    async with im_logic() as logic:
        ann = await logic.guest("Ann")
        for number in range(1, MAX_HISTORY + 6):
            await say(logic, ann, WORLD, f"n{number}")

        async def page(**fields: Any) -> tuple[list[int], bool, int, int]:
            request = pb.GetMessagesRequest(user_id=ann, conversation_id=WORLD, **fields)
            answer = await logic.conversations.GetMessages(request, metadata=by(ann))
            seqs = [each.seq_id for each in answer.messages]
            return seqs, answer.has_more, answer.next_seq_id, answer.prev_seq_id

        newest = MAX_HISTORY + 5
        assert await page(limit=2) == ([newest, newest - 1], True, 0, newest - 2)
        assert await page(limit=2, ascending=True) == ([6, 7], True, 8, 0)
        assert await page(start_seq_id=newest, ascending=True) == ([newest], False, 0, newest - 1)
        assert await page(start_seq_id=10, end_seq_id=12) == ([12, 11, 10], False, 13, 9)
        assert await page(start_seq_id=newest + 1) == ([], False, 0, 0)
        assert len((await page())[0]) == 50
        assert len((await page(limit=1000))[0]) == 100
        assert (await page(type_filter=[types_pb2.MESSAGE_TYPE_IMAGE]))[0] == []
        error = await refused(page(start_seq_id=-1, limit=-1))
        assert wrong_fields(error) == {"start_seq_id", "limit"}
