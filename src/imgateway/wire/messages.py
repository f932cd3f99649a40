"""The client protocol's messages as values: what each carries, in the names of the wire.

Field names follow Python; `rename` gives the names on the wire (GoChat's mixed case, kept as documented).
Every struct but `SignalMessage` is the `data` object of the frame type named in `TYPE`. Those of which there are many
can't be part of a circle, so the garbage collector need not look at them (`gc=False`).
"""

import re
from typing import Annotated, Any, ClassVar

import msgspec
from msgspec import UNSET as UNSET
from msgspec import Meta, UnsetType

from imgateway.rpc import RestProblem

Id = Annotated[str, Meta(min_length=1, max_length=128)]


class SendMessage(
    msgspec.Struct, frozen=True, gc=False, rename={"conversation_id": "conversationId", "message_type": "messageType"}
):
    """Client: a message for a conversation."""

    TYPE: ClassVar = "send-message"
    conversation_id: Id
    content: str
    message_type: Annotated[int, Meta(ge=1, le=6)]
    client_msg_id: Id
    extra: dict[str, Any] | UnsetType = UNSET


class MarkRead(msgspec.Struct, frozen=True, gc=False, rename={"conversation_id": "conversationId", "seq_id": "seqId"}):
    """Client: everything up to `seq_id` is read."""

    TYPE: ClassVar = "mark-read"
    conversation_id: Id
    seq_id: Annotated[int, Meta(ge=0, le=2**63 - 1)]
    client_msg_id: Id | UnsetType = UNSET


class Ping(msgspec.Struct, frozen=True):
    """Client: are you there?"""

    TYPE: ClassVar = "ping"


class RefreshToken(msgspec.Struct, frozen=True):
    """Client: a newer token for the same user."""

    TYPE: ClassVar = "refresh-token"
    token: str

    def __repr__(self) -> str:
        """Without the token: a token never reaches a log."""
        return "RefreshToken(token=…)"


class Call(msgspec.Struct, frozen=True):
    """Client: a message that a method of a back end answers.

    Attributes:
        type: the frame's type.
        data: the frame's data as it was written: a JSON object.
        client_msg_id: what the client tells the reply by, where it gave one.
    """

    type: str
    data: bytes
    client_msg_id: Id | UnsetType = UNSET


ClientMessage = SendMessage | MarkRead | Ping | RefreshToken | Call


class Welcome(msgspec.Struct, frozen=True, rename="camel"):
    """Server: the first frame of every connection; presence is written before it."""

    TYPE: ClassVar = "welcome"
    connection_id: str
    gateway_id: str
    session_id: str
    user_id: str
    ping_interval_seconds: float
    token_expires_at: int
    resumed: bool = False


class MessageAck(msgspec.Struct, frozen=True, gc=False):
    """Server: the message is durable (`accepted`), or was already (`duplicate`), and stands there."""

    TYPE: ClassVar = "message-ack"
    client_msg_id: str
    status: str
    topic: str
    partition: int
    offset: int


class SenderData(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, rename={"avatar_url": "avatarUrl"}):
    """Who wrote a message; only `id` where nothing else is known."""

    id: str
    username: str | None = None
    avatar_url: str | None = None


class NewMessage(
    msgspec.Struct,
    frozen=True,
    gc=False,
    rename={
        "conversation_id": "conversationId",
        "message_type": "messageType",
        "seq_id": "seqId",
        "created_at": "createdAt",
    },
):
    """Server: a message for this user. `redelivered` is there, and true, where it may be a repeat."""

    TYPE: ClassVar = "new-message"
    id: str
    conversation_id: str
    sender: SenderData
    content: str
    message_type: int
    seq_id: int
    created_at: int
    client_msg_id: str | UnsetType = UNSET
    extra: Any = UNSET
    redelivered: bool | UnsetType = UNSET


class SignalMessage(msgspec.Struct, frozen=True):
    """Server: a signal; its type is the frame's type and its payload the frame's data."""

    signal_type: str
    payload: Any


class ErrorMessage(msgspec.Struct, frozen=True, rename={"retry_after": "retryAfter"}):
    """Server: something was refused; `client_msg_id` where it is about one message."""

    TYPE: ClassVar = "error"
    code: str
    message: str
    details: str
    client_msg_id: str | UnsetType = UNSET
    retry_after: int | UnsetType = UNSET


class Reconnect(msgspec.Struct, frozen=True, rename="camel"):
    """Server: this socket is about to be closed; come back after `after_ms`."""

    TYPE: ClassVar = "reconnect"
    after_ms: int
    reason: str


class Pong(msgspec.Struct, frozen=True):
    """Server: I am here."""

    TYPE: ClassVar = "pong"


class TokenRefreshed(msgspec.Struct, frozen=True, rename="camel"):
    """Server: the connection now lives until the new token ends."""

    TYPE: ClassVar = "token-refreshed"
    token_expires_at: int


class ReplyError(msgspec.Struct, frozen=True, rename={"retry_after": "retryAfter"}):
    """Why a call has no result; `details` are JSON objects with an `@type` each, where there are any."""

    code: str
    message: str
    details: list[dict[str, Any]] | UnsetType = UNSET
    retry_after: int | UnsetType = UNSET

    @classmethod
    def of(cls, problem: RestProblem, /) -> "ReplyError":
        """What a client reads of a problem that has no HTTP status to come with."""
        return cls(
            problem.code,
            problem.detail,
            [dict(detail) for detail in problem.details] if problem.details else UNSET,
            UNSET if problem.retry_after is None else problem.retry_after,
        )


class Reply(msgspec.Struct, frozen=True):
    """Server: the answer to a `Call`: its result, or why there is none. `client_msg_id` is the call's."""

    TYPE: ClassVar = "reply"
    client_msg_id: str | UnsetType = UNSET
    result: Any = UNSET
    error: ReplyError | UnsetType = UNSET

    @classmethod
    def of(cls, call: Call, result: bytes, /) -> "Reply":
        """With a result: the text of one JSON value."""
        return cls(call.client_msg_id, msgspec.Raw(result))


ServerMessage = (
    Welcome | MessageAck | NewMessage | SignalMessage | ErrorMessage | Reply | Reconnect | Pong | TokenRefreshed
)

RESERVED_TYPES = frozenset(
    message.TYPE
    for message in (
        SendMessage, MarkRead, Ping, RefreshToken,
        Welcome, MessageAck, NewMessage, ErrorMessage, Reply, Reconnect, Pong, TokenRefreshed,
    )
) | {"message-received"}  # fmt: skip
"""Frame types with a meaning of their own: a signal that calls itself so is refused."""

_CALL_TYPE = re.compile(r"[a-z0-9._-]{1,64}")


def may_be_call(type_: str, /) -> bool:
    """Whether client messages of this type may be calls.

    The name has 1 to 64 characters of `a-z0-9._-`. Of the types with a meaning of their own only those may be that go
    to a back end anyway.
    """
    taken = RESERVED_TYPES - {SendMessage.TYPE, MarkRead.TYPE}
    return type_ not in taken and _CALL_TYPE.fullmatch(type_) is not None
