"""Writing messages into conversations, each once."""

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Final

import attrs

from imgateway.model import ConversationId, UserId
from imgateway_im_logic.accounts import Accounts
from imgateway_im_logic.conversations import ChatMessage, Conversation, Conversations, direct_members
from imgateway_im_logic.refusals import conflict

MAX_REMEMBERED_IDS: Final = 10_000

_ID_SHIFT = 20


@attrs.frozen
class Written:
    """What a user wrote, and where.

    Attributes:
        client_msg_id: what the user's program calls it: the same again is the same message.
        timestamp: when it was received, in Unix milliseconds.
    """

    user_id: UserId
    conversation_id: ConversationId
    content: str
    message_type: int
    client_msg_id: str
    timestamp: int
    trace_id: str = ""
    extra: Mapping[str, Any] | None = None


@attrs.define(eq=False)
class Posting:
    """Gives each message its place in its conversation."""

    accounts: Accounts
    conversations: Conversations
    _posted: OrderedDict[tuple[UserId, ConversationId, str], ChatMessage] = attrs.field(factory=OrderedDict)
    _last_id: int = 0

    def post(self, written: Written, /) -> tuple[Conversation, ChatMessage, bool]:
        """Where it stands, as what, and whether it is new: False for one that was written before.

        Raises:
            RefusedError: the user is no member, or wrote something else under this `client_msg_id`.
        """
        sender = self.accounts.meet(written.user_id, written.timestamp)
        conversation = self._where(written)
        key = (written.user_id, written.conversation_id, written.client_msg_id)
        known = self._posted.get(key)
        if known is not None:
            if (known.content, known.message_type) != (written.content, written.message_type):
                raise conflict("Something else was written under this client_msg_id.")
            return conversation, known, False
        self._last_id = max(self._last_id + 1, written.timestamp << _ID_SHIFT)
        conversation.last_seq += 1
        message = ChatMessage(
            message_id=self._last_id,
            conversation_id=conversation.conversation_id,
            sender_id=sender.user_id,
            sender_name=sender.username,
            content=written.content,
            message_type=written.message_type,
            seq_id=conversation.last_seq,
            created_at=written.timestamp,
            client_msg_id=written.client_msg_id,
            extra=written.extra,
        )
        conversation.messages.append(message)
        self.conversations.touch(conversation)
        self._posted[key] = message
        if len(self._posted) > MAX_REMEMBERED_IDS:
            self._posted.popitem(last=False)
        return conversation, message, True

    def _where(self, written: Written) -> Conversation:
        # Two users need no invitation to speak to each other: what one of them writes begins their conversation.
        pair = direct_members(written.conversation_id)
        if pair is not None and written.user_id in pair:
            return self.conversations.open_direct(*pair, written.timestamp)
        return self.conversations.entered(written.user_id, written.conversation_id)
