"""The codec against protobuf's own, slow one, in both directions."""

import json
from contextlib import suppress
from typing import Any

import pytest
from google.protobuf import json_format
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tests.properties.client_frames import json_values, written
from tests.properties.grpc_messages import KINDS, POOL, json_objects, messages, names_no_value

from imgateway.adapters.grpc.codec import MessageCodec
from imgateway.adapters.grpc.field_error import FieldError

CODECS = {
    (names, unknown): MessageCodec(POOL, field_names=names, unknown_fields=unknown)
    for names in ("json", "proto")
    for unknown in ("ignore", "reject")
}
STRICT = CODECS["json", "reject"]

thorough = settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large], deadline=None)


def _empty() -> Message:
    return GetMessageClass(KINDS)()


def _bytes(message: Message) -> bytes:
    return message.SerializeToString(deterministic=True)  # unlike messages, equal where both are NaN


def _ours(text: str, codec: MessageCodec) -> bytes | None:
    message = _empty()
    try:
        codec.decoder(KINDS)(text.encode(), message)
    except FieldError:
        return None
    return _bytes(message)


def _theirs(text: str, unknown_fields: str) -> bytes | None:
    message = _empty()
    try:
        json_format.Parse(
            text,
            message,
            ignore_unknown_fields=unknown_fields == "ignore",
            descriptor_pool=POOL,
            max_recursion_depth=50,
        )
    except json_format.ParseError:
        return None
    return _bytes(message)


@thorough
@given(messages(KINDS), st.sampled_from(("json", "proto")))
def test_what_is_written_is_what_protobuf_writes(message: Message, names: Any) -> None:
    codec = CODECS[names, "reject"]

    text = codec.encoder(KINDS)(message)

    assert b"\n" not in text
    assert json.loads(text) == json_format.MessageToDict(
        message, preserving_proto_field_name=names == "proto", descriptor_pool=POOL
    )
    again = _empty()
    codec.decoder(KINDS)(text, again)
    assert json.loads(codec.encoder(KINDS)(again)) == json.loads(text)


@thorough
@given(json_objects(KINDS).flatmap(written), st.sampled_from(("ignore", "reject")))
@example('{"repeatedNestedEnum": ["FOO", "nothing"]}', "ignore")
@example('{"optionalAny": {"@type": "x/imgateway.test.Kinds", "oneofEnum": "nothing"}}', "ignore")
def test_what_is_read_is_what_protobuf_reads(text: str, unknown_fields: Any) -> None:
    """But for names that enums don't have, which protobuf drops together with unknown fields."""
    expected = None if names_no_value(json.loads(text), KINDS) else _theirs(text, unknown_fields)
    assert _ours(text, CODECS["json", unknown_fields]) == expected


@thorough
@given(messages(KINDS), st.data())
def test_single_fields_are_written_and_read_as_within_their_message(message: Message, data: st.DataObject) -> None:
    field = data.draw(st.sampled_from(list(KINDS.fields)))
    whole = json.loads(STRICT.encoder(KINDS)(message))

    text = STRICT.field_encoder(field)(message)

    if field.json_name in whole:
        assert json.loads(text) == whole[field.json_name]
        again = _empty()
        STRICT.field_decoder(field)(text, again)
        assert json.loads(STRICT.encoder(KINDS)(again)) == {field.json_name: whole[field.json_name]}


@given(st.binary(max_size=60) | json_values.flatmap(written).map(str.encode))
def test_nothing_that_comes_in_raises_anything_else(text: bytes) -> None:
    for codec in CODECS.values():
        with suppress(FieldError):
            codec.decoder(KINDS)(text, _empty())


LENIENT = {
    "true for a number": '{"optionalDouble": true}',
    "true for an enum": '{"optionalNestedEnum": true}',
    "part of a number for an enum": '{"optionalNestedEnum": 1.5}',
    "a number beyond a float's range, as text": '{"optionalFloat": "1e39"}',
    "an integer beyond a float's range": '{"optionalFloat": 1' + "0" * 39 + "}",
    "Python's way of writing numbers": '{"optionalInt32": "1_000"}',
    "a plus": '{"optionalInt32": "+1"}',
    "zeros in front": '{"optionalInt32": "007"}',
    "digits of other scripts": '{"optionalInt32": "٣"}',
    "text around numbers": '{"optionalInt32": "\\n1"}',
    "numbers by Python's names": '{"optionalDouble": "inf"}',
    "other ways to write a key, and so one key twice": '{"mapInt32Int32": {"1": 1, "01": 2}}',
    "characters that are not base64": '{"optionalBytes": "A*Q*I="}',
    "too much padding": '{"optionalBytes": "AQI=="}',
    "one field in both spellings": '{"optionalInt32": 1, "optional_int32": 2}',
    "null for one field of a oneof next to another": '{"oneofUint32": 1, "oneofNullValue": null}',
    "an empty array for a message": '{"optionalNestedMessage": []}',
    "a shorter month": '{"optionalTimestamp": "1970-1-01T00:00:00Z"}',
    "hours that no offset has": '{"optionalTimestamp": "1970-01-01T00:00:00+24:00"}',
    "Python's way of writing a duration": '{"optionalDuration": "+1s"}',
    "more digits than nanoseconds": '{"optionalDuration": "1.0123456789s"}',
    "an empty path": '{"optionalFieldMask": "a,,b"}',
    "a type without a URL": '{"optionalAny": {"@type": "google.protobuf.Empty"}}',
    "numbers that JSON does not have": '{"unknown": NaN}',
}
"""What protobuf's Python reads though the format does not have it, or two readers may understand it differently."""


@pytest.mark.parametrize("text", [pytest.param(text, id=name) for name, text in LENIENT.items()])
def test_what_protobuf_is_lenient_about_is_refused(text: str) -> None:
    assert _theirs(text, "ignore") is not None
    assert _ours(text, CODECS["json", "ignore"]) is None


STRICTER = {
    "null for a repeated value": ('{"repeatedValue": null}', {}),
    "the largest float in its shortest form": ('{"optionalFloat": 3.4028235e38}', {"optionalFloat": 3.4028235e38}),
    "null within a map of nulls": ('{"mapStringNullValue": {"x": null}}', {"mapStringNullValue": {"x": None}}),
}


@pytest.mark.parametrize(("text", "expected"), [pytest.param(*case, id=name) for name, case in STRICTER.items()])
def test_what_protobuf_writes_and_does_not_read_is_read(text: str, expected: dict[str, Any]) -> None:
    message = _empty()

    STRICT.decoder(KINDS)(text.encode(), message)

    assert json.loads(STRICT.encoder(KINDS)(message)) == expected
    assert _theirs(text, "reject") is None


def test_text_is_an_exact_number_where_protobuf_rounds() -> None:
    text = '{"optionalInt64": "9007199254740993.0"}'
    message = _empty()

    STRICT.decoder(KINDS)(text.encode(), message)

    assert json.loads(STRICT.encoder(KINDS)(message)) == {"optionalInt64": "9007199254740993"}
    assert _bytes(message) != _theirs(text, "reject")
