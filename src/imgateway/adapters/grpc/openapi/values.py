"""Values in their proto3 JSON form (protobuf.dev/programming-guides/json), as schemas.

Each takes what answers have and what requests may have: a 64-bit integer is answered as a string and taken as both.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from google.protobuf.descriptor import EnumDescriptor, FieldDescriptor

Schema = dict[str, Any]

_INTEGER: Final = r"^-?[0-9]+$"
_NATURAL: Final = r"^[0-9]+$"
_LARGEST_FLOAT: Final = 3.4028234663852886e38
_NOT_FINITE: Final = ["NaN", "Infinity", "-Infinity"]


def _int32() -> Schema:
    return {"type": "integer", "format": "int32", "minimum": -(2**31), "maximum": 2**31 - 1}


def _uint32() -> Schema:
    return {"type": "integer", "format": "uint32", "minimum": 0, "maximum": 2**32 - 1}


def _int64() -> Schema:
    bounds = {"minimum": -(2**63), "maximum": 2**63 - 1}
    return {"type": ["string", "integer"], "format": "int64", "pattern": _INTEGER, "maxLength": 20, **bounds}


def _uint64() -> Schema:
    bounds = {"minimum": 0, "maximum": 2**64 - 1}
    return {"type": ["string", "integer"], "format": "uint64", "pattern": _NATURAL, "maxLength": 20, **bounds}


def _double() -> Schema:
    return {"anyOf": [{"type": "number", "format": "double"}, {"type": "string", "enum": list(_NOT_FINITE)}]}


def _float() -> Schema:
    number = {"type": "number", "format": "float", "minimum": -_LARGEST_FLOAT, "maximum": _LARGEST_FLOAT}
    return {"anyOf": [number, {"type": "string", "enum": list(_NOT_FINITE)}]}


def _bool() -> Schema:
    return {"type": "boolean"}


def _string() -> Schema:
    return {"type": "string"}


def _bytes() -> Schema:
    return {"type": "string", "contentEncoding": "base64"}


_SCALARS: Final[Mapping[int, Callable[[], Schema]]] = MappingProxyType(
    {
        FieldDescriptor.TYPE_DOUBLE: _double,
        FieldDescriptor.TYPE_FLOAT: _float,
        FieldDescriptor.TYPE_INT64: _int64,
        FieldDescriptor.TYPE_SINT64: _int64,
        FieldDescriptor.TYPE_SFIXED64: _int64,
        FieldDescriptor.TYPE_UINT64: _uint64,
        FieldDescriptor.TYPE_FIXED64: _uint64,
        FieldDescriptor.TYPE_INT32: _int32,
        FieldDescriptor.TYPE_SINT32: _int32,
        FieldDescriptor.TYPE_SFIXED32: _int32,
        FieldDescriptor.TYPE_UINT32: _uint32,
        FieldDescriptor.TYPE_FIXED32: _uint32,
        FieldDescriptor.TYPE_BOOL: _bool,
        FieldDescriptor.TYPE_STRING: _string,
        FieldDescriptor.TYPE_BYTES: _bytes,
    }
)

_TEXTS: Final[Mapping[str, Callable[[], Schema]]] = MappingProxyType(
    {
        "google.protobuf.DoubleValue": _double,
        "google.protobuf.FloatValue": _float,
        "google.protobuf.Int64Value": _int64,
        "google.protobuf.UInt64Value": _uint64,
        "google.protobuf.Int32Value": _int32,
        "google.protobuf.UInt32Value": _uint32,
        "google.protobuf.BoolValue": _bool,
        "google.protobuf.StringValue": _string,
        "google.protobuf.BytesValue": _bytes,
        "google.protobuf.Timestamp": lambda: {"type": "string", "format": "date-time"},
        "google.protobuf.Duration": lambda: {
            "type": "string",
            "pattern": r"^-?[0-9]+(\.[0-9]{1,9})?s$",
            "description": "Seconds, like `1.5s`.",
        },
        "google.protobuf.FieldMask": lambda: {
            "type": "string",
            "description": "Names of fields with commas between them.",
        },
    }
)
"""Messages that are written as one text, also in queries and paths."""

_OTHERS: Final[Mapping[str, Callable[[], Schema]]] = MappingProxyType(
    {
        "google.protobuf.Empty": lambda: {"type": "object"},
        "google.protobuf.Struct": lambda: {"type": "object", "additionalProperties": True},
        "google.protobuf.ListValue": lambda: {"type": "array", "items": {}},
        "google.protobuf.Value": lambda: {"description": "Any JSON value."},
        "google.protobuf.Any": lambda: {
            "type": "object",
            "properties": {"@type": {"type": "string", "description": "A URL that ends in the message's full name."}},
            "additionalProperties": True,
            "description": "A message of any type: its members, and `@type`.",
        },
    }
)


def scalar(field_type: int, /) -> Schema:
    """A field that is neither a message nor an enum."""
    return _SCALARS[field_type]()


def well_known(full_name: str, /) -> Schema | None:
    """A message that has a JSON form of its own; None for every other one."""
    make = _TEXTS.get(full_name) or _OTHERS.get(full_name)
    return None if make is None else make()


def is_text(full_name: str, /) -> bool:
    """Whether a message can be written as one text."""
    return full_name in _TEXTS


def enumeration(enum: EnumDescriptor, /) -> Schema:
    """Names, and the numbers that stand for them: also for values that are too new to have a name here."""
    names = [value.name for value in enum.values]
    return {"anyOf": [{"type": "string", "enum": names}, {"type": "integer", "format": "int32"}]}


def map_keys(field_type: int, /) -> Schema | None:
    """What the members of a map must be called; None where anything goes."""
    if field_type == FieldDescriptor.TYPE_STRING:
        return None
    if field_type == FieldDescriptor.TYPE_BOOL:
        return {"enum": ["true", "false"]}
    schema = scalar(field_type)
    return {"pattern": _NATURAL if schema["minimum"] == 0 else _INTEGER}
