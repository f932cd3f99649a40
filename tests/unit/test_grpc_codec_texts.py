"""Texts that are no JSON, or that two readers might understand differently, are refused, and errors say where."""

import json
from typing import Any

import pytest
from google.protobuf.message_factory import GetMessageClass
from tests.grpc_protos import pool_of

from imgateway.adapters.grpc.codec import MAX_DEPTH, MessageCodec
from imgateway.adapters.grpc.field_error import FieldError

POOL = pool_of("kinds.proto")
KINDS = POOL.FindMessageTypeByName("imgateway.test.Kinds")
CODEC = MessageCodec(POOL, unknown_fields="ignore")


def _read(text: str | bytes) -> Any:
    message = GetMessageClass(KINDS)()
    CODEC.decoder(KINDS)(text.encode() if isinstance(text, str) else text, message)
    return message


def _refused(text: str | bytes) -> tuple[str, str]:
    with pytest.raises(FieldError) as caught:
        _read(text)
    return caught.value.path, caught.value.why


def _refused_field(field: str, text: str | bytes) -> tuple[str, str]:
    with pytest.raises(FieldError) as caught:
        CODEC.field_decoder(KINDS.fields_by_name[field])(
            text.encode() if isinstance(text, str) else text, GetMessageClass(KINDS)()
        )
    return caught.value.path, caught.value.why


def _written(message: Any) -> Any:
    return json.loads(CODEC.encoder(KINDS)(message))


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ('{"optionalString": "a", "optionalString": "b"}', "optionalString"),
        ('{"optionalString": "a", "optionalStr\\u0069ng": "b"}', "optionalString"),
        ('{"optional_string": "a", "optional_string": "b"}', "optionalString"),
        ('{"optionalNestedMessage": {"a": 1, "a": 1}}', "optionalNestedMessage.a"),
        ('{"optional_nested_message": {"corecursive": {"x": 1, "x": 1}}}', "optionalNestedMessage.corecursive.x"),
        ('{"repeatedNestedMessage": [{"a": 1}, {"a": 1, "a": 1}]}', "repeatedNestedMessage[1].a"),
        ('{"repeatedInt32": [1, 2], "repeatedInt32" : [[]]}', "repeatedInt32"),
        ('{"mapStringString": {"": "a:b", "": "\\"\\\\:"}}', 'mapStringString[""]'),
        ('{"mapStringString": {"a.b": "", "\\n\\"": "", "a.b": ""}}', 'mapStringString["a.b"]'),
        (
            '{"mapBoolRecursive": {"true": {"mapInt32Int32": {"7": 1, "7": 1}}}}',
            'mapBoolRecursive["true"].mapInt32Int32["7"]',
        ),
        ('{"optionalStruct": {"a": {"b": 1, "b": 2}}}', 'optionalStruct["a"]["b"]'),
        ('{"repeatedValue": [1, [{"b": 1, "b": 2}]]}', 'repeatedValue[1][0]["b"]'),
        ('{"optionalAny": {"@type": "x/imgateway.test.Kinds", "a": [{"b": "", "b": ""}]}}', "optionalAny.a[0].b"),
        ('{"optionalAny": {"@type": "x", "@type": "x"}}', "optionalAny.@type"),
        ('{"unknown": {"a": 1, "a": 1}}', "unknown.a"),
        ('{"unknown": [[{"a": 1, "a": {}}]]}', "unknown[0][0].a"),
        ('{"": 1, "": 1}', '[""]'),
        ('{"a": {"b": 1, "b": 1}, "a": 1}', "a.b"),
        ('{"optionalInt32": [{"a": 1, "a": 1}]}', "optionalInt32[0].a"),
        ('[{"optionalInt32": 1, "optionalInt32": 1}]', "[0].optionalInt32"),
    ],
)
def test_a_name_twice_in_one_object_is_refused(text: str, path: str) -> None:
    assert _refused(text) == (path, "is named twice")


def test_a_member_named_twice_far_inside_is_told_by_its_outermost_steps() -> None:
    for depth in (15, 16, 80):
        path, why = _refused('{"recursiveMessage":' * depth + '{"a":1,"a":2}' + "}" * depth)
        assert path == ".".join(["recursiveMessage"] * min(depth, 16)) + (".a" if depth == 15 else "…")
        assert why == "is named twice"


@pytest.mark.parametrize("name", ["y" * 9999, "\\u0000\\n\\u202e\\u2028", "\\ud83d\\ude00", '\\\\\\"'])
@pytest.mark.parametrize(
    "text",
    [
        '{"%s": 1, "%s": 2}',
        '{"mapStringString": {"%s": 1, "%s": 2}}',
        '{"optionalStruct": {"%s": 1, "%s": 2}}',
        '{"%s": ' + "[" * 101 + "]" * 101 + "}",
        '{"%s": 1e999}',
    ],
)
def test_names_of_the_clients_are_shortened_and_made_visible(text: str, name: str) -> None:
    path, _ = _refused(text.replace("%s", name))

    assert 0 < len(path) < 100
    assert path.isprintable()


def test_a_long_way_of_long_names_is_a_short_path() -> None:
    inside = ('{"' + "y" * 9999 + '":') * 90
    for wrong in ('{"a":1,"a":2}' + "}" * 90, "1e999" + "}" * 90, "[" * 100 + "]" * 100 + "}" * 90):
        assert 0 < len(_refused(inside + wrong)[0]) < 1000
    assert 0 < len(_refused(inside.encode() + b'"\xff"')[0]) < 1000


@pytest.mark.parametrize("text", ['{"optionalString": "a:b"}', '{"mapStringString": {"a:\\"": "\\\\", ":": ":"}}'])
def test_colons_within_text_are_no_members(text: str) -> None:
    assert _written(_read(text)) == json.loads(text)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ('{"optionalDouble": 1e400}', "optionalDouble"),
        ('{"optionalInt32": -1e400}', "optionalInt32"),
        ('{"optionalString": "1e400", "repeatedInt32": [1, 1e999]}', "repeatedInt32[1]"),
        ('{"mapStringValue": {"1e400": 1, "x": {"y": 1e400}}}', 'mapStringValue["x"]["y"]'),
        ('{"unknown": {"a": [{}, %s]}}' % ("9" * 5000), "unknown.a[1]"),
        ("1e400", ""),
        ('{"optionalDouble": 1e400, and no JSON', "optionalDouble"),
        ('{"optionalDouble": 1e400, "unknown": ' + "[" * 10_000, "optionalDouble"),
    ],
)
def test_numbers_beyond_every_range_are_refused_by_their_field(text: str, path: str) -> None:
    assert _refused(text) == (path, "has a number that is out of every range")


@pytest.mark.parametrize("depth", [MAX_DEPTH + 2, 1000, 10_000, 100_000])
@pytest.mark.parametrize(
    ("opening", "inner", "closing", "path"),
    [
        ('{"recursiveMessage":', "{}", "}", "recursiveMessage.recursiveMessage.recursiveMessage"),
        ('{"optionalValue":[', "", "]}", 'optionalValue[0]["optionalValue"]'),
        ('{"repeatedRecursive":[{},', "{}", "]}", "repeatedRecursive[1].repeatedRecursive"),
        ('{"unknown":{"a":[', "", "]}}", "unknown.a[0]"),
        ('{"optionalStruct":', "{}", "}", 'optionalStruct["optionalStruct"]["optionalStruct"]'),
        ("[", "", "]", "[0][0][0]"),
        ('{"optionalAny":{"@type":"x/imgateway.test.Kinds","a":', "1", "}}", "optionalAny.a.optionalAny"),
    ],
)
def test_what_nests_too_deep_is_refused(opening: str, inner: str, closing: str, path: str, depth: int) -> None:
    assert _refused(opening * depth + inner + closing * depth) == (path, "leads deeper than 100 levels")
    if depth > 1000:  # the decoder doesn't get to the end
        assert _refused(opening * depth)[0] == path


def test_depth_is_found_behind_what_is_flat() -> None:
    text = '{"optionalString": "[[[{{\\"[", "repeatedNestedMessage": [{}, {"a": 1}], "repeatedValue": [[], [1], %s]}'

    assert _refused(text % ("[" * 99 + "]" * 99))[0] == "repeatedValue[2][0]"


@pytest.mark.parametrize(
    ("text", "path", "index"),
    [
        (b'{"optionalString": "\xff"}', "optionalString", 20),
        (b'{"optionalInt32": 1, "repeatedString": ["\xc3\xa9", "a\\"\xed\xa0\x80"]}', "repeatedString[1]", 50),
        (b'{"mapStringString": {"a": "", "b": "\xf0\x9f"}}', 'mapStringString["b"]', 36),
        (b'{"\xff": 1}', "", 2),
        (b'{"optionalNestedMessage": {"a": 1, "\xff": 1}}', "optionalNestedMessage", 36),
        (b'{"unknown": [{}, "\xff"]}', "unknown[1]", 18),
        (b'{"optionalString": "\xc3', "optionalString", 20),
        (b"\xff\xfe{\x00}\x00", "", 0),
        (b"]]},,:\xff", "", 6),
        (b'{"a\\x": "\xff"}', "a\\x", 9),
    ],
)
def test_what_is_not_utf_8_is_refused_with_its_place(text: bytes, path: str, index: int) -> None:
    assert _refused(text) == (path, f"is not UTF-8 (byte {index})")


@pytest.mark.parametrize(
    "text",
    [
        rb'{"optionalString": "\ud800"}',
        rb'{"optionalString": "\ud800 and more"}',
        rb'{"optionalString": "\ud83d\u0041"}',
        rb'{"optionalString": "\ude01\ud83d"}',
        rb'{"mapStringString": {"\ud800": ""}}',
        rb'{"unknown": "\udfff"}',
        b"\xef\xbb\xbf{}",
        b"",
        b"{} {}",
        b'{"optionalString": "a\nb"}',
    ],
)
def test_what_is_no_json_is_refused(text: bytes) -> None:
    path, why = _refused(text)

    assert path == ""
    assert why.startswith("is not JSON: ")


@pytest.mark.parametrize(
    ("field", "text", "path"),
    [
        ("optional_nested_message", '{"a": 1, "a": 2}', "optionalNestedMessage.a"),
        ("repeated_nested_message", '[{"a": 1}, {"a": 1, "a": 2}]', "repeatedNestedMessage[1].a"),
        ("map_string_string", '{"a": "", "a": ""}', 'mapStringString["a"]'),
        ("optional_struct", '{"a": {"b": 1, "b": 2}}', 'optionalStruct["a"]["b"]'),
        ("optional_double", "1e400", "optionalDouble"),
        ("optional_nested_message", '{"a": 1e400}', "optionalNestedMessage.a"),
        ("repeated_recursive", '[{"recursiveMessage":' * 5000, "repeatedRecursive[0].recursiveMessage[0]"),
        ("optional_string", b'"\xff"', "optionalString"),
        ("optional_nested_message", "{", "optionalNestedMessage"),
    ],
)
def test_errors_of_a_text_that_is_one_field_begin_with_its_name(field: str, text: str | bytes, path: str) -> None:
    assert _refused_field(field, text)[0] == path


def test_long_text_takes_no_quadratic_time() -> None:
    # What is quadratic takes hours here, which the test's own time limit ends.
    value = {"optionalString": '":\\' * 1_000_000, "mapStringString": {str(n): ":" for n in range(20_000)}}

    assert _written(_read(json.dumps(value))) == value


@pytest.mark.parametrize(
    ("before", "wrong"),
    [
        ('{"a":"' + '\\"' * 1_000_000 + '",', '"b":1,"b":1}'),
        ('{"a":"' + "\\\\" * 1_000_000 + '",', '"b":1,"b":1}'),
        ('{"a"' + " " * 2_000_000 + ":1,", '"b":1,"b":1}'),
        ('{"a":"x"' + " " * 2_000_000 + ",", '"b":1,"b":1}'),
        ('{"b":[' + "{}," * 300_000 + "1],", '"c":1,"c":1}'),
        ('{"a":"' + '\\"' * 1_000_000, "\\"),
        ('{"b":[' + "[]," * 300_000, "[" * 100_000),
        ('{"b":[' + "1," * 300_000, "1" * 1_000_000),
    ],
)
def test_a_place_is_found_without_quadratic_time(before: str, wrong: str) -> None:
    # What is quadratic takes hours here, which the test's own time limit ends.
    _refused(before + wrong)
    _refused((before + wrong).encode() + b'"\xff')
