"""Fields from text, as query strings and path variables have it."""

import json
from typing import Any

import pytest
from google.protobuf.message_factory import GetMessageClass
from tests.grpc_protos import pool_of

from imgateway.adapters.grpc.codec import MessageCodec, UnsupportedFieldError
from imgateway.adapters.grpc.field_error import FieldError

POOL = pool_of("kinds.proto")
KINDS = POOL.FindMessageTypeByName("imgateway.test.Kinds")
STRICT = MessageCodec(POOL, unknown_fields="reject")
LENIENT = MessageCodec(POOL, unknown_fields="ignore")


def _empty() -> Any:
    return GetMessageClass(KINDS)()


def _written(message: Any) -> Any:
    return json.loads(STRICT.encoder(KINDS)(message))


def _path(*names: str) -> list[Any]:
    fields = []
    descriptor: Any = KINDS
    for name in names:
        fields.append(descriptor.fields_by_name[name])
        descriptor = fields[-1].message_type
    return fields


@pytest.mark.parametrize(
    ("path", "texts", "expected"),
    [
        (("optional_int32",), ["-7"], {"optionalInt32": -7}),
        (("optional_int64",), ["9223372036854775807"], {"optionalInt64": "9223372036854775807"}),
        (("optional_double",), ["1.5e3"], {"optionalDouble": 1500.0}),
        (("optional_float",), ["NaN"], {"optionalFloat": "NaN"}),
        (("optional_bool",), ["true"], {"optionalBool": True}),
        (("optional_string",), ["ä \0"], {"optionalString": "ä \0"}),
        (("optional_bytes",), ["-_8"], {"optionalBytes": "+/8="}),
        (("optional_nested_enum",), ["BAR"], {"optionalNestedEnum": "BAR"}),
        (("optional_nested_enum",), ["-1"], {"optionalNestedEnum": "NEG"}),
        (("optional_string_wrapper",), [""], {"optionalStringWrapper": ""}),
        (("optional_bool_wrapper",), ["false"], {"optionalBoolWrapper": False}),
        (("optional_timestamp",), ["1970-01-01T00:00:01Z"], {"optionalTimestamp": "1970-01-01T00:00:01Z"}),
        (("optional_duration",), ["2s"], {"optionalDuration": "2s"}),
        (("optional_field_mask",), ["a,bC"], {"optionalFieldMask": "a,bC"}),
        (("optional_field_mask",), ["a", "b"], {"optionalFieldMask": "b"}),
        (("repeated_int32",), ["1", "2"], {"repeatedInt32": [1, 2]}),
        (("repeated_timestamp",), ["1970-01-01T00:00:01Z"], {"repeatedTimestamp": ["1970-01-01T00:00:01Z"]}),
        (("optional_int32",), ["1", "2"], {"optionalInt32": 2}),
        (
            ("recursive_message", "optional_nested_message", "a"),
            ["5"],
            {"recursiveMessage": {"optionalNestedMessage": {"a": 5}}},
        ),
        (("oneof_nested_message", "a"), ["0", "1"], {"oneofNestedMessage": {"a": 1}}),
    ],
)
def test_fields_from_text(path: tuple[str, ...], texts: list[str], expected: object) -> None:
    message = _empty()
    setter = STRICT.text_setter(_path(*path))

    for text in texts:
        setter(message, text)

    assert _written(message) == expected


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (("optional_int32",), "x"),
        (("optional_int32",), ""),
        (("optional_uint32",), "-1"),
        (("optional_bool",), "2"),
        (("optional_bool",), ""),
        (("optional_bool",), "True"),
        (("optional_string",), "\ud800"),
        (("optional_string_wrapper",), "\udcff"),
        (("optional_bytes",), "*"),
        (("optional_nested_enum",), "nothing"),
        (("optional_timestamp",), "today"),
        (("recursive_message", "optional_nested_message", "a"), "x"),
        (("repeated_int32",), "1,2"),
    ],
)
def test_text_that_does_not_fit_its_field(path: tuple[str, ...], text: str) -> None:
    with pytest.raises(FieldError) as caught:
        LENIENT.text_setter(_path(*path))(_empty(), text)

    assert caught.value.path == ".".join(field.json_name for field in _path(*path))


def test_text_for_a_second_field_of_a_oneof_is_refused() -> None:
    message = _empty()
    message.oneof_string = "x"

    for path in (("oneof_bool",), ("oneof_nested_message", "a")):
        with pytest.raises(FieldError, match="oneof_field"):
            STRICT.text_setter(_path(*path))(message, "1")


@pytest.mark.parametrize(
    "path",
    [
        (),
        ("optional_nested_message",),
        ("map_string_string",),
        ("optional_struct",),
        ("optional_any",),
        ("repeated_nested_message",),
        ("repeated_nested_message", "a"),
        ("map_string_nested_message", "value"),
        ("optional_timestamp", "nanos"),
        ("optional_duration", "seconds"),
        ("optional_field_mask", "paths"),
        ("optional_any", "type_url"),
        ("optional_value", "number_value"),
        ("optional_int32_wrapper", "value"),
    ],
)
def test_fields_that_text_can_not_be(path: tuple[str, ...]) -> None:
    with pytest.raises(UnsupportedFieldError):
        STRICT.text_setter(_path(*path))
