"""The broker's records, against Python's own JSON parser."""

import json
from contextlib import suppress
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.properties.client_frames import ids, json_objects, json_values, texts

from imgateway.errors import RecordError
from imgateway.model import ConsumedRecord, Delivery, Envelope, GatewayId, Priority, Signal, Undelivered, UserId
from imgateway.wire.json_codec import JsonCodec
from imgateway.wire.messages import RESERVED_TYPES, SignalMessage
from imgateway.wire.records import MAX_DEPTH, decode_downstream, encode_undelivered, encode_upstream

user_ids = st.text("abc:/*你", min_size=1, max_size=5)
envelopes = st.builds(
    Envelope,
    kind=st.sampled_from(("send-message", "mark-read")),
    trace_id=st.integers(1, 2**128 - 1).map("{:032x}".format),
    user_id=user_ids,
    gateway_id=texts,
    conversation_id=ids,
    message_type=st.integers(0, 6),
    content=texts,
    client_msg_id=texts,
    timestamp=st.integers(0, 2**53),
    extra=json_objects | st.none(),
)
int64 = st.integers(-(2**63), 2**63 - 1)
messages = st.fixed_dictionaries(
    {
        "message_id": int64 | texts,
        "conversation_id": texts,
        "sender_id": int64 | texts,
        "message_type": int64,
        "content": texts,
        "seq_id": int64,
        "timestamp": int64,
        "target_user_ids": st.lists(user_ids, min_size=1, max_size=4),
    },
    optional={
        "trace_id": texts,
        "client_msg_id": texts | st.none(),
        "extra": json_values,
        "target_device_id": texts | st.none(),
        "sender_info": st.fixed_dictionaries(
            {}, optional={"id": int64 | texts, "username": texts | st.none(), "avatar_url": texts | st.none()}
        ),
        "require_ack": st.booleans(),
    },
)
signals = st.fixed_dictionaries(
    {
        "signal_type": texts.filter(lambda name: name != "" and name not in RESERVED_TYPES),
        "payload": json_values,
        "timestamp": int64,
        "target_user_ids": st.lists(user_ids, min_size=1, max_size=4),
    }
)


def _decode(record: Any) -> Delivery | Signal:
    return decode_downstream(json.dumps(record).encode())


@given(envelopes, st.sampled_from(Priority), st.booleans())
def test_an_upstream_record_says_what_the_envelope_does(envelope: Envelope, priority: Priority, as_text: bool) -> None:
    record = encode_upstream(envelope, "up", priority, extra_as_text=as_text)
    expected, value = attrs.asdict(envelope), json.loads(record.value)
    if envelope.extra is None:
        del expected["extra"]
    elif as_text:
        assert isinstance(value["extra"], str)
        value["extra"] = json.loads(value["extra"])
    assert value == expected
    assert record.topic == "up"
    assert record.key == envelope.conversation_id.encode()
    headers = dict(record.headers)
    assert headers["trace_id"].decode() == envelope.trace_id
    assert headers["priority"].decode() == priority.value
    version, trace_id, span_id, flags = headers["traceparent"].decode().split("-")
    assert (version, trace_id, flags) == ("00", envelope.trace_id, "01")
    assert len(span_id) == 16


@given(st.binary() | st.text(st.characters()).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_bytes_are_a_record_or_a_record_error(value: bytes) -> None:
    with suppress(RecordError):
        decode_downstream(value)


@given(messages | signals, st.integers(0, 300), st.binary(max_size=3), st.integers(0, 3))
def test_a_damaged_record_is_a_record_error_or_json_that_says_so(
    record: dict[str, Any], at: int, put_in: bytes, cut: int
) -> None:
    value = json.dumps(record, ensure_ascii=False).encode()
    at = min(at, len(value))
    damaged = value[:at] + put_in + value[at + cut :]
    try:
        parsed = decode_downstream(damaged)
    except RecordError:
        return
    again = json.loads(damaged.decode())
    if isinstance(parsed, Delivery):
        assert parsed.content == again["content"]
    # What is taken can be written again, to clients and to the undelivered topic.
    undelivered = encode_undelivered(damaged, b"", "t", Undelivered.NO_CONNECTION, GatewayId("g"), parsed.targets)
    assert json.loads(undelivered.value)["record"] == again


@given(messages)
def test_a_message_keeps_every_field(record: dict[str, Any]) -> None:
    delivery = _decode(record)
    assert isinstance(delivery, Delivery)
    assert delivery.targets == tuple(dict.fromkeys(record["target_user_ids"]))
    assert delivery.message_id == str(record["message_id"])
    info = record.get("sender_info", {})
    assert delivery.sender.id == str(record["sender_id"] if info.get("id", "") == "" else info["id"])
    assert (delivery.sender.username, delivery.sender.avatar_url) == (info.get("username"), info.get("avatar_url"))
    for field in ("conversation_id", "message_type", "content", "seq_id", "timestamp"):
        assert getattr(delivery, field) == record[field]
    assert delivery.client_msg_id == record.get("client_msg_id")
    assert delivery.target_device_id == (record.get("target_device_id") or None)
    if not isinstance(record.get("extra"), str):
        assert delivery.extra == record.get("extra")


@given(signals)
def test_a_signal_keeps_every_field(record: dict[str, Any]) -> None:
    signal = _decode(record)
    assert isinstance(signal, Signal)
    assert (signal.signal_type, signal.payload, signal.timestamp) == (
        record["signal_type"],
        record["payload"],
        record["timestamp"],
    )
    assert signal.targets == tuple(dict.fromkeys(record["target_user_ids"]))


@given(messages, json_objects)
def test_extra_as_text_means_the_same_as_extra_as_an_object(record: dict[str, Any], extra: dict[str, Any]) -> None:
    assert _decode(record | {"extra": json.dumps(extra)}) == _decode(record | {"extra": extra})


@pytest.mark.parametrize("text", ["", "hello", "NaN", "{", '"\\ud800"', "9" * 5000, "[" * 5000, "[" * 99 + "]" * 99])
def test_extra_as_text_that_is_no_json_we_could_write_stays_text(text: str) -> None:
    delivery = _decode(MESSAGE | {"extra": text})
    assert isinstance(delivery, Delivery)
    assert delivery.extra == text


@given(messages, st.data())
def test_a_message_without_one_of_its_fields_is_a_record_error(record: dict[str, Any], data: st.DataObject) -> None:
    needed = ["message_id", "conversation_id", "sender_id", "message_type", "content", "seq_id", "timestamp"]
    del record[data.draw(st.sampled_from([*needed, "target_user_ids"]))]
    with pytest.raises(RecordError):
        _decode(record)


MESSAGE = {
    "message_id": 1,
    "conversation_id": "c",
    "sender_id": 1,
    "message_type": 1,
    "content": "",
    "seq_id": 1,
    "timestamp": 1,
    "target_user_id": "u",
}
SIGNAL = {"signal_type": "typing", "payload": {}, "timestamp": 1, "target_user_id": "u"}


@pytest.mark.parametrize("record", [MESSAGE, SIGNAL])
@pytest.mark.parametrize("user_id", ["", "x" * 129, "a\n", "a\x00", "a\x9f"])
def test_a_target_that_is_no_user_id_is_a_record_error(record: dict[str, Any], user_id: str) -> None:
    assert _decode(record).targets == ("u",)
    with pytest.raises(RecordError):
        _decode(record | {"target_user_id": user_id})
    with pytest.raises(RecordError):
        _decode(record | {"target_user_ids": ["v", user_id]})


@pytest.mark.parametrize("nothing", ["", None])
def test_members_that_a_back_end_writes_without_a_value_are_as_good_as_absent(nothing: str | None) -> None:
    sender = dict.fromkeys(("id", "username", "avatar_url"), nothing)
    empty = {"target_user_id": nothing, "target_device_id": nothing, "trace_id": nothing, "sender_info": sender}
    message = _decode(MESSAGE | {"target_user_ids": ["v", "u"], "signal_type": nothing, "payload": None} | empty)
    assert isinstance(message, Delivery)
    assert (message.targets, message.target_device_id, message.trace_id) == (("v", "u"), None, "")
    assert message.sender.id == str(MESSAGE["sender_id"])
    assert _decode(MESSAGE | {"target_user_ids": ["v"], "target_user_id": nothing}).targets == ("v",)
    assert _decode(SIGNAL | {"target_user_ids": ["v"], "target_user_id": nothing}).targets == ("v",)
    optional = dict.fromkeys(("sender_info", "client_msg_id", "extra", "require_ack", "target_user_ids"), None)
    assert _decode(MESSAGE | optional).targets == ("u",)
    no_targets: tuple[list[str] | None, ...] = ([], None)
    for targets in no_targets:
        with pytest.raises(RecordError, match="names a user"):
            _decode(MESSAGE | {"target_user_ids": targets, "target_user_id": nothing})


def test_both_kinds_of_target_count_once_each() -> None:
    assert _decode(MESSAGE | {"target_user_ids": ["v", "u", "v"]}).targets == ("v", "u")


def test_the_frame_types_of_the_protocol_are_the_contracts() -> None:
    up = {"send-message", "mark-read", "message-received", "ping", "refresh-token"}
    down = {"welcome", "message-ack", "new-message", "error", "reply", "reconnect", "pong", "token-refreshed"}
    assert up | down == RESERVED_TYPES


@pytest.mark.parametrize("signal_type", sorted(RESERVED_TYPES))
def test_a_signal_that_calls_itself_like_a_frame_type_is_a_record_error(signal_type: str) -> None:
    with pytest.raises(RecordError):
        _decode(SIGNAL | {"signal_type": signal_type})


@pytest.mark.parametrize(("record", "field"), [(MESSAGE, "extra"), (SIGNAL, "payload")])
def test_what_nests_too_deep_to_be_written_again_is_a_record_error(record: dict[str, Any], field: str) -> None:
    def nested(levels: int) -> bytes:
        return json.dumps(record | {field: "HERE"}).replace('"HERE"', "[" * levels + "]" * levels).encode()

    decode_downstream(nested(MAX_DEPTH))
    for levels in (MAX_DEPTH + 1, 900, 990, 1000, 100_000):
        with pytest.raises(RecordError):
            decode_downstream(nested(levels))


@pytest.mark.parametrize("place", [b'"content": "\xff"', b'"nobody_reads_this": "\xff"', b'"\xff": 1'])
def test_a_record_that_is_not_utf_8_is_a_record_error(place: bytes) -> None:
    value = json.dumps(MESSAGE).encode()
    with pytest.raises(RecordError):
        decode_downstream(value[:-1] + b", " + place + b"}")


@given(signals)
def test_a_signal_reaches_clients_as_it_was_written(record: dict[str, Any]) -> None:
    signal = _decode(record)
    assert isinstance(signal, Signal)
    frame = json.loads(JsonCodec().encode(SignalMessage(signal.signal_type, signal.payload), 5))
    assert frame == {"type": record["signal_type"], "data": record["payload"], "timestamp": 5}


@given(messages, st.lists(user_ids, min_size=1, max_size=3), st.sampled_from(Undelivered), st.binary(max_size=4))
def test_an_undelivered_record_holds_the_record_and_names_who_missed_it(
    record: dict[str, Any], users: list[str], reason: Undelivered, key: bytes
) -> None:
    consumed = ConsumedRecord(0, 0, key, json.dumps(record).encode())
    missed = [UserId(user) for user in users]
    outgoing = encode_undelivered(consumed.value, consumed.key, "undelivered", reason, GatewayId("g"), missed)
    assert (outgoing.topic, outgoing.key) == ("undelivered", key)
    assert json.loads(outgoing.value) == {
        "record": record,
        "reason": reason.value,
        "gateway_id": "g",
        "target_user_ids": users,
    }
