"""What the domain knows, as the messages of im.logic.v1."""

import json
from collections.abc import Sequence
from typing import Any, Final, TypeVar

import attrs

from imgateway.model import UserId
from imgateway_im_logic.accounts import Accounts, User
from imgateway_im_logic.conversations import ChatMessage, Conversation, Kind, Member
from imgateway_im_logic.generated.im.logic.v1 import common_pb2
from imgateway_im_logic.refusals import invalid

DEFAULT_PAGE_SIZE: Final = 20
MAX_PAGE_SIZE: Final = 100

_T = TypeVar("_T")


@attrs.frozen
class Page:
    """A page asked for: counted from 1."""

    number: int
    size: int

    @classmethod
    def of(cls, number: int, size: int, /) -> "Page":
        """What the request says; 0 is what it leaves open.

        Raises:
            RefusedError: a number below 0.
        """
        wrong = {name: "At least 0." for name, value in (("page", number), ("page_size", size)) if value < 0}
        if wrong:
            raise invalid(**wrong)
        return cls(number or 1, min(size or DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE))

    def cut(self, everything: Sequence[_T], /) -> Sequence[_T]:
        """What stands on this page."""
        return everything[(self.number - 1) * self.size : self.number * self.size]

    def has_more(self, everything: Sequence[object], /) -> bool:
        """Whether there is another page behind it."""
        return len(everything) > self.number * self.size


def _number(value: int) -> Any:
    """A value of an enum: a number, whatever the stubs call it."""
    return value


def user(shown: User, /) -> common_pb2.User:
    """A user."""
    return common_pb2.User(
        id=shown.user_id,
        username=shown.username,
        avatar_url=shown.avatar_url,
        is_guest=shown.is_guest,
        status=common_pb2.USER_STATUS_NORMAL,
        created_at=shown.created_at,
        updated_at=shown.updated_at,
    )


def message(written: ChatMessage, accounts: Accounts, /) -> common_pb2.Message:
    """A message; its sender by the name used when it was written."""
    return common_pb2.Message(
        id=str(written.message_id),
        conversation_id=written.conversation_id,
        sender=common_pb2.UserInfo(
            id=written.sender_id,
            username=written.sender_name,
            avatar_url=accounts.shown(written.sender_id).avatar_url,
        ),
        type=_number(written.message_type),
        content=written.content,
        seq_id=written.seq_id,
        client_msg_id=written.client_msg_id,
        extra="" if written.extra is None else json.dumps(written.extra, ensure_ascii=False, separators=(",", ":")),
        created_at=written.created_at,
        updated_at=written.created_at,
    )


def member(entered: Member, accounts: Accounts, /) -> common_pb2.ConversationMember:
    """A member."""
    return common_pb2.ConversationMember(
        user=user(accounts.shown(entered.user_id)), role=_number(entered.role), joined_at=entered.joined_at
    )


def title(conversation: Conversation, user_id: UserId, accounts: Accounts, /) -> str:
    """What a member sees it called: between two users, the other one's name."""
    peer = conversation.peer(user_id)
    return conversation.name if peer is None else accounts.shown(peer).username


def conversation(shown: Conversation, user_id: UserId, accounts: Accounts, /) -> common_pb2.Conversation:
    """A conversation, as a member sees it."""
    last = shown.last_message
    return common_pb2.Conversation(
        id=shown.conversation_id,
        type=_number(shown.kind),
        name=title(shown, user_id, accounts),
        avatar_url=shown.avatar_url,
        description=shown.description,
        owner_id=shown.owner_id or "",
        member_count=len(shown.members),
        last_message=None if last is None else message(last, accounts),
        unread_count=shown.unread(user_id),
        updated_at=shown.updated_at,
        created_at=shown.created_at,
    )


def optimized(
    shown: Conversation, user_id: UserId, accounts: Accounts, *, last_message: bool, unread_count: bool
) -> common_pb2.ConversationOptimized:
    """A conversation in a list, as a member sees it."""
    last = shown.last_message if last_message else None
    return common_pb2.ConversationOptimized(
        id=shown.conversation_id,
        type=_number(shown.kind),
        name=title(shown, user_id, accounts),
        avatar_url=shown.avatar_url,
        description=shown.description,
        owner_id=shown.owner_id or "",
        member_count=len(shown.members),
        last_message=None if last is None else message(last, accounts),
        unread_count=shown.unread(user_id) if unread_count else 0,
        updated_at=shown.updated_at,
        created_at=shown.created_at,
        my_membership=member(shown.members[user_id], accounts),
        last_activity_at=shown.last_activity_at,
    )


def ordered(
    conversations: Sequence[Conversation], user_id: UserId, accounts: Accounts, order_by: str, kind: int, /
) -> Sequence[Conversation]:
    """Those of a kind (0: all) in the order asked for.

    Raises:
        RefusedError: there is no such order.
    """
    if kind not in (0, *Kind):
        raise invalid(type_filter="There is no such type.")
    chosen = [each for each in conversations if kind in (0, each.kind)]
    match order_by:
        case "" | "last_activity":
            return sorted(chosen, key=lambda each: each.last_activity_at, reverse=True)
        case "created_at":
            return sorted(chosen, key=lambda each: each.created_at, reverse=True)
        case "name":
            return sorted(chosen, key=lambda each: title(each, user_id, accounts).casefold())
    raise invalid(order_by="One of last_activity, created_at and name.")
