"""The gateway's record formats as a back end sees them: upstream records read, downstream records written.

A back end may be written in any language, so this one shares no code with the gateway: plain JSON both ways.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import attrs

from imgateway.model import ConversationId, UserId
from imgateway_im_logic.conversations import ChatMessage
from imgateway_im_logic.posting import Written

_MAX_TIMESTAMP = 2**43

_T = TypeVar("_T")


@attrs.frozen
class ReadUpTo:
    """A user has read everything up to `seq_id`."""

    user_id: UserId
    conversation_id: ConversationId
    seq_id: int


def read_upstream(value: bytes, /) -> Written | ReadUpTo | None:
    """An upstream record, or None where it is none, or of a kind this back end does not know."""
    try:
        record = json.loads(value)
        user_id = UserId(_member(record, "user_id", str))
        conversation_id = ConversationId(_member(record, "conversation_id", str))
        extra = _extra(record)
        match record.get("kind"):
            case "send-message":
                timestamp = _member(record, "timestamp", int)
                if not 0 <= timestamp < _MAX_TIMESTAMP:
                    return None
                return Written(
                    user_id=user_id,
                    conversation_id=conversation_id,
                    content=_member(record, "content", str),
                    message_type=_member(record, "message_type", int),
                    client_msg_id=_member(record, "client_msg_id", str),
                    timestamp=timestamp,
                    trace_id=_member(record, "trace_id", str),
                    extra=extra,
                )
            case "mark-read":
                return ReadUpTo(user_id, conversation_id, _member(extra, "seq_id", int))
    except (ValueError, RecursionError):
        pass
    return None


def _member(record: object, name: str, kind: type[_T]) -> _T:
    value = record.get(name) if isinstance(record, dict) else None
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ValueError(name)
    return value


def _extra(record: Mapping[str, Any]) -> dict[str, Any] | None:
    """`extra` is an object, or its JSON text where the gateway is set so (`extra_as="string"`)."""
    extra = record.get("extra")
    if isinstance(extra, str):
        extra = json.loads(extra)
    if extra is not None and not isinstance(extra, dict):
        raise ValueError("extra")
    return extra


def write_message(message: ChatMessage, trace_id: str, targets: Sequence[UserId], /) -> bytes:
    """The downstream record of a message for `targets`."""
    record: dict[str, Any] = {
        "target_user_ids": targets,
        "trace_id": trace_id,
        "message_id": message.message_id,
        "conversation_id": message.conversation_id,
        "sender_id": message.sender_id,
        "sender_info": {"id": message.sender_id, "username": message.sender_name},
        "message_type": message.message_type,
        "content": message.content,
        "seq_id": message.seq_id,
        "client_msg_id": message.client_msg_id,
        "timestamp": message.created_at,
    }
    if message.extra is not None:
        record["extra"] = message.extra
    return _encoded(record)


def write_signal(signal_type: str, payload: Mapping[str, Any], timestamp: int, targets: Sequence[UserId], /) -> bytes:
    """The downstream record of a signal for `targets`."""
    return _encoded(
        {"target_user_ids": targets, "signal_type": signal_type, "payload": payload, "timestamp": timestamp}
    )


def _encoded(record: Mapping[str, Any]) -> bytes:
    return json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode()
