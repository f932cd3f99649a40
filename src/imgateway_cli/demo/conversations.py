"""What the demo back end remembers: people, conversations, messages, read marks. In memory, bounded, no I/O.

Conversation ids: `lobby` is everyone's; `dm:{a}:{b}` is the direct conversation of the users `a` and `b`, in the order
of their code points. Whoever could write a conversation's id can't thereby enter it: only the two named are members.
"""

from collections import OrderedDict, deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import attrs

from imgateway.model import ConversationId, UserId, is_valid_user_id
from imgateway_cli.demo.people import Person

LOBBY: Final = ConversationId("lobby")
MAX_PEOPLE: Final = 500
MAX_CONVERSATIONS: Final = 1000
MAX_HISTORY: Final = 200
MAX_REMEMBERED_IDS: Final = 10_000

_ID_SHIFT = 20


@attrs.frozen
class ChatMessage:
    """A message as it stands in a conversation.

    Attributes:
        message_id: 64-bit, ascending, and unique over restarts: milliseconds since the epoch in its upper bits.
        seq_id: 1 for the first message of the conversation, then without gaps.
    """

    message_id: int
    conversation_id: ConversationId
    sender: Person
    content: str
    message_type: int
    seq_id: int
    created_at: int
    client_msg_id: str
    extra: Mapping[str, Any] | None = None


@attrs.define(eq=False)
class Conversation:
    """One conversation: its newest messages and how far each member has read."""

    conversation_id: ConversationId
    messages: deque[ChatMessage] = attrs.field(factory=lambda: deque(maxlen=MAX_HISTORY))
    last_seq: int = 0
    read: dict[UserId, int] = attrs.field(factory=dict)

    def after(self, seq_id: int, /) -> Sequence[ChatMessage]:
        """The messages behind `seq_id` that are still kept, in order."""
        return [message for message in self.messages if message.seq_id > seq_id]

    def read_by_others(self, user_id: UserId, /) -> int:
        """How far anyone but `user_id` has read."""
        return max((seq for reader, seq in self.read.items() if reader != user_id), default=0)


def direct_id(one: UserId, other: UserId, /) -> ConversationId:
    """The id of the direct conversation of two users."""
    first, second = sorted((one, other))
    return ConversationId(f"dm:{first}:{second}")


def direct_members(conversation_id: ConversationId, /) -> tuple[UserId, UserId] | None:
    """The two users of a direct conversation, or None where the id names no such conversation."""
    match conversation_id.split(":"):
        case ["dm", first, second] if first < second and is_valid_user_id(first) and is_valid_user_id(second):
            return UserId(first), UserId(second)
    return None


@attrs.define(eq=False)
class Conversations:
    """Everything the back end knows. Where a bound is reached, what was used longest ago is forgotten."""

    _people: OrderedDict[UserId, Person] = attrs.field(factory=OrderedDict)
    _conversations: OrderedDict[ConversationId, Conversation] = attrs.field(factory=OrderedDict)
    _posted: OrderedDict[tuple[UserId, str], None] = attrs.field(factory=OrderedDict)
    _last_id: int = 0
    _lobby: Conversation = attrs.field(factory=lambda: Conversation(LOBBY))

    @property
    def people(self) -> Sequence[Person]:
        """Everyone seen, the most recent last. A snapshot."""
        return tuple(self._people.values())

    def meet(self, person: Person, /) -> None:
        """Remember a person, by the name they use now."""
        self._people[person.user_id] = person
        self._people.move_to_end(person.user_id)
        if len(self._people) > MAX_PEOPLE:
            forgotten, _ = self._people.popitem(last=False)
            self._lobby.read.pop(forgotten, None)

    def person(self, user_id: UserId, /) -> Person:
        """The person of that id; one who never logged in here is called by the id."""
        return self._people.get(user_id) or Person(user_id, user_id)

    def members(self, conversation_id: ConversationId, /) -> Iterable[UserId]:
        """Who gets what is written there; nobody where there can be no such conversation."""
        return tuple(self._people) if conversation_id == LOBBY else direct_members(conversation_id) or ()

    def may_enter(self, user_id: UserId, conversation_id: ConversationId, /) -> bool:
        """Whether the user may read and write there."""
        return conversation_id == LOBBY or user_id in (direct_members(conversation_id) or ())

    def look(self, conversation_id: ConversationId, /) -> Conversation:
        """The conversation as it stands; an empty one, not kept, where nothing was written yet."""
        if conversation_id == LOBBY:
            return self._lobby
        return self._conversations.get(conversation_id) or Conversation(conversation_id)

    def post(
        self,
        user_id: UserId,
        conversation_id: ConversationId,
        content: str,
        message_type: int,
        client_msg_id: str,
        timestamp: int,
        extra: Mapping[str, Any] | None,
        /,
    ) -> ChatMessage | None:
        """Write a message. None: the user is no member, or wrote it before (same user and `client_msg_id`)."""
        written = (user_id, client_msg_id)
        if written in self._posted or not self.may_enter(user_id, conversation_id):
            return None
        self._posted[written] = None
        if len(self._posted) > MAX_REMEMBERED_IDS:
            self._posted.popitem(last=False)
        self.meet(self.person(user_id))
        conversation = self._open(conversation_id)
        conversation.last_seq += 1
        self._last_id = max(self._last_id + 1, timestamp << _ID_SHIFT)
        message = ChatMessage(
            message_id=self._last_id,
            conversation_id=conversation_id,
            sender=self.person(user_id),
            content=content,
            message_type=message_type,
            seq_id=conversation.last_seq,
            created_at=timestamp,
            client_msg_id=client_msg_id,
            extra=extra,
        )
        conversation.messages.append(message)
        return message

    def mark_read(self, user_id: UserId, conversation_id: ConversationId, seq_id: int, /) -> int | None:
        """Move a member's read mark forward. The new mark; None where it does not move, or the user is no member."""
        if not self.may_enter(user_id, conversation_id):
            return None
        conversation = self.look(conversation_id)
        mark = min(seq_id, conversation.last_seq)
        if mark <= conversation.read.get(user_id, 0):
            return None
        self.meet(self.person(user_id))
        conversation.read[user_id] = mark
        return mark

    def _open(self, conversation_id: ConversationId) -> Conversation:
        if conversation_id == LOBBY:
            return self._lobby
        conversation = self._conversations.setdefault(conversation_id, Conversation(conversation_id))
        self._conversations.move_to_end(conversation_id)
        if len(self._conversations) > MAX_CONVERSATIONS:
            self._conversations.popitem(last=False)
        return conversation
