"""The codec's own promises: paths, safety, single fields, and names of any kind."""

import json
from contextlib import suppress
from typing import Any

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass
from tests.grpc_protos import pool_of

from imgateway.adapters.grpc.codec import MAX_DEPTH, MessageCodec
from imgateway.adapters.grpc.field_error import FieldError

POOL = pool_of("kinds.proto", "oddities.proto")
KINDS = POOL.FindMessageTypeByName("imgateway.test.Kinds")
ODDITIES = POOL.FindMessageTypeByName("imgateway.test.Oddities")
STRICT = MessageCodec(POOL, unknown_fields="reject")
LENIENT = MessageCodec(POOL, unknown_fields="ignore")


def _empty(descriptor: Any = KINDS) -> Any:
    return GetMessageClass(descriptor)()


def _read(text: str | bytes, codec: MessageCodec = STRICT, descriptor: Any = KINDS) -> Any:
    message = _empty(descriptor)
    codec.decoder(descriptor)(text.encode() if isinstance(text, str) else text, message)
    return message


def _refused(text: str | bytes, codec: MessageCodec = STRICT, descriptor: Any = KINDS) -> FieldError:
    with pytest.raises(FieldError) as caught:
        _read(text, codec, descriptor)
    return caught.value


def _written(message: Message, codec: MessageCodec = STRICT, descriptor: Any = KINDS) -> Any:
    return json.loads(codec.encoder(descriptor)(message))


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ('{"optionalInt32": "x"}', "optionalInt32"),
        ('{"optional_int32": "x"}', "optionalInt32"),
        ('{"optionalNestedMessage": {"a": true}}', "optionalNestedMessage.a"),
        ('{"repeatedInt32": [1, 2, 1.5]}', "repeatedInt32[2]"),
        (
            '{"repeatedNestedMessage": [{}, {"corecursive": {"optionalBool": 1}}]}',
            "repeatedNestedMessage[1].corecursive.optionalBool",
        ),
        ('{"repeatedNestedMessage": [null]}', "repeatedNestedMessage[0]"),
        ('{"repeatedNestedEnum": ["FOO", "nothing"]}', "repeatedNestedEnum[1]"),
        ('{"mapStringString": {"x": 1}}', 'mapStringString["x"]'),
        ('{"mapStringNestedMessage": {"a.b": {"a": "y"}}}', 'mapStringNestedMessage["a.b"].a'),
        ('{"mapInt32Int32": {"x": 1}}', 'mapInt32Int32["x"]'),
        ('{"mapInt32Int32": {"7": null}}', 'mapInt32Int32["7"]'),
        ('{"mapStringString": {"\\"\\n": 1}}', 'mapStringString["\\u0022\\u000a"]'),
        ('{"optionalInt32Wrapper": "x"}', "optionalInt32Wrapper"),
        ('{"optionalTimestamp": "x"}', "optionalTimestamp"),
        ('{"optionalValue": {"a": [1, {"b": 1' + "0" * 400 + "}]}}", 'optionalValue["a"][1]["b"]'),
        ('{"optionalAny": {"@type": "x/imgateway.test.Kinds", "optionalBool": 1}}', "optionalAny.optionalBool"),
        ('{"optionalAny": {"@type": "x/google.protobuf.Duration", "value": 1}}', "optionalAny.value"),
        ('{"optionalAny": {"@type": "x/google.protobuf.Duration"}}', "optionalAny.value"),
        ('{"optionalAny": {"@type": "x/google.protobuf.Empty", "y": 1}}', "optionalAny.y"),
        ('{"optionalAny": {"@type": "x/no.such.Type"}}', "optionalAny.@type"),
        ('{"optionalAny": {"a": 1}}', "optionalAny.@type"),
        ('{"oneofString": "a", "oneofBool": true}', "oneofBool"),
        ('{"oneofNullValue": null, "oneofBool": true}', "oneofBool"),
        ('{"oneofBool": true, "oneofNullValue": null}', "oneofNullValue"),
        ('{"optionalInt32": 1, "optional_int32": 1}', "optionalInt32"),
        ('{"nothing": 1}', "nothing"),
        ('{"recursiveMessage": {"nothing": 1}}', "recursiveMessage.nothing"),
        ("[]", ""),
        ('"text"', ""),
        ("null", ""),
    ],
)
def test_an_error_names_the_field(text: str, path: str) -> None:
    assert _refused(text).path == path


@pytest.mark.parametrize("name", ["y" * 9999, "\\u0000\\n\\u202e"])
@pytest.mark.parametrize(
    "text",
    ['{"%s": 1}', '{"mapStringString": {"%s": 1}}', '{"optionalNestedEnum": "%s"}', '{"optionalAny": {"@type": "%s"}}'],
)
def test_an_error_repeats_little_of_the_clients_text(text: str, name: str) -> None:
    shown = str(_refused(text % name))

    assert len(shown) < 200
    assert shown.isprintable()


@pytest.mark.parametrize("field", ["optionalInt32", "optionalUint64", "optionalSint64", "optionalFixed32"])
@pytest.mark.parametrize("text", ["1e999999999999999999999", "0e99999999999999999999", "1e-99999999999999999999"])
def test_exponents_beyond_everything_are_no_integers(field: str, text: str) -> None:
    refused = _refused(f'{{"{field}": "{text}"}}')

    assert (refused.path, refused.why) == (field, "must be an integer")


def _nested(depth: int) -> dict[str, str]:
    return {
        "objects": '{"recursiveMessage":' * (depth - 1) + "{}" + "}" * (depth - 1),
        "lists": '{"optionalValue":' + "[" * (depth - 1) + "]" * (depth - 1) + "}",
        "unknown": '{"unknown":' + "[" * (depth - 1) + "]" * (depth - 1) + "}",
        "struct": '{"optionalStruct":' + '{"a":' * (depth - 2) + "{}" + "}" * (depth - 1),
        "arrays": "[" * depth + "]" * depth,
        "any": "{"
        + '"optionalAny":{"@type":"x/imgateway.test.Kinds",' * (depth - 1)
        + '"optionalInt32":1'
        + "}" * depth,
    }


def test_an_unknown_member_may_nest_as_deep_as_json_may() -> None:
    assert _written(_read(_nested(MAX_DEPTH)["unknown"], LENIENT)) == {}


@pytest.mark.parametrize("kind", ["objects", "struct", "lists", "any"])
def test_whatever_depth_is_accepted_can_be_parsed_from_the_wire(kind: str) -> None:
    accepted = 0
    for depth in range(4, MAX_DEPTH + 1, 2):
        with suppress(FieldError):
            message = _read(_nested(depth)[kind])
            accepted = depth
            assert GetMessageClass(KINDS).FromString(message.SerializeToString()) == message
            assert _read(STRICT.encoder(KINDS)(message)) == message

    assert accepted >= 30


def test_a_message_that_nests_without_end_is_not_written() -> None:
    message = _empty()
    for _ in range(5000):
        outer = _empty()
        outer.optional_any.type_url = "x/imgateway.test.Kinds"
        outer.optional_any.value = message.SerializeToString()
        message = outer

    with pytest.raises(ValueError, match="nests deeper"):
        STRICT.encoder(KINDS)(message)


@pytest.mark.parametrize("field", ["optionalInt64", "optionalDouble", "optionalValue", "unknown", "mapStringValue"])
@pytest.mark.parametrize("number", ["9" * 5000, "9" * 200_000, "1e999999999", "-1e999", "1." + "9" * 5000 + "e400"])
def test_numbers_without_end_are_refused(field: str, number: str) -> None:
    _refused(f'{{"{field}": {number}}}', LENIENT)


@pytest.mark.parametrize(
    "number", ["9" * 200_000, "1e99999999", "1e-99999999", "0." + "0" * 300 + "1e300", "1e", "1e+", ".5"]
)
def test_numbers_without_end_in_text_are_refused(number: str) -> None:
    for field in ("optionalInt64", "optionalUint32", "optionalNestedEnum"):
        assert _refused(f'{{"{field}": "{number}"}}').path == field
    _refused(f'{{"mapInt64Int64": {{"{number}": 1}}}}')


def test_null_characters_are_text() -> None:
    message = _read('{"optionalString": "a\\u0000b", "mapStringString": {"\\u0000": "\\u0000"}}')

    assert message.optional_string == "a\0b"
    assert _written(message) == {"optionalString": "a\0b", "mapStringString": {"\0": "\0"}}


def test_unknown_members_are_ignored_or_refused() -> None:
    text = '{"x": {}, "repeatedNestedEnum": ["BAR"], "optionalNestedMessage": {"y": [1]}}'

    assert _written(_read(text, LENIENT)) == {"repeatedNestedEnum": ["BAR"], "optionalNestedMessage": {}}
    assert _refused(text).path == "x"


@pytest.mark.parametrize("codec", [STRICT, LENIENT])
@pytest.mark.parametrize(
    ("text", "path"),
    [
        ('{"optionalNestedEnum": "x"}', "optionalNestedEnum"),
        ('{"optional_nested_enum": ""}', "optionalNestedEnum"),
        ('{"presentNestedEnum": "x"}', "presentNestedEnum"),
        ('{"oneofEnum": "x"}', "oneofEnum"),
        ('{"repeatedNestedEnum": ["BAR", "x", "BAR"]}', "repeatedNestedEnum[1]"),
        ('{"mapStringNestedEnum": {"a": "FOO", "b": "x"}}', 'mapStringNestedEnum["b"]'),
        ('{"mapBoolRecursive": {"true": {"oneofEnum": "x"}}}', 'mapBoolRecursive["true"].oneofEnum'),
        (
            '{"repeatedAny": [{}, {"@type": "x/imgateway.test.Kinds", "repeatedNestedEnum": ["x"]}]}',
            "repeatedAny[1].repeatedNestedEnum[0]",
        ),
    ],
)
def test_a_name_that_an_enum_does_not_have_is_refused_and_never_dropped(
    text: str, path: str, codec: MessageCodec
) -> None:
    refused = _refused(text, codec)

    assert (refused.path, refused.why) == (path, "is no value of Mood")


def test_numbers_that_an_open_enum_does_not_have_are_kept() -> None:
    values = {"optionalNestedEnum": 99, "repeatedNestedEnum": [98, "BAR"], "mapStringNestedEnum": {"a": 97}}

    assert _written(_read(json.dumps(values), LENIENT)) == values
    assert _written(_read('{"optionalNestedEnum": "99"}', LENIENT)) == {"optionalNestedEnum": 99}


@pytest.mark.parametrize("codec", [STRICT, LENIENT])
def test_the_null_of_json_is_the_value_of_its_enum_and_another_name_is_not(codec: MessageCodec) -> None:
    assert _written(_read('{"repeatedNullValue": [null, "NULL_VALUE"]}', codec)) == {"repeatedNullValue": [None, None]}
    assert _refused('{"repeatedNullValue": [null, "x"]}', codec).path == "repeatedNullValue[1]"


def test_names_are_written_as_asked_and_read_in_both_spellings() -> None:
    proto_names = MessageCodec(POOL, field_names="proto")

    for text in ('{"recursive_message": {"optional_int32": 1}}', '{"recursiveMessage": {"optionalInt32": 1}}'):
        assert _written(_read(text, proto_names), proto_names) == {"recursive_message": {"optional_int32": 1}}


def test_null_takes_away_what_is_set() -> None:
    message = _empty()
    message.repeated_int32.extend([1, 2])

    STRICT.field_decoder(KINDS.fields_by_name["repeated_int32"])(b"null", message)

    assert message == _empty()


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("optional_int32", 0),
        ("optional_int64", "0"),
        ("optional_string", ""),
        ("optional_bytes", ""),
        ("optional_nested_enum", "FOO"),
        ("present_int32", 0),
        ("repeated_int32", []),
        ("repeated_any", []),
        ("map_string_string", {}),
        ("optional_nested_message", None),
        ("optional_value", None),
        ("optional_timestamp", None),
        ("oneof_bool", False),
    ],
)
def test_a_single_field_that_is_unset(field: str, expected: object) -> None:
    assert json.loads(STRICT.field_encoder(KINDS.fields_by_name[field])(_empty())) == expected


@pytest.mark.parametrize(
    ("text", "path"), [("[1, {}]", "repeatedInt32[1]"), ("7", "repeatedInt32"), ("[", "repeatedInt32")]
)
def test_errors_of_a_single_field_begin_with_its_name(text: str, path: str) -> None:
    with pytest.raises(FieldError) as caught:
        STRICT.field_decoder(KINDS.fields_by_name["repeated_int32"])(text.encode(), _empty())

    assert caught.value.path == path


def test_names_of_any_kind_are_only_names() -> None:
    text = r'{"needed": 1, "class": 7, "it'
    text += r"""'s \\ a \"lambda\"\n": 8, "self": 9, "DESCRIPTOR": 10, "second_name": 11, "thirdName": 12}"""

    message = _read(text, descriptor=ODDITIES)

    assert getattr(message, "lambda") == 8
    assert (message.first_name, message.second_name) == (11, 12)  # a JSON name goes before a proto name
    assert _written(message, descriptor=ODDITIES) == json.loads(text)


def test_fields_called_like_the_methods_of_messages() -> None:
    descriptor = POOL.FindMessageTypeByName("imgateway.test.Shadows")
    text = """{"HasField": {"ClearField": 0}, "SetInParent": 3, "WhichOneof": "c", "MergeFromString": "d", "None": 5,
        "SerializePartialToString": {"HasField": {}}, "any": {"@type": "x/imgateway.test.Shadows", "m": 1, "o": 2}}"""

    assert _written(_read(text, descriptor=descriptor), descriptor=descriptor) == json.loads(text)
    for field in descriptor.fields:
        STRICT.field_decoder(field)(b"null", _empty(descriptor))


def test_proto2_groups_defaults_and_closed_enums() -> None:
    message = _read('{"folded": {"depth": 3}, "closed": "ONE", "manyClosed": [2, "ONE"]}', descriptor=ODDITIES)

    assert _written(message, descriptor=ODDITIES) == {
        "folded": {"depth": 3},
        "closed": "ONE",
        "manyClosed": ["TWO", "ONE"],
    }
    assert _refused('{"closed": 3}', LENIENT, ODDITIES).path == "closed"
    assert _refused('{"[imgateway.test.added]": 3}', STRICT, ODDITIES).path == "[imgateway.test.added]"
    for field, default in (("closed", "TWO"), ("greeting", "hello")):
        assert json.loads(STRICT.field_encoder(ODDITIES.fields_by_name[field])(_empty(ODDITIES))) == default


def test_functions_are_made_once() -> None:
    assert STRICT.encoder(KINDS) is STRICT.encoder(KINDS)
    assert STRICT.decoder(KINDS) is STRICT.decoder(KINDS)


@pytest.mark.parametrize("syntax", ["proto2", "proto3"])
def test_strings_that_are_no_text_are_never_written_as_if_they_were(syntax: str) -> None:
    """Where protobuf does not look at them (proto2), JSON can't have them."""
    file = FileDescriptorProto(name="texts.proto", package="t", syntax=syntax)
    message = file.message_type.add(name="Texts")
    message.field.add(name="one", number=1, type=9, label=1)
    message.field.add(name="many", number=2, type=9, label=3)
    entry = message.nested_type.add(name="NamedEntry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, type=9, label=1)
    entry.field.add(name="value", number=2, type=9, label=1)
    message.field.add(name="named", number=3, type=11, label=3, type_name=".t.Texts.NamedEntry")
    pool = DescriptorPool()
    pool.Add(file)
    descriptor = pool.FindMessageTypeByName("t.Texts")
    new: Any = GetMessageClass(descriptor)
    codec = MessageCodec(pool)
    good = new(one="a", many=["b"], named={"c": "d"})
    assert codec.encoder(descriptor)(good) == b'{"one":"a","many":["b"],"named":{"c":"d"}}'
    for letter in b"abcd":
        raw = good.SerializeToString().replace(bytes([letter]), b"\xff")
        if syntax == "proto3":
            with pytest.raises(DecodeError):
                new.FromString(raw)
        else:
            with pytest.raises(ValueError, match=r"no text|codec can't decode"):
                codec.encoder(descriptor)(new.FromString(raw))
