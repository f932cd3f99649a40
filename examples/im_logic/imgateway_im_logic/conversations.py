"""Conversations, their members, messages and read marks. In memory, bounded, no I/O.

Ids: `world` is everyone's; `dm:{a}:{b}` is the conversation of the users `a` and `b` in ascending order of their ids.
"""

import uuid
from collections import OrderedDict, deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from enum import IntEnum
from typing import Any, Final

import attrs

from imgateway.model import ConversationId, UserId, is_valid_user_id
from imgateway_im_logic.refusals import forbidden, missing

WORLD: Final = ConversationId("world")
WORLD_NAME: Final = "Lobby"
MAX_CONVERSATIONS: Final = 1000
MAX_MEMBERS: Final = 500
MAX_HISTORY: Final = 200


class Kind(IntEnum):
    """What a conversation is; the numbers of `common.v1.ConversationType`."""

    SINGLE = 1
    GROUP = 2
    WORLD = 3


class Role(IntEnum):
    """What a member may do; the numbers of `common.v1.ConversationMemberRole`."""

    MEMBER = 1
    ADMIN = 2
    OWNER = 3


@attrs.frozen
class ChatMessage:
    """A message as it stands in a conversation.

    Attributes:
        message_id: 64-bit, ascending, and unique over restarts: milliseconds since the epoch in its upper bits.
        sender_name: what the sender was called then.
        seq_id: 1 for the first message of the conversation, then without gaps.
    """

    message_id: int
    conversation_id: ConversationId
    sender_id: UserId
    sender_name: str
    content: str
    message_type: int
    seq_id: int
    created_at: int
    client_msg_id: str
    extra: Mapping[str, Any] | None = None


@attrs.define(eq=False)
class Member:
    """A user in a conversation, and how far they have read."""

    user_id: UserId
    role: Role
    joined_at: int
    read_seq: int = 0


@attrs.frozen
class Slice:
    """Some messages of a conversation, and how to go on: 0 where there is nothing more."""

    messages: Sequence[ChatMessage]
    has_more: bool
    next_seq_id: int
    prev_seq_id: int


@attrs.define(eq=False)
class Conversation:
    """One conversation: its members by joining, and its newest messages."""

    conversation_id: ConversationId
    kind: Kind
    created_at: int
    name: str = ""
    avatar_url: str = ""
    description: str = ""
    updated_at: int = 0
    members: dict[UserId, Member] = attrs.field(factory=dict)
    messages: deque[ChatMessage] = attrs.field(factory=lambda: deque(maxlen=MAX_HISTORY))
    last_seq: int = 0

    @property
    def owner_id(self) -> UserId | None:
        """The owner of a group."""
        return next((user_id for user_id, member in self.members.items() if member.role is Role.OWNER), None)

    @property
    def last_message(self) -> ChatMessage | None:
        """The newest one."""
        return self.messages[-1] if self.messages else None

    @property
    def last_activity_at(self) -> int:
        """When something was last written, or else when it was made."""
        return self.messages[-1].created_at if self.messages else self.created_at

    def peer(self, user_id: UserId, /) -> UserId | None:
        """The other one of two."""
        others = [other for other in self.members if other != user_id] if self.kind is Kind.SINGLE else []
        return others[0] if others else None

    def join(self, user_id: UserId, role: Role, now: int, /) -> None:
        """Make a user a member, who has read nothing yet."""
        self.members[user_id] = Member(user_id, role, now)

    def unread(self, user_id: UserId, /) -> int:
        """How many messages of others that are still kept stand behind the user's read mark."""
        read = self.members[user_id].read_seq
        return sum(message.seq_id > read and message.sender_id != user_id for message in self.messages)

    def mark_read(self, user_id: UserId, seq_id: int, /) -> int | None:
        """Move a member's read mark forward, to the newest message at most. The new mark; None where it stays."""
        mark = min(seq_id, self.last_seq)
        if mark <= self.members[user_id].read_seq:
            return None
        self.members[user_id].read_seq = mark
        return mark

    def read_by_others(self, user_id: UserId, /) -> int:
        """How far anyone but `user_id` has read."""
        return max((member.read_seq for member in self.members.values() if member.user_id != user_id), default=0)

    def after(self, seq_id: int, /) -> Sequence[ChatMessage]:
        """The messages behind `seq_id` that are still kept, in order."""
        return [message for message in self.messages if message.seq_id > seq_id]

    def slice(self, start: int, end: int, limit: int, ascending: bool, kinds: Collection[int], /) -> Slice:
        """The messages at `start` to `end` (0: without bound) of some kinds (none: all), `limit` at most."""
        found = [
            message
            for message in self.messages
            if message.seq_id >= start
            and (not end or message.seq_id <= end)
            and (not kinds or message.message_type in kinds)
        ]
        chosen = found[:limit] if ascending else found[: -limit - 1 : -1]
        if not chosen:
            return Slice((), False, 0, 0)
        places = [message.seq_id for message in chosen]
        newest, oldest = max(places), min(places)
        return Slice(
            chosen,
            len(found) > len(chosen),
            newest + 1 if newest < self.last_seq else 0,
            oldest - 1 if oldest > self.messages[0].seq_id else 0,
        )


def direct_id(one: UserId, other: UserId, /) -> ConversationId:
    """The id of the conversation of two users."""
    first, second = sorted((one, other))
    return ConversationId(f"dm:{first}:{second}")


def direct_members(conversation_id: ConversationId, /) -> tuple[UserId, UserId] | None:
    """The two users whose conversation has the id, or None where the id names no such conversation."""
    match conversation_id.split(":"):
        case ["dm", first, second] if first < second and is_valid_user_id(first) and is_valid_user_id(second):
            return UserId(first), UserId(second)
    return None


@attrs.define(eq=False)
class Conversations:
    """All conversations. Where there are too many, the one in which nothing was written for longest is forgotten."""

    world: Conversation
    _others: OrderedDict[ConversationId, Conversation] = attrs.field(factory=OrderedDict)

    @classmethod
    def begin(cls, now: int, /) -> "Conversations":
        """None but the world chat."""
        return cls(Conversation(WORLD, Kind.WORLD, now, WORLD_NAME, updated_at=now))

    def look(self, conversation_id: ConversationId, /) -> Conversation | None:
        """The conversation of that id."""
        return self.world if conversation_id == WORLD else self._others.get(conversation_id)

    def of(self, user_id: UserId, /) -> Iterator[Conversation]:
        """Those that the user is a member of."""
        return (each for each in (self.world, *self._others.values()) if user_id in each.members)

    def entered(self, user_id: UserId, conversation_id: ConversationId, /) -> Conversation:
        """The conversation, for a member.

        Raises:
            RefusedError: there is none, or the user is no member.
        """
        conversation = self.look(conversation_id)
        if conversation is None:
            raise missing("There is no such conversation.")
        if user_id not in conversation.members:
            raise forbidden("You are no member of this conversation.")
        return conversation

    def enter_world(self, user_id: UserId, now: int, /) -> None:
        """Make a user a member of the world chat."""
        if user_id not in self.world.members:
            self.world.join(user_id, Role.MEMBER, now)

    def leave_world(self, user_id: UserId, /) -> None:
        """Take a user out of the world chat."""
        self.world.members.pop(user_id, None)

    def open_direct(self, one: UserId, other: UserId, now: int, /) -> Conversation:
        """The conversation of two users; made where there is none yet."""
        conversation_id = direct_id(one, other)
        known = self._others.get(conversation_id)
        if known is not None:
            return known
        conversation = Conversation(conversation_id, Kind.SINGLE, now, updated_at=now)
        for user_id in (one, other):
            conversation.join(user_id, Role.MEMBER, now)
        return self._keep(conversation)

    def open_group(self, owner: UserId, name: str, avatar_url: str, description: str, now: int, /) -> Conversation:
        """A new group with its owner."""
        conversation_id = ConversationId(str(uuid.uuid4()))
        conversation = Conversation(conversation_id, Kind.GROUP, now, name, avatar_url, description, now)
        conversation.join(owner, Role.OWNER, now)
        return self._keep(conversation)

    def touch(self, conversation: Conversation, /) -> None:
        """Something was written there."""
        if conversation.conversation_id in self._others:
            self._others.move_to_end(conversation.conversation_id)

    def remove(self, conversation: Conversation, /) -> None:
        """Forget it."""
        self._others.pop(conversation.conversation_id, None)

    def _keep(self, conversation: Conversation) -> Conversation:
        self._others[conversation.conversation_id] = conversation
        if len(self._others) > MAX_CONVERSATIONS:
            self._others.popitem(last=False)
        return conversation
