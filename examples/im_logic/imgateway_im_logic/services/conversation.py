"""ConversationService: conversations, their messages and read marks. The RPCs about members are in `members.py`."""

from typing import Any, Final, TypeAlias

import attrs
import grpc

from imgateway.model import UserId
from imgateway_im_logic import shapes
from imgateway_im_logic.conversations import MAX_MEMBERS, Conversation, Kind, Role
from imgateway_im_logic.generated.im.logic.v1 import common_pb2, conversation_pb2
from imgateway_im_logic.membership import demand
from imgateway_im_logic.refusals import invalid, missing
from imgateway_im_logic.services.auth import checked_url
from imgateway_im_logic.services.members import MemberCalls

MAX_NAME_CHARS: Final = 64
MAX_DESCRIPTION_CHARS: Final = 500
DEFAULT_MESSAGES: Final = 50
MAX_MESSAGES: Final = 100
CHANGEABLE: Final = ("name", "avatar_url", "description")

_Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"  # only the stubs know of the parameters


def _checked_name(name: str) -> str:
    shown = " ".join(name.split())
    if not 1 <= len(shown) <= MAX_NAME_CHARS:
        raise invalid(name=f"1 to {MAX_NAME_CHARS} characters.")
    return shown


def _checked_description(description: str) -> str:
    if len(description) > MAX_DESCRIPTION_CHARS:
        raise invalid(description=f"At most {MAX_DESCRIPTION_CHARS} characters.")
    return description


@attrs.frozen
class ConversationService(MemberCalls):
    """See `protos/im/logic/v1/conversation.proto`."""

    async def CreateConversation(
        self, request: conversation_pb2.CreateConversationRequest, _context: _Context
    ) -> conversation_pb2.CreateConversationResponse:
        """Make a conversation, or find the one of two users."""
        now = self.messaging.clock.now()
        creator = self.accounts.meet(UserId(request.creator_id), now).user_id
        others = [UserId(user_id) for user_id in dict.fromkeys(request.member_ids) if user_id != creator]
        if len(others) >= MAX_MEMBERS:
            raise invalid(member_ids=f"A group has at most {MAX_MEMBERS} members.")
        unknown = [user_id for user_id in others if self.accounts.look(user_id) is None]
        if unknown:
            raise missing("There is no user with one of these member_ids.")
        match request.type:
            case Kind.SINGLE:
                if len(others) != 1:
                    raise invalid(member_ids="Exactly one other user.")
                conversation = self.conversations.open_direct(creator, others[0], now)
            case Kind.GROUP:
                name, description = _checked_name(request.name), _checked_description(request.description)
                avatar_url = checked_url(request.avatar_url)
                conversation = self.conversations.open_group(creator, name, avatar_url, description, now)
                for user_id in others:
                    conversation.join(user_id, Role.MEMBER, now)
                self.messaging.signal(conversation, "conversation.member.added", {"userIds": others})
            case _:
                raise invalid(type="SINGLE or GROUP.")
        return conversation_pb2.CreateConversationResponse(conversation=self._shown(conversation, creator))

    async def GetConversation(
        self, request: conversation_pb2.GetConversationRequest, _context: _Context
    ) -> conversation_pb2.GetConversationResponse:
        """One conversation."""
        conversation = self.entered(request)
        answer = conversation_pb2.GetConversationResponse(
            conversation=self._shown(conversation, UserId(request.user_id))
        )
        if request.include_members:
            first = list(conversation.members.values())[: shapes.MAX_PAGE_SIZE]
            answer.members.extend(shapes.member(each, self.accounts) for each in first)
        return answer

    async def GetConversations(
        self, request: conversation_pb2.GetConversationsRequest, _context: _Context
    ) -> conversation_pb2.GetConversationsResponse:
        """The caller's conversations."""
        page = shapes.Page.of(request.page, request.page_size)
        user_id = UserId(request.user_id)
        listed = self._ordered(user_id, request.order_by, request.type_filter)
        return conversation_pb2.GetConversationsResponse(
            conversations=[self._shown(each, user_id) for each in page.cut(listed)],
            total=len(listed),
            page=page.number,
            page_size=page.size,
            has_more=page.has_more(listed),
        )

    async def GetConversationsOptimized(
        self, request: conversation_pb2.GetConversationsOptimizedRequest, _context: _Context
    ) -> conversation_pb2.GetConversationsOptimizedResponse:
        """The caller's conversations, as a list shows them."""
        page = shapes.Page.of(request.page, request.page_size)
        user_id = UserId(request.user_id)
        listed = self._ordered(user_id, request.order_by, request.type_filter)
        shown = [
            shapes.optimized(
                each,
                user_id,
                self.accounts,
                last_message=request.include_last_message,
                unread_count=request.include_unread_count,
            )
            for each in page.cut(listed)
        ]
        return conversation_pb2.GetConversationsOptimizedResponse(
            conversations=shown,
            total=len(listed),
            page=page.number,
            page_size=page.size,
            has_more=page.has_more(listed),
        )

    async def UpdateConversation(
        self, request: conversation_pb2.UpdateConversationRequest, _context: _Context
    ) -> conversation_pb2.UpdateConversationResponse:
        """Change what a group is called, looks like and is about."""
        conversation = self.entered(request)
        demand(conversation, UserId(request.user_id), Role.ADMIN)
        mask = request.update_mask or [field for field in CHANGEABLE if getattr(request, field)]
        if not set(mask) <= set(CHANGEABLE):
            raise invalid(update_mask=f"Some of {', '.join(CHANGEABLE)}.")
        # Everything is checked before anything is changed.
        name = _checked_name(request.name) if "name" in mask else conversation.name
        avatar_url = checked_url(request.avatar_url) if "avatar_url" in mask else conversation.avatar_url
        asked = _checked_description(request.description)
        conversation.description = asked if "description" in mask else conversation.description
        conversation.name, conversation.avatar_url = name, avatar_url
        conversation.updated_at = self.messaging.clock.now()
        self.messaging.signal(conversation, "conversation.updated", {"name": name})
        return conversation_pb2.UpdateConversationResponse(
            conversation=self._shown(conversation, UserId(request.user_id))
        )

    async def DeleteConversation(
        self, request: conversation_pb2.DeleteConversationRequest, _context: _Context
    ) -> conversation_pb2.DeleteConversationResponse:
        """Delete a group."""
        conversation = self.entered(request)
        demand(conversation, UserId(request.user_id), Role.OWNER)
        self.conversations.remove(conversation)
        self.messaging.signal(conversation, "conversation.deleted", {"reason": request.reason})
        return conversation_pb2.DeleteConversationResponse(success=True)

    async def GetMessages(
        self, request: conversation_pb2.GetMessagesRequest, _context: _Context
    ) -> conversation_pb2.GetMessagesResponse:
        """Messages by their places."""
        numbers = {"start_seq_id": request.start_seq_id, "end_seq_id": request.end_seq_id, "limit": request.limit}
        wrong = {name: "At least 0." for name, number in numbers.items() if number < 0}
        if wrong:
            raise invalid(**wrong)
        conversation = self.entered(request)
        limit = min(request.limit or DEFAULT_MESSAGES, MAX_MESSAGES)
        found = conversation.slice(
            request.start_seq_id, request.end_seq_id, limit, request.ascending, frozenset(request.type_filter)
        )
        return conversation_pb2.GetMessagesResponse(
            messages=[shapes.message(each, self.accounts) for each in found.messages],
            has_more=found.has_more,
            next_seq_id=found.next_seq_id,
            prev_seq_id=found.prev_seq_id,
        )

    async def MarkAsRead(
        self, request: conversation_pb2.MarkAsReadRequest, _context: _Context
    ) -> conversation_pb2.MarkAsReadResponse:
        """Move the caller's read mark forward."""
        if request.seq_id < 0:
            raise invalid(seq_id="At least 0.")
        conversation, user_id = self.entered(request), UserId(request.user_id)
        self.messaging.mark_read(user_id, conversation, request.seq_id)
        return conversation_pb2.MarkAsReadResponse(success=True, unread_count=conversation.unread(user_id))

    async def GetUnreadCount(
        self, request: conversation_pb2.GetUnreadCountRequest, _context: _Context
    ) -> conversation_pb2.GetUnreadCountResponse:
        """How much is unread."""
        user_id = UserId(request.user_id)
        counted = [self.entered(request)] if request.conversation_id else list(self.conversations.of(user_id))
        counts = [(each.conversation_id, each.unread(user_id)) for each in counted]
        return conversation_pb2.GetUnreadCountResponse(
            unread_count=sum(count for _, count in counts),
            conversation_counts=[
                common_pb2.ConversationUnreadCount(conversation_id=conversation_id, unread_count=count)
                for conversation_id, count in counts
                if count
            ],
        )

    async def SearchConversations(
        self, request: conversation_pb2.SearchConversationsRequest, _context: _Context
    ) -> conversation_pb2.SearchConversationsResponse:
        """The caller's conversations that contain a text."""
        if not 1 <= len(request.query) <= MAX_NAME_CHARS:
            raise invalid(query=f"1 to {MAX_NAME_CHARS} characters.")
        limit = shapes.Page.of(1, request.limit).size
        user_id, text = UserId(request.user_id), request.query.casefold()
        found = [
            each
            for each in self._ordered(user_id, "", request.type_filter)
            if text in f"{shapes.title(each, user_id, self.accounts)}\n{each.description}".casefold()
        ]
        return conversation_pb2.SearchConversationsResponse(
            conversations=[self._shown(each, user_id) for each in found[:limit]]
        )

    async def GetReadMarks(
        self, request: conversation_pb2.GetReadMarksRequest, _context: _Context
    ) -> conversation_pb2.GetReadMarksResponse:
        """How far the caller's conversations were read."""
        user_id = UserId(request.user_id)
        marks = [
            conversation_pb2.ReadMark(
                conversation_id=each.conversation_id,
                read_seq_id=each.members[user_id].read_seq,
                read_by_others_seq_id=each.read_by_others(user_id),
            )
            for each in self.conversations.of(user_id)
        ]
        return conversation_pb2.GetReadMarksResponse(
            marks=[mark for mark in marks if mark.read_seq_id or mark.read_by_others_seq_id]
        )

    def _shown(self, conversation: Conversation, user_id: UserId) -> common_pb2.Conversation:
        return shapes.conversation(conversation, user_id, self.accounts)

    def _ordered(self, user_id: UserId, order_by: str, kind: int) -> list[Conversation]:
        self.accounts.meet(user_id, self.messaging.clock.now())
        return list(shapes.ordered(list(self.conversations.of(user_id)), user_id, self.accounts, order_by, kind))
