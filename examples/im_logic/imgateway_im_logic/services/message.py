"""MessageService: what is written in conversations."""

from collections.abc import AsyncIterator
from typing import Any, Final, TypeAlias

import attrs
import grpc

from imgateway.model import ConversationId, UserId
from imgateway_im_logic import shapes
from imgateway_im_logic.generated.common.v1 import types_pb2
from imgateway_im_logic.generated.im.logic.v1 import message_pb2, message_pb2_grpc
from imgateway_im_logic.messaging import Messaging
from imgateway_im_logic.posting import Written
from imgateway_im_logic.refusals import RefusedError, invalid

MAX_CONTENT_BYTES: Final = 5000
MAX_CLIENT_MSG_ID_CHARS: Final = 128

_Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"  # only the stubs know of the parameters


@attrs.frozen
class MessageService(message_pb2_grpc.MessageServiceServicer):
    """See `protos/im/logic/v1/message.proto`."""

    messaging: Messaging

    async def SendMessage(
        self, request: message_pb2.SendMessageRequest, _context: _Context
    ) -> message_pb2.SendMessageResponse:
        """Write a message."""
        kind = request.type or types_pb2.MESSAGE_TYPE_TEXT
        wrong = {}
        if not 1 <= len(request.content.encode()) <= MAX_CONTENT_BYTES:
            wrong["content"] = f"1 to {MAX_CONTENT_BYTES} bytes."
        if kind not in types_pb2.MessageType.values() or kind == types_pb2.MESSAGE_TYPE_SYSTEM:
            wrong["type"] = "A type of message that users write."
        if not 1 <= len(request.client_msg_id) <= MAX_CLIENT_MSG_ID_CHARS:
            wrong["client_msg_id"] = f"1 to {MAX_CLIENT_MSG_ID_CHARS} characters."
        if wrong:
            raise invalid(**wrong)
        written = self.messaging.send(
            Written(
                UserId(request.user_id),
                ConversationId(request.conversation_id),
                request.content,
                kind,
                request.client_msg_id,
                self.messaging.clock.now(),
            )
        )
        return message_pb2.SendMessageResponse(
            message=shapes.message(written, self.messaging.accounts), client_msg_id=request.client_msg_id
        )

    async def WatchMessages(
        self, request: message_pb2.WatchMessagesRequest, _context: _Context
    ) -> AsyncIterator[message_pb2.WatchMessagesResponse]:
        """Messages as they are written."""
        if request.after_seq_id < 0:
            raise invalid(after_seq_id="At least 0.")
        user_id, conversation_id = UserId(request.user_id), ConversationId(request.conversation_id)
        conversation = self.messaging.conversations.entered(user_id, conversation_id)
        seen = request.after_seq_id or conversation.last_seq
        with self.messaging.watchers.watch(user_id, conversation_id) as stream:
            for known in conversation.after(seen):
                yield message_pb2.WatchMessagesResponse(message=shapes.message(known, self.messaging.accounts))
                seen = known.seq_id
            async for written in stream:
                if written.seq_id > seen:
                    yield message_pb2.WatchMessagesResponse(message=shapes.message(written, self.messaging.accounts))
                    seen = written.seq_id
        self.messaging.conversations.entered(user_id, conversation_id)
        raise RefusedError(grpc.StatusCode.RESOURCE_EXHAUSTED, "You fell too far behind.", retry_after=0)
