"""What keeps a message from being sent is named by its field: a required one that is missing, or too much nesting."""

import json
import sys
from collections.abc import Callable
from typing import Any

import pytest
from google.protobuf.descriptor import Descriptor
from google.protobuf.message_factory import GetMessageClass
from tests.grpc_protos import pool_of

from imgateway.adapters.grpc.codec import MessageCodec
from imgateway.adapters.grpc.codec.wire_form import MAX_MESSAGES, check_depth, serialised
from imgateway.adapters.grpc.field_error import FieldError, NestingError

POOL = pool_of("kinds.proto", "needs.proto", "editions.proto")
KINDS = POOL.FindMessageTypeByName("imgateway.test.Kinds")
NEED = POOL.FindMessageTypeByName("imgateway.test.Need")
CODEC = MessageCodec(POOL)

MISSING = "is required, but missing"
TOO_DEEP = "nests deeper than messages can"


def _read(text: str, descriptor: Descriptor = KINDS) -> Any:
    message = GetMessageClass(descriptor)()
    CODEC.decoder(descriptor)(text.encode(), message)
    return message


def _refused(text: str, descriptor: Descriptor = KINDS) -> tuple[str, str]:
    with pytest.raises(FieldError) as caught:
        serialised(_read(text, descriptor))
    return caught.value.path, caught.value.why


FULL = '"needIt": ""'


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("{}", "needIt"),
        ('{"needIt": null}', "needIt"),
        ('{"inner": {}}', "needIt"),
        (f'{{{FULL}, "inner": {{}}}}', "inner.needIt"),
        (f'{{{FULL}, "inner": {{{FULL}, "inner": {{"inner": {{{FULL}}}}}}}}}', "inner.inner.needIt"),
        (f'{{{FULL}, "inner_list": [{{{FULL}}}, {{"need_it": ""}}, {{}}]}}', "innerList[2].needIt"),
        (f'{{{FULL}, "listField": [{{"text": ""}}, {{"below": {{{FULL}}}}}]}}', "listField[1].text"),
        (f'{{{FULL}, "byName": {{"a": {{{FULL}}}, "a.b\\"\\n": {{}}}}}}', 'byName["a.b\\u0022\\u000a"].needIt'),
        (f'{{{FULL}, "byNumber": {{"1": {{"text": ""}}, "-7": {{}}}}}}', 'byNumber["-7"].text'),
        (f'{{{FULL}, "byTruth": {{"true": {{}}}}}}', 'byTruth["true"].text'),
        (f'{{{FULL}, "byTruth": {{"false": {{"text": "", "below": {{}}}}}}}}', 'byTruth["false"].below.needIt'),
        (f'{{{FULL}, "folded": {{}}}}', "folded.depth"),
        (f'{{{FULL}, "chosen": {{}}}}', "chosen.text"),
        (f'{{{FULL}, "numbers": [1], "counts": {{"a": 1}}, "st": {{"a": [1]}}, "inner": {{}}}}', "inner.needIt"),
    ],
)
def test_a_required_field_that_is_missing_is_named(text: str, path: str) -> None:
    assert _refused(text, NEED) == (path, MISSING)


@pytest.mark.parametrize(
    ("content", "path"),
    [
        ("", "needIt"),
        (f', {FULL}, "innerList": [{{}}]', "innerList[0].needIt"),
        (f', {FULL}, "any": {{"@type": "x/imgateway.test.Need"}}', "any.needIt"),
    ],
)
def test_so_is_one_within_an_any(content: str, path: str) -> None:
    """Its content is complete when it is read, and protobuf's own reader refuses it as well."""
    packed = f'{{"@type": "x/imgateway.test.Need"{content}}}'

    assert _refused(f'{{{FULL}, "any": {packed}}}', NEED) == (f"any.{path}", MISSING)
    assert _refused(f'{{"optionalAny": {{"@type": "x/google.protobuf.Any", "value": {packed}}}}}') == (
        f"optionalAny.value.{path}",
        MISSING,
    )


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("{}", "needed"),
        ('{"needed": "", "inner": {}}', "inner.needed"),
        ('{"needed": "", "innerMap": {"x": {}}}', 'innerMap["x"].needed'),
    ],
)
def test_editions_may_require_fields_too(text: str, path: str) -> None:
    assert _refused(text, POOL.FindMessageTypeByName("imgateway.test.editions.Needs")) == (path, MISSING)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ('{"ListFields": 1}', "SerializeToString"),
        ('{"ListFields": 1, "SerializeToString": 2, "DESCRIPTOR": 3, "HasField": {}}', "HasField.ListFields"),
    ],
)
def test_fields_called_like_the_methods_that_are_used(text: str, path: str) -> None:
    descriptor = POOL.FindMessageTypeByName("imgateway.test.Covered")

    assert _refused(text, descriptor) == (path, MISSING)
    full = _read('{"ListFields": 1, "SerializeToString": 2}', descriptor)
    assert serialised(full) == b"\x08\x01\x10\x02"


def test_nothing_is_missing_where_it_is_all_there() -> None:
    message = _read(
        f'{{{FULL}, "inner": {{{FULL}}}, "byTruth": {{"true": {{"text": ""}}}}, "folded": {{"depth": 0}}}}', NEED
    )

    assert GetMessageClass(NEED).FromString(serialised(message)) == message


def _objects(count: int, inner: str) -> str:
    return '{"a":' * count + inner + "}" * count


def _arrays(count: int, inner: str) -> str:
    return "[" * count + inner + "]" * count


_DEEPEST: dict[str, tuple[str, Callable[[int, str], str], Callable[[int], int]]] = {
    "objects in a Struct": ('{"optionalStruct":HERE}', _objects, lambda around: (100 - around) // 3),
    "objects in a Value": ('{"optionalValue":HERE}', _objects, lambda around: (99 - around) // 3),
    "arrays in a Value": ('{"optionalValue":HERE}', _arrays, lambda around: (99 - around) // 2),
    "arrays in a ListValue": ('{"repeatedListValue":[HERE]}', _arrays, lambda around: (100 - around) // 2),
}
"""By docs/reference/rest.md: with so many messages around."""


def _within(count: int, inner: str) -> str:
    return '{"recursiveMessage":' * count + inner + "}" * count


def _member(name: str, value: str) -> str:
    return f'{{"{name}":{value}}}'


_FULL = _objects(33, "1")


def _packed(kind: str, value: str) -> str:
    return f'{{"@type":"x/google.protobuf.{kind}","value":{value}}}'


@pytest.mark.parametrize("around", [0, 1, 2, 3, 7, 30, 60])
@pytest.mark.parametrize("kind", _DEEPEST)
def test_json_in_messages_nests_as_deep_as_the_documentation_says(kind: str, around: int) -> None:
    field, nested, deepest = _DEEPEST[kind]
    count = deepest(around)
    accepted = _within(around, field.replace("HERE", nested(count, "1")))
    refused = _within(around, field.replace("HERE", nested(count + 1, "1")))

    message = _read(accepted)
    assert GetMessageClass(KINDS).FromString(serialised(message)) == message
    assert json.loads(CODEC.encoder(KINDS)(message)) == json.loads(accepted)
    assert _refused(refused)[1] == TOO_DEEP


@pytest.mark.parametrize("around", [0, 20, 47])
@pytest.mark.parametrize(
    ("kind", "nested", "deepest"),
    [("Struct", _objects, 33), ("Value", _objects, 33), ("Value", _arrays, 50), ("ListValue", _arrays, 50)],
)
def test_what_is_in_an_any_is_counted_from_there(
    kind: str, nested: Callable[[int, str], str], deepest: int, around: int
) -> None:
    def text(count: int) -> str:
        return _within(around, _member("optionalAny", _packed(kind, nested(count, "1"))))

    assert json.loads(CODEC.encoder(KINDS)(_read(text(deepest)))) == json.loads(text(deepest))
    step = '["a"]' if nested is _objects else "[0]"
    shown = "recursiveMessage.recursiveMessage.recursiveMessage" if around else f"optionalAny.value{step}"
    assert _refused(text(deepest + 1)) == (shown, TOO_DEEP)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        (_member("optionalStruct", _objects(34, "1")), 'optionalStruct["a"]["a"]'),
        (_member("optionalStruct", _objects(60, "{}")), 'optionalStruct["a"]["a"]'),
        (f'{{"optionalStruct":{{"x":1,"y":[2,{_arrays(60, "")}]}}}}', 'optionalStruct["y"][1]'),
        (_member("optionalStruct", _member("y" * 999, _arrays(60, ""))), f'optionalStruct["{"y" * 40}…"][0]'),
        (_member("optional_value", _arrays(51, "")), "optionalValue[0][0]"),
        (_member("optionalValue", f"[[],[{{}}],[0,{_arrays(60, '')}]]"), "optionalValue[2][1]"),
        (_member("repeatedValue", f"[1,{_arrays(51, '')}]"), "repeatedValue[1][0]"),
        (_member("repeatedListValue", f"[[],{_arrays(60, '')}]"), "repeatedListValue[1][0]"),
        (_member("mapStringValue", _member("k", _arrays(51, ""))), 'mapStringValue["k"][0]'),
        (
            _member("mapBoolRecursive", _member("true", _member("optionalValue", _arrays(60, "")))),
            'mapBoolRecursive["true"].optionalValue',
        ),
        (
            _member("optionalAny", f'{{"@type":"x/imgateway.test.Kinds","optionalStruct":{_objects(40, "1")}}}'),
            'optionalAny.optionalStruct["a"]',
        ),
        # What fits is no culprit: neither 100 messages, nor many levels of JSON.
        (
            f'{{"recursiveMessage":{_member("optionalStruct", _FULL)},"optionalStruct":{_objects(34, "1")}}}',
            'optionalStruct["a"]["a"]',
        ),
        (
            f'{{"recursiveMessage":{_within(90, "{}")},"optionalStruct":{_objects(40, "1")}}}',
            'optionalStruct["a"]["a"]',
        ),
    ],
)
def test_too_much_nesting_is_told_by_the_first_steps_to_it(text: str, path: str) -> None:
    assert _refused(text) == (path, TOO_DEEP)


@pytest.mark.parametrize(
    ("field", "text", "path"),
    [
        ("optional_struct", _objects(34, "1"), 'optionalStruct["a"]["a"]'),
        ("optional_value", _arrays(60, ""), "optionalValue[0][0]"),
        ("repeated_value", f"[1,{_arrays(60, '')}]", "repeatedValue[1][0]"),
        (
            "recursive_message",
            _within(99, '{"optionalTimestamp":"2006-01-02T15:04:05Z"}'),
            "recursiveMessage.recursiveMessage.recursiveMessage",
        ),
        (
            "recursive_message",
            _within(97, '{"mapStringValue":{"":[1]}}'),
            "recursiveMessage.recursiveMessage.recursiveMessage",
        ),
        ("optional_any", _packed("Struct", _objects(40, "1")), 'optionalAny.value["a"]'),
    ],
)
def test_so_is_that_in_a_single_field(field: str, text: str, path: str) -> None:
    with pytest.raises(NestingError) as caught:
        CODEC.field_decoder(KINDS.fields_by_name[field])(text.encode(), GetMessageClass(KINDS)())

    assert (caught.value.path, caught.value.why) == (path, TOO_DEEP)


def _nested(levels: int, fill: Callable[[Any], None]) -> Any:
    message: Any = GetMessageClass(KINDS)()
    inner = message
    for _ in range(levels):
        inner = inner.repeated_recursive.add()
    fill(inner)
    return message


_ONE_MORE: dict[str, Callable[[Any], Any]] = {
    "a message": lambda message: message.recursive_message.SetInParent(),
    "an element": lambda message: message.repeated_timestamp.add(),
    "the entry of a map of scalars": lambda message: message.map_int32_int32.update({7: 7}),
}


@pytest.mark.parametrize("kind", _ONE_MORE)
def test_protobuf_follows_as_many_messages_as_we_say(kind: str) -> None:
    check_depth(_nested(MAX_MESSAGES - 1, _ONE_MORE[kind]))
    for levels in (MAX_MESSAGES, 2 * MAX_MESSAGES):
        with pytest.raises(NestingError) as caught:
            check_depth(_nested(levels, _ONE_MORE[kind]))
        assert caught.value.path == "repeatedRecursive[0].repeatedRecursive"


def test_what_is_too_deep_for_python_is_told_by_its_first_steps() -> None:
    """Where the gateway itself is called from deep within."""
    text = _within(90, "{}")

    def below(frames: int) -> tuple[str, str]:
        return below(frames - 1) if frames else _refused(text)

    depth, frame = 0, sys._getframe().f_back
    while frame is not None:
        depth, frame = depth + 1, frame.f_back

    path, why = below(sys.getrecursionlimit() - depth - 150)  # enough for all but ninety levels

    assert (path, why) == ("recursiveMessage.recursiveMessage.recursiveMessage", TOO_DEEP)
