"""Messages with every kind of field, and JSON for them, as hypothesis strategies made from descriptors."""

import base64
import re
from typing import Any

from google.protobuf import json_format
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import strategies as st
from tests.grpc_protos import pool_of
from tests.properties.client_frames import json_values, texts

from imgateway.adapters.grpc.codec.shapes import enum_of, is_map, key_and_value, message_of

POOL = pool_of("kinds.proto")
KINDS: Descriptor = POOL.FindMessageTypeByName("imgateway.test.Kinds")

_DEPTH = 2
_ranges = {
    **dict.fromkeys(("INT32", "SINT32", "SFIXED32"), (-(2**31), 2**31 - 1)),
    **dict.fromkeys(("INT64", "SINT64", "SFIXED64"), (-(2**63), 2**63 - 1)),
    **dict.fromkeys(("UINT32", "FIXED32"), (0, 2**32 - 1)),
    **dict.fromkeys(("UINT64", "FIXED64"), (0, 2**64 - 1)),
}
INT_RANGES = {getattr(FieldDescriptor, f"TYPE_{name}"): limits for name, limits in _ranges.items()}
_wrappers = "google/protobuf/wrappers.proto"
_timestamps = st.tuples(st.integers(-62135596800, 253402300799), st.integers(0, 10**9 - 1))
_durations = st.tuples(st.integers(0, 315576000000), st.integers(0, 10**9 - 1), st.sampled_from((1, -1)))
_paths = st.lists(st.from_regex(r"[a-z]{1,4}(_[a-z]{1,3}){0,2}(\.[a-z]{1,3})?", fullmatch=True), max_size=3)


def _scalar(field: FieldDescriptor) -> st.SearchStrategy[Any]:
    if field.type in INT_RANGES:
        return st.integers(*INT_RANGES[field.type])
    if field.type == FieldDescriptor.TYPE_ENUM and enum_of(field).full_name == "google.protobuf.NullValue":
        return st.just(0)
    return {
        FieldDescriptor.TYPE_ENUM: st.integers(0, 3) | st.integers(-(2**31), 2**31 - 1),
        FieldDescriptor.TYPE_FLOAT: st.floats(width=32),
        FieldDescriptor.TYPE_DOUBLE: st.floats(),
        FieldDescriptor.TYPE_BOOL: st.booleans(),
        FieldDescriptor.TYPE_STRING: texts,
        FieldDescriptor.TYPE_BYTES: st.binary(max_size=20),
    }[field.type]


def _any(depth: int) -> st.SearchStrategy[Any]:
    def packed(message: Message) -> Message:
        content = AnyMessage()
        content.Pack(message)
        return _class("google.protobuf.Any").FromString(content.SerializeToString())

    kinds = ("imgateway.test.Kinds", "google.protobuf.Timestamp", "google.protobuf.Int64Value", "google.protobuf.Empty")
    return st.one_of(*(messages(POOL.FindMessageTypeByName(kind), depth - 1).map(packed) for kind in kinds))


def _class(name: str) -> type[Message]:
    return GetMessageClass(POOL.FindMessageTypeByName(name))


def _json_message(name: str, values: st.SearchStrategy[Any]) -> st.SearchStrategy[Message]:
    return values.map(lambda value: json_format.ParseDict(value, _class(name)()))


def _element(field: FieldDescriptor, depth: int) -> st.SearchStrategy[Any]:
    return _scalar(field) if field.message_type is None else messages(field.message_type, depth - 1)


def _value(field: FieldDescriptor, depth: int) -> st.SearchStrategy[Any]:
    if is_map(field):
        key, content = key_and_value(field)
        return st.dictionaries(_scalar(key), _element(content, depth), max_size=3)
    if field.is_repeated:
        return st.lists(_element(field, depth), max_size=3)
    return _element(field, depth)


def _is_recursive(field: FieldDescriptor) -> bool:
    inner = key_and_value(field)[1] if is_map(field) else field
    name = inner.message_type.full_name if inner.message_type is not None else ""
    return name.startswith("imgateway") or name == "google.protobuf.Any"


def messages(descriptor: Descriptor, depth: int = _DEPTH) -> st.SearchStrategy[Message]:
    """Messages of a type with up to six of their fields set, valid as JSON."""
    name = descriptor.full_name
    kind = _class(name)
    if name == "google.protobuf.Timestamp":
        return _timestamps.map(lambda parts: kind(seconds=parts[0], nanos=parts[1]))
    if name == "google.protobuf.Duration":
        return _durations.map(lambda parts: kind(seconds=parts[0] * parts[2], nanos=parts[1] * parts[2]))
    if name == "google.protobuf.FieldMask":
        return _paths.map(lambda paths: kind(paths=paths))
    if name == "google.protobuf.Any":
        return _any(depth)
    if name == "google.protobuf.Value":
        return _json_message(name, json_values)
    if name == "google.protobuf.Struct":
        return _json_message(name, st.dictionaries(texts, json_values, max_size=3))
    if name == "google.protobuf.ListValue":
        return _json_message(name, st.lists(json_values, max_size=3))
    fields = [field for field in descriptor.fields if depth > 0 or not _is_recursive(field)]
    if not fields:
        return st.builds(kind)

    @st.composite
    def built(draw: st.DrawFn) -> Message:
        message = kind()
        for field in draw(st.lists(st.sampled_from(fields), max_size=6, unique=True)):
            _set(message, field, draw(_value(field, depth)))
        return message

    return built()


def _set(message: Message, field: FieldDescriptor, value: Any) -> None:
    target = getattr(message, field.name)
    if is_map(field):
        for key, member in value.items():
            if isinstance(member, Message):
                target[key].CopyFrom(member)
            else:
                target[key] = member
    elif field.is_repeated:
        target.extend(value)
    elif isinstance(value, Message):
        target.CopyFrom(value)
    else:
        setattr(message, field.name, value)


def _written_scalar(field: FieldDescriptor) -> st.SearchStrategy[Any]:
    """What a client may write for a scalar: right, nearly right, and wrong."""
    if field.type in INT_RANGES:
        low, high = INT_RANGES[field.type]
        near = st.integers(low, high) | st.integers(low - 2, low + 2) | st.integers(high - 2, high + 2)
        odd = st.sampled_from(("", "1e3", "1.0", "1.5", "x", "-", "1e400", "0x1", 1e3, 1.5, -0.0, 1e300))
        return near | near.map(str) | odd
    if field.type == FieldDescriptor.TYPE_ENUM:
        return st.sampled_from(
            ("FOO", "BAR", "NEG", "NULL_VALUE", "nothing", "", "1", "-1", "99", 0, 1, 99, 2.0, 2**31)
        )
    if field.type in (FieldDescriptor.TYPE_FLOAT, FieldDescriptor.TYPE_DOUBLE):
        width = 32 if field.type == FieldDescriptor.TYPE_FLOAT else 64
        numbers = st.floats(allow_nan=False, allow_infinity=False, width=width) | st.integers(-(2**70), 2**70)  # type: ignore[arg-type]  # 32 or 64
        return numbers | st.sampled_from(("NaN", "Infinity", "-Infinity", "1.5", "1e3", "", "x", "nan", 1e39, -1e39))
    if field.type == FieldDescriptor.TYPE_BYTES:
        coded = st.binary(max_size=8).flatmap(
            lambda value: st.sampled_from((base64.b64encode(value), base64.urlsafe_b64encode(value)))
        )
        return coded.map(bytes.decode) | coded.map(lambda code: code.decode().rstrip("=")) | st.just("A")
    return {FieldDescriptor.TYPE_BOOL: st.booleans(), FieldDescriptor.TYPE_STRING: texts}[field.type]


_written_texts = {
    "google.protobuf.Timestamp": st.sampled_from(
        (
            *("2024-02-29T12:00:00Z", "2023-02-29T12:00:00Z", "1969-12-31T23:59:59.5+01:30", "2024-01-01", "", 5),
            *("0001-01-01T00:00:00+00:01", "2024-01-01T00:00:00.123456789Z", "2024-01-01T00:00:00.1234567890Z"),
        )
    ),
    "google.protobuf.Duration": st.sampled_from(
        ("1s", "-1.5s", "0.000000001s", "315576000001s", "1", "", "1.5", "s", 5)
    ),
    "google.protobuf.FieldMask": st.sampled_from(("", "a", "a,bC.dE", "a_b", 5)),
}


def _written_element(field: FieldDescriptor, depth: int) -> st.SearchStrategy[Any]:
    if field.message_type is None:
        return _written_scalar(field)
    descriptor = message_of(field)
    name = descriptor.full_name
    if name in _written_texts:
        return _written_texts[name]
    if name == "google.protobuf.Any":
        return st.just({}) | json_objects(KINDS, depth - 1).map(
            lambda members: {"@type": "type.googleapis.com/imgateway.test.Kinds", **members}
        )
    if name in ("google.protobuf.Value", "google.protobuf.Struct", "google.protobuf.ListValue"):
        return json_values
    if descriptor.file.name == _wrappers:
        return _written_scalar(descriptor.fields_by_name["value"])
    return json_objects(descriptor, depth - 1)


def _written_key(field: FieldDescriptor) -> st.SearchStrategy[str]:
    if field.type in INT_RANGES:
        low, high = INT_RANGES[field.type]
        return st.integers(low, high).map(str) | st.sampled_from(("x", "", str(high + 1)))
    return st.sampled_from(("true", "false", "1")) if field.type == FieldDescriptor.TYPE_BOOL else texts


# An array for an object is accepted by protobuf's own, where it is empty.
_VALUE = POOL.FindMessageTypeByName("google.protobuf.Value")
_wrong = st.sampled_from((None, {}, 5, [5], [None], {"": 5}))


def _written_value(field: FieldDescriptor, depth: int) -> st.SearchStrategy[Any]:
    if is_map(field):
        key, content = key_and_value(field)
        return st.dictionaries(_written_key(key), _written_element(content, depth), max_size=2)
    if field.is_repeated:
        return st.lists(_written_element(field, depth), max_size=3)
    return _written_element(field, depth)


def _element_names_no_value(value: Any, field: FieldDescriptor) -> bool:
    if field.message_type is not None:
        return names_no_value(value, field.message_type)
    if field.enum_type is None or not isinstance(value, str):
        return False
    return value not in field.enum_type.values_by_name and not re.fullmatch("-?(0|[1-9][0-9]*)", value)


def names_no_value(value: Any, descriptor: Descriptor) -> bool:
    """Whether somewhere in the JSON value of a message an enum is named by what is no name of its values."""
    if not isinstance(value, dict):
        return False
    if descriptor.full_name == "google.protobuf.Any":
        descriptor = KINDS
    fields = {name: field for field in descriptor.fields for name in (field.json_name, field.name)}
    for name, member in value.items():
        field = fields.get(name)
        if field is None:
            continue
        if is_map(field) and isinstance(member, dict):
            field, elements = key_and_value(field)[1], list(member.values())
        else:
            elements = member if isinstance(member, list) else [member]
        if any(_element_names_no_value(element, field) for element in elements):
            return True
    return False


def json_objects(descriptor: Descriptor, depth: int = _DEPTH) -> st.SearchStrategy[dict[str, Any]]:
    """Objects that clients may write for a message: names in both spellings, values mostly right, unknown members."""
    fields = [field for field in descriptor.fields if depth > 0 or not _is_recursive(field)]

    @st.composite
    def drawn(draw: st.DrawFn) -> dict[str, Any]:
        members: dict[str, Any] = {}
        for field in draw(st.lists(st.sampled_from(fields), max_size=3, unique=True)) if fields else ():
            name = draw(st.sampled_from((field.json_name, field.name)))
            wrong = draw(st.integers(0, 9)) == 0 and field.type != FieldDescriptor.TYPE_ENUM
            members[name] = draw(_wrong if wrong else _written_value(field, depth))
            if members[name] is None and field.is_repeated and field.message_type is _VALUE:
                members[name] = []  # protobuf's own reader breaks at null there
        if draw(st.integers(0, 9)) == 0:
            members[draw(st.sampled_from(("unknown", "x y", "")))] = draw(json_values)
        return members

    return drawn()
