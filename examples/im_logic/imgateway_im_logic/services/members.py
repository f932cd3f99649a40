"""The RPCs of ConversationService that are about members."""

from collections.abc import Sequence
from typing import Any, Final, Protocol, TypeAlias

import attrs
import grpc

from imgateway.model import ConversationId, UserId
from imgateway_im_logic import shapes
from imgateway_im_logic.accounts import Accounts
from imgateway_im_logic.conversations import Conversation, Conversations, Kind, Role
from imgateway_im_logic.generated.im.logic.v1 import common_pb2, conversation_pb2, conversation_pb2_grpc
from imgateway_im_logic.membership import Failed, add, give_role, leave, remove
from imgateway_im_logic.messaging import Messaging
from imgateway_im_logic.refusals import invalid

MAX_USERS_AT_ONCE: Final = 100

_Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"  # only the stubs know of the parameters


class _AboutOne(Protocol):
    """A request of a user about a conversation."""

    user_id: str
    conversation_id: str


@attrs.frozen
class MemberCalls(conversation_pb2_grpc.ConversationServiceServicer):
    """See `protos/im/logic/v1/conversation.proto`."""

    messaging: Messaging

    @property
    def accounts(self) -> Accounts:
        """Who the users are."""
        return self.messaging.accounts

    @property
    def conversations(self) -> Conversations:
        """All conversations."""
        return self.messaging.conversations

    def entered(self, request: _AboutOne, /) -> Conversation:
        """The conversation that the request is about.

        Raises:
            RefusedError: there is none, or who asks is no member.
        """
        user_id = self.accounts.meet(UserId(request.user_id), self.messaging.clock.now()).user_id
        return self.conversations.entered(user_id, ConversationId(request.conversation_id))

    async def AddMembers(
        self, request: conversation_pb2.AddMembersRequest, _context: _Context
    ) -> conversation_pb2.AddMembersResponse:
        """Add members to a group."""
        operator, user_ids = UserId(request.operator_id), _some(request.user_ids)
        conversation = self.conversations.entered(operator, ConversationId(request.conversation_id))
        role = _role(request.role, "role") if request.role else Role.MEMBER
        outcome = add(conversation, operator, user_ids, role, self.accounts, self.messaging.clock.now())
        if outcome.done:
            self.messaging.signal(conversation, "conversation.member.added", {"userIds": outcome.done})
        return conversation_pb2.AddMembersResponse(
            success=not outcome.failed, added_user_ids=outcome.done, failed_users=map(_failed, outcome.failed)
        )

    async def RemoveMembers(
        self, request: conversation_pb2.RemoveMembersRequest, _context: _Context
    ) -> conversation_pb2.RemoveMembersResponse:
        """Remove members from a group."""
        operator, user_ids = UserId(request.operator_id), _some(request.user_ids)
        conversation = self.conversations.entered(operator, ConversationId(request.conversation_id))
        outcome = remove(conversation, operator, user_ids, self.messaging.clock.now())
        if outcome.done:
            payload = {"userIds": outcome.done, "reason": request.reason}
            self.messaging.signal(conversation, "conversation.member.removed", payload, outcome.done)
        return conversation_pb2.RemoveMembersResponse(
            success=not outcome.failed, removed_user_ids=outcome.done, failed_users=map(_failed, outcome.failed)
        )

    async def UpdateMemberRole(
        self, request: conversation_pb2.UpdateMemberRoleRequest, _context: _Context
    ) -> conversation_pb2.UpdateMemberRoleResponse:
        """Give a member another role."""
        operator = UserId(request.operator_id)
        conversation = self.conversations.entered(operator, ConversationId(request.conversation_id))
        role, target = _role(request.new_role, "new_role"), UserId(request.target_user_id)
        give_role(conversation, operator, target, role, self.messaging.clock.now())
        self.messaging.signal(conversation, "conversation.updated", {"userId": target, "role": role})
        return conversation_pb2.UpdateMemberRoleResponse(success=True)

    async def GetMembers(
        self, request: conversation_pb2.GetMembersRequest, _context: _Context
    ) -> conversation_pb2.GetMembersResponse:
        """The members of a conversation."""
        page = shapes.Page.of(request.page, request.page_size)
        role = _role(request.role_filter, "role_filter") if request.role_filter else None
        conversation = self.entered(request)
        listed = [each for each in conversation.members.values() if role in (None, each.role)]
        return conversation_pb2.GetMembersResponse(
            members=[shapes.member(each, self.accounts) for each in page.cut(listed)],
            total=len(listed),
            page=page.number,
            page_size=page.size,
            has_more=page.has_more(listed),
        )

    async def LeaveConversation(
        self, request: conversation_pb2.LeaveConversationRequest, _context: _Context
    ) -> conversation_pb2.LeaveConversationResponse:
        """Leave a group or the world chat."""
        conversation, user_id = self.entered(request), UserId(request.user_id)
        leave(conversation, user_id, self.messaging.clock.now())
        if not conversation.members and conversation.kind is Kind.GROUP:
            self.conversations.remove(conversation)
        payload = {"userIds": [user_id], "reason": ""}
        self.messaging.signal(conversation, "conversation.member.removed", payload, [user_id])
        return conversation_pb2.LeaveConversationResponse(success=True)

    async def JoinWorldChat(
        self, request: conversation_pb2.JoinWorldChatRequest, _context: _Context
    ) -> conversation_pb2.JoinWorldChatResponse:
        """Join the world chat."""
        now = self.messaging.clock.now()
        user_id = self.accounts.meet(UserId(request.user_id), now).user_id
        self.conversations.enter_world(user_id, now)
        world = shapes.conversation(self.conversations.world, user_id, self.accounts)
        return conversation_pb2.JoinWorldChatResponse(success=True, conversation=world)

    async def GetOnlineMembers(
        self, request: conversation_pb2.GetOnlineMembersRequest, _context: _Context
    ) -> conversation_pb2.GetOnlineMembersResponse:
        """Which members are connected."""
        members = sorted(self.entered(request).members)
        online = [user_id for user_id in members if await self.messaging.is_online(user_id)]
        return conversation_pb2.GetOnlineMembersResponse(user_ids=online)


def _some(user_ids: Sequence[str]) -> Sequence[UserId]:
    if not 1 <= len(user_ids) <= MAX_USERS_AT_ONCE:
        raise invalid(user_ids=f"1 to {MAX_USERS_AT_ONCE} users.")
    return [UserId(user_id) for user_id in user_ids]


def _role(number: int, field: str) -> Role:
    try:
        return Role(number)
    except ValueError:
        raise invalid(**{field: "There is no such role."}) from None


def _failed(failed: Failed) -> common_pb2.FailedUser:
    return common_pb2.FailedUser(user_id=failed.user_id, reason=failed.reason, error_code=failed.error_code)
