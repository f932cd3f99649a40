"""Callers that watch a conversation: each message as it is written."""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import anyio
import attrs
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from imgateway.model import ConversationId, UserId
from imgateway_im_logic.conversations import ChatMessage, Conversation

MAX_BEHIND: Final = 256


@attrs.define(eq=False)
class Watchers:
    """Whom to tell. One who falls `MAX_BEHIND` messages behind, or is no member any more, is told nothing further."""

    _watching: defaultdict[ConversationId, dict[MemoryObjectSendStream[ChatMessage], UserId]] = attrs.field(
        factory=lambda: defaultdict(dict)
    )

    @property
    def count(self) -> int:
        """How many there are."""
        return sum(map(len, self._watching.values()))

    @contextmanager
    def watch(
        self, user_id: UserId, conversation_id: ConversationId, /
    ) -> Iterator[MemoryObjectReceiveStream[ChatMessage]]:
        """What is written from now on. The stream ends where the watcher is told nothing further."""
        send, receive = anyio.create_memory_object_stream[ChatMessage](MAX_BEHIND)
        watching = self._watching[conversation_id]
        watching[send] = user_id
        with send, receive:
            try:
                yield receive
            finally:
                watching.pop(send, None)
                if not self._watching[conversation_id]:
                    del self._watching[conversation_id]

    def tell(self, conversation: Conversation, message: ChatMessage, /) -> None:
        """A message was written."""
        watching = self._watching.get(conversation.conversation_id, {})
        for stream, user_id in tuple(watching.items()):
            try:
                if user_id not in conversation.members:
                    raise anyio.WouldBlock
                stream.send_nowait(message)
            except (anyio.WouldBlock, anyio.BrokenResourceError):
                watching.pop(stream)
                stream.close()
