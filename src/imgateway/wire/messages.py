"""The client protocol's messages as values: what each carries, in the names of the wire.

Field names follow Python; `rename` gives the names on the wire (GoChat's mixed case, kept as documented).
Every struct but `SignalMessage` is the `data` object of the frame type named in `TYPE`. Those of which there are many
can't be part of a circle, so the garbage collector need not look at them (`gc=False`).
"""

from typing import Annotated, Any, ClassVar

import msgspec
from msgspec import UNSET as UNSET
from msgspec import Meta, UnsetType

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


ClientMessage = SendMessage | MarkRead | Ping | RefreshToken


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


ServerMessage = Welcome | MessageAck | NewMessage | SignalMessage | ErrorMessage | Reconnect | Pong | TokenRefreshed

RESERVED_TYPES = frozenset(
    message.TYPE
    for message in (
        SendMessage, MarkRead, Ping, RefreshToken,
        Welcome, MessageAck, NewMessage, ErrorMessage, Reconnect, Pong, TokenRefreshed,
    )
) | {"message-received", "reply"}  # fmt: skip
"""Frame types with a meaning of their own: a signal that calls itself so is refused."""
