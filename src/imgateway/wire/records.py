"""The broker's records: upstream and undelivered ones encoded, downstream ones decoded. All values are UTF-8 JSON."""

from collections.abc import Sequence
from typing import Any, cast

import msgspec
from msgspec import UNSET

from imgateway.errors import RecordError
from imgateway.model import (
    ConnectionId,
    ConsumedRecord,
    ConversationId,
    Delivery,
    DeviceId,
    Displaced,
    Envelope,
    GatewayId,
    OutgoingRecord,
    Priority,
    Sender,
    Signal,
    Undelivered,
    UserId,
    are_valid_user_ids,
)
from imgateway.wire.json_guard import depth_within
from imgateway.wire.messages import RESERVED_TYPES

MAX_DEPTH = 64
"""Arrays and objects within each other in `extra` and `payload`: what is read must be writable again in a frame."""

EVICTION_HEADER = "imgateway-evict"
"""Of a downstream record that one gateway writes for another: its value is the connection to close."""

_MAX_LOGGED_CHARS = 200
_NO_SIGNAL = (None, "")
"""Some back ends write members that they have no value for: of those an empty text is as good as none."""


class _UpstreamRecord(msgspec.Struct, gc=False):
    trace_id: str
    user_id: str
    gateway_id: str
    conversation_id: str
    message_type: int
    content: str
    client_msg_id: str
    timestamp: int
    kind: str
    extra: Any = UNSET


class _SenderInfo(msgspec.Struct):
    id: str | int | None = None
    username: str | None = None
    avatar_url: str | None = None


class _DownstreamRecord(msgspec.Struct, gc=False):
    message_id: int | str
    conversation_id: str
    sender_id: str | int
    message_type: int
    content: str
    seq_id: int
    timestamp: int
    target_user_id: str | None = None
    target_user_ids: list[str] | None = None
    trace_id: str | None = None
    sender_info: _SenderInfo | None = None
    client_msg_id: str | None = None
    extra: Any = None
    target_device_id: str | None = None


class _SignalRecord(msgspec.Struct):
    signal_type: str
    timestamp: int
    payload: Any = None
    target_user_id: str | None = None
    target_user_ids: list[str] | None = None


class _Probe(msgspec.Struct):
    """Tells a signal from a message."""

    signal_type: Any = None


class _UndeliveredRecord(msgspec.Struct):
    record: msgspec.Raw
    reason: str
    gateway_id: str
    target_user_ids: Sequence[str]


_encoder = msgspec.json.Encoder()
_probe = msgspec.json.Decoder(_Probe)
_message_decoder = msgspec.json.Decoder(_DownstreamRecord)
_signal_decoder = msgspec.json.Decoder(_SignalRecord)


def traceparent(trace_id: str, /) -> str:
    """A trace id as W3C Trace Context has it (level 1 section 3.2); the span id is the trace id's second half."""
    return f"00-{trace_id}-{trace_id[16:]}-01"


def encode_upstream(
    envelope: Envelope, topic: str, priority: Priority, /, *, extra_as_text: bool = False
) -> OutgoingRecord:
    """The upstream record: key = conversation id, so that one conversation stays in one partition, in order.

    With `extra_as_text` the record's `extra` is the object's JSON text, for back ends that want it so.

    The headers carry the trace both plainly (`trace_id`) and as W3C Trace Context (`traceparent`).
    """
    trace_id = envelope.trace_id
    extra: object = UNSET if envelope.extra is None else envelope.extra
    if extra_as_text and extra is not UNSET:
        extra = _encoder.encode(extra).decode()
    value = _encoder.encode(
        _UpstreamRecord(
            trace_id=trace_id,
            user_id=envelope.user_id,
            gateway_id=envelope.gateway_id,
            conversation_id=envelope.conversation_id,
            message_type=envelope.message_type,
            content=envelope.content,
            client_msg_id=envelope.client_msg_id,
            timestamp=envelope.timestamp,
            kind=envelope.kind,
            extra=extra,
        )
    )
    return OutgoingRecord(
        topic=topic,
        key=envelope.conversation_id.encode(),
        value=value,
        headers=(
            ("trace_id", trace_id.encode()),
            ("traceparent", traceparent(trace_id).encode()),
            ("priority", priority.value.encode()),
        ),
    )


def encode_eviction(displaced: Displaced, topic: str, /) -> OutgoingRecord:
    """Tells a gateway, in its downstream topic, to close a connection: the header says which, the key whose."""
    header = EVICTION_HEADER, displaced.connection_id.encode()
    return OutgoingRecord(topic, displaced.user_id.encode(), b"{}", (header,))


def evicted_by(record: ConsumedRecord, /) -> tuple[UserId, ConnectionId] | None:
    """Whose connection a gateway says is to be closed, and which; None for any other downstream record."""
    for name, value in record.headers:
        if name == EVICTION_HEADER:
            return UserId(record.key.decode(errors="replace")), ConnectionId(value.decode(errors="replace"))
    return None


def decode_downstream(value: bytes, /) -> Delivery | Signal:
    """A downstream record's value.

    Raises:
        RecordError: it is not JSON in UTF-8, lacks a field, has one of a wrong type, nests deeper than `MAX_DEPTH`,
            names no valid target, or is a signal that calls itself like a frame type of the protocol.
    """
    try:
        if not value.isascii():
            value.decode()  # members that nobody reads are not looked into below
        # The name of a member may be written with escapes; almost nobody does.
        if (b'"signal_type"' in value or b"\\u" in value) and _probe.decode(value).signal_type not in _NO_SIGNAL:
            return _signal(_signal_decoder.decode(value))
        return _delivery(_message_decoder.decode(value))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RecordError(str(error)[:_MAX_LOGGED_CHARS]) from None
    except RecursionError:
        raise RecordError("the record nests too deep") from None


def encode_undelivered(
    value: bytes,
    key: bytes,
    topic: str,
    reason: Undelivered,
    gateway_id: GatewayId,
    users: Sequence[UserId],
    /,
    *,
    with_targets: bool = True,
) -> OutgoingRecord:
    """The undelivered record for `users`, who did not get the downstream record `value`.

    It holds that record as it was read; without its own list of users where `with_targets` is false.
    """
    record = value
    if not with_targets:
        members: dict[str, msgspec.Raw] = msgspec.json.decode(value, type=dict[str, msgspec.Raw])
        members.pop("target_user_ids", None)
        record = _encoder.encode(members)
    encoded = _encoder.encode(_UndeliveredRecord(msgspec.Raw(record), reason.value, gateway_id, users))
    return OutgoingRecord(topic=topic, key=key, value=encoded)


def _targets(record: _DownstreamRecord | _SignalRecord) -> tuple[UserId, ...]:
    named, one = record.target_user_ids, record.target_user_id
    if not named:
        users = [one] if one else []
    elif not one and len(named) <= 1:
        users = named
    else:
        users = list(dict.fromkeys((*named, one) if one else named))
    if not users:
        raise RecordError("neither target_user_id nor target_user_ids names a user")
    if not are_valid_user_ids(users):
        raise RecordError("a target is not a user id of 1 to 128 characters without control characters")
    return tuple(cast(list[UserId], users))


def _signal(record: _SignalRecord) -> Signal:
    if record.signal_type in RESERVED_TYPES:
        raise RecordError("signal_type is a frame type of the protocol")
    if not depth_within(record.payload, MAX_DEPTH):
        raise RecordError("payload nests too deep")
    return Signal(_targets(record), record.signal_type, record.payload, record.timestamp)


def _sender(record: _DownstreamRecord) -> Sender:
    info = record.sender_info
    if info is None:
        return Sender(str(record.sender_id))
    return Sender(str(record.sender_id if info.id in {None, ""} else info.id), info.username, info.avatar_url)


def _extra(extra: object) -> object:
    """Some back ends write `extra` as JSON text; clients always get the object. Text that isn't JSON stays text."""
    if not isinstance(extra, str):
        if not depth_within(extra, MAX_DEPTH):
            raise RecordError("extra nests too deep")
        return extra
    try:
        decoded = msgspec.json.decode(extra)
    except (msgspec.DecodeError, RecursionError):
        return extra
    return decoded if depth_within(decoded, MAX_DEPTH) else extra


def _delivery(record: _DownstreamRecord) -> Delivery:
    return Delivery(
        targets=_targets(record),
        trace_id=record.trace_id or "",
        message_id=str(record.message_id),
        conversation_id=ConversationId(record.conversation_id),
        sender=_sender(record),
        message_type=record.message_type,
        content=record.content,
        seq_id=record.seq_id,
        timestamp=record.timestamp,
        client_msg_id=record.client_msg_id,
        extra=_extra(record.extra),
        target_device_id=DeviceId(record.target_device_id) if record.target_device_id else None,
    )
