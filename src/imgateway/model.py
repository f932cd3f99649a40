"""Values that travel through the gateway; times are milliseconds since the epoch unless named otherwise.

Nobody changes a value. Those of which there is one for each message are not frozen: that triples their price.
"""

import re
from collections.abc import Collection, Mapping
from enum import Enum
from typing import Any, NewType

import attrs

from imgateway.codes import TABLE, Code

UserId = NewType("UserId", str)
DeviceId = NewType("DeviceId", str)
ConversationId = NewType("ConversationId", str)
ConnectionId = NewType("ConnectionId", str)
GatewayId = NewType("GatewayId", str)

MAX_USER_ID_CHARS = 128
_USER_ID = re.compile(rf"[^\x00-\x1f\x7f-\x9f\ud800-\udfff]{{1,{MAX_USER_ID_CHARS}}}")


def is_valid_user_id(user_id: object, /) -> bool:
    """Whether it is a string of 1 to 128 characters without control characters (category Cc) or surrogates."""
    return isinstance(user_id, str) and _USER_ID.fullmatch(user_id) is not None


def are_valid_user_ids(user_ids: Collection[str], /) -> bool:
    """Whether every one is; much faster than one after the other where there are many."""
    # Printable text has no control characters and no surrogates; other text is looked at in earnest.
    lengths = list(map(len, user_ids))
    if lengths and min(lengths) >= 1 and max(lengths) <= MAX_USER_ID_CHARS and "".join(user_ids).isprintable():
        return True
    return all(map(is_valid_user_id, user_ids))


@attrs.frozen
class Refusal:
    """A request or a message that was turned down.

    Attributes:
        code: the row of the table that names it.
        message: one sentence for a person.
        details: a stable word for a program (`duplicate_key`, `client_msg_id_reused`), or empty.
        retry_after: seconds after which trying again may help, or None.
    """

    code: Code
    message: str
    details: str = ""
    retry_after: int | None = None


@attrs.frozen
class CloseReason:
    """Why a connection ends: a WebSocket close code (RFC 6455 section 7.4) and at most 123 bytes of text."""

    code: int
    text: str = ""

    @classmethod
    def of(cls, code: Code, /) -> "CloseReason":
        """The table's close code with the code's name as text."""
        return cls(TABLE[code].close_code, code.value)


@attrs.frozen
class Credentials:
    """What a client showed to prove who it is.

    Attributes:
        token: the bearer token, or None where the client sent none.
        headers: the request's headers by lower-case name, for authenticators that read a cookie or a signed header;
            empty where a live connection refreshes its token.
        client_ip: the address of the client (behind trusted proxies: the one they vouch for), or None.
    """

    token: str | None = attrs.field(default=None, repr=False)
    headers: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    client_ip: str | None = None


@attrs.frozen
class Identity:
    """Who a client was proven to be.

    Attributes:
        user_id: the verified user.
        expires_at: when the proof ends; the live connection ends with it.
        claims: what else the proof says, for plugins.
    """

    user_id: UserId
    expires_at: int
    claims: Mapping[str, Any] = attrs.field(factory=dict, repr=False)


@attrs.frozen
class ConnectRequest:
    """A client that asks for a connection.

    Attributes:
        credentials: what it showed.
        device_id: which of the user's devices it says it is; an older connection of the same device is replaced.
        platform: free text for back ends and operators.
    """

    credentials: Credentials
    device_id: DeviceId | None = None
    platform: str | None = None


class Priority(Enum):
    """Which upstream topic a message takes, and what its `priority` header says."""

    NORMAL = "normal"
    LOW = "low"


@attrs.define(unsafe_hash=True)
class Envelope:
    """A client's message on its way up: the upstream record before it is encoded.

    Attributes:
        kind: `send-message` or `mark-read`.
        user_id: the verified user, whatever the client wrote.
        client_msg_id: the client's own id of the message; empty for a `mark-read` without one.
        timestamp: the gateway's clock when the message arrived.
        extra: a JSON object, or None.
    """

    kind: str
    trace_id: str
    user_id: UserId
    gateway_id: GatewayId
    conversation_id: ConversationId
    message_type: int
    content: str
    client_msg_id: str
    timestamp: int
    extra: Mapping[str, Any] | None = None


@attrs.define(unsafe_hash=True)
class OutgoingRecord:
    """A record to be written to the broker, encoded."""

    topic: str
    key: bytes
    value: bytes
    headers: tuple[tuple[str, bytes], ...] = ()


@attrs.define(unsafe_hash=True)
class Receipt:
    """Where a record stands once it is durable."""

    topic: str
    partition: int
    offset: int


class PublishFailure(Enum):
    """Why a record was not, or may not have been, written."""

    UNKNOWN = "unknown"
    """The outcome is unknown: the record may still appear."""
    TOO_LARGE = "too-large"
    """The broker will never take a record of this size; it was not written."""
    REFUSED = "refused"
    """The broker refused the record (no such topic, no permission); it was not written."""


@attrs.define(unsafe_hash=True)
class ConsumedRecord:
    """A record read from one partition of a topic.

    Attributes:
        offset: ascending within the partition; gaps are legal (a broker keeps markers of its own).
        redelivered: whether it may have been handed out before.
    """

    partition: int
    offset: int
    key: bytes
    value: bytes
    headers: tuple[tuple[str, bytes], ...] = ()
    redelivered: bool = False


@attrs.define(unsafe_hash=True)
class Sender:
    """Who wrote a message, as far as the back end told."""

    id: str
    username: str | None = None
    avatar_url: str | None = None


@attrs.define(unsafe_hash=True)
class Delivery:
    """A message on its way down: the downstream record, parsed.

    Attributes:
        targets: the users it is for, without repeats, in the record's order.
        message_id: always a string: 64-bit numbers break in browsers.
        extra: any JSON value, or None.
        target_device_id: only this device of each user, where set.
    """

    targets: tuple[UserId, ...]
    trace_id: str
    message_id: str
    conversation_id: ConversationId
    sender: Sender
    message_type: int
    content: str
    seq_id: int
    timestamp: int
    client_msg_id: str | None = None
    extra: Any = None
    target_device_id: DeviceId | None = None


@attrs.frozen
class Signal:
    """A transient notice on its way down (presence, typing, read marks): delivered to who is there, never kept."""

    targets: tuple[UserId, ...]
    signal_type: str
    payload: Any
    timestamp: int


@attrs.frozen
class SessionRecord:
    """One live connection as back ends see it in the session store.

    Attributes:
        expires_at: when the entry is void unless refreshed; set by the store, by its own clock.
    """

    user_id: UserId
    connection_id: ConnectionId
    gateway_id: GatewayId
    device_id: DeviceId | None
    platform: str | None
    connected_at: int
    expires_at: int = 0


LATE_MS = 1_000
"""A connection's first entry that is written later than this counts from when it connected, not from when it came."""


@attrs.frozen
class DevicePolicy:
    """How many connections a user may have, over all gateways.

    Attributes:
        refuses: whether one in excess is turned away; else the oldest ones go.
    """

    max_per_user: int
    refuses: bool = False


@attrs.frozen
class Displaced:
    """A connection that has to go, as the session store found.

    Attributes:
        gateway_id: whose it is.
        code: `REPLACED` by a newer one, or `RATE_LIMITED` where there was no room for it.
    """

    user_id: UserId
    connection_id: ConnectionId
    gateway_id: GatewayId
    code: Code = Code.REPLACED

    @classmethod
    def of(cls, record: SessionRecord, code: Code = Code.REPLACED, /) -> "Displaced":
        """The connection of an entry."""
        return cls(record.user_id, record.connection_id, record.gateway_id, code)


@attrs.frozen
class ServiceInstance:
    """One running instance of a service.

    Attributes:
        address: the host only.
        metadata: free text pairs.
    """

    name: str
    id: str
    address: str
    port: int
    metadata: Mapping[str, str] = attrs.field(factory=dict)


class SendOutcome(Enum):
    """What became of a frame that was handed to a connection."""

    QUEUED = "queued"
    """Taken: it leaves with the next flush, in order."""
    OVERFLOW = "overflow"
    """Not taken: the client reads too slowly. The connection is being closed."""
    CLOSED = "closed"
    """Not taken: the connection is closing or closed."""


class Undelivered(Enum):
    """Why a user did not get a message, as written to the undelivered topic."""

    NO_CONNECTION = "no-connection"
    SLOW_CONSUMER = "slow-consumer"
