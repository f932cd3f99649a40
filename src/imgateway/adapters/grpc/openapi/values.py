"""Values in their proto3 JSON form (protobuf.dev/programming-guides/json), as schemas.

Each takes what answers have and what requests may have: a 64-bit integer is answered as a string and taken as both.
The codec may take more than is said here, such as `1e3` for an integer. It takes less only by rules that no schema can
express, such as that a date must exist; docs/reference/rest.md names them.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from google.protobuf.descriptor import EnumDescriptor, FieldDescriptor

from imgateway.adapters.grpc.openapi import numerals

Schema = dict[str, Any]

_LARGEST_DOUBLE: Final = 1.7976931348623157e308
_LARGEST_FLOAT: Final = 3.4028235e38  # as answers have it, with as many digits as a float needs
_BASE64: Final = "^([A-Za-z0-9+/_-]{4})*([A-Za-z0-9+/_-]{2}(==)?|[A-Za-z0-9+/_-]{3}=?)?$"
_YEAR: Final = "(000[1-9]|00[1-9][0-9]|0[1-9][0-9]{2}|[1-9][0-9]{3})"
_DAY: Final = "(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
_HOUR_MINUTE: Final = "([01][0-9]|2[0-3]):[0-5][0-9]"
_FRACTION: Final = r"(\.[0-9]{1,9})?"
_TEN_THOUSAND_YEARS: Final = 315576000000
_NOT_FINITE: Final = ["NaN", "Infinity", "-Infinity"]


def _int32() -> Schema:
    return {"type": "integer", "format": "int32", "minimum": -(2**31), "maximum": 2**31 - 1}


def _uint32() -> Schema:
    return {"type": "integer", "format": "uint32", "minimum": 0, "maximum": 2**32 - 1}


def _double() -> Schema:
    number = {"type": "number", "format": "double", "minimum": -_LARGEST_DOUBLE, "maximum": _LARGEST_DOUBLE}
    return {"anyOf": [number, {"type": "string", "enum": list(_NOT_FINITE)}]}


def _float() -> Schema:
    number = {"type": "number", "format": "float", "minimum": -_LARGEST_FLOAT, "maximum": _LARGEST_FLOAT}
    return {"anyOf": [number, {"type": "string", "enum": list(_NOT_FINITE)}]}


def _bool() -> Schema:
    return {"type": "boolean"}


def _string() -> Schema:
    return {"type": "string"}


def _bytes() -> Schema:
    return {"type": "string", "contentEncoding": "base64", "pattern": _BASE64}


_SCALARS: Final[Mapping[int, Callable[[], Schema]]] = MappingProxyType(
    {
        FieldDescriptor.TYPE_DOUBLE: _double,
        FieldDescriptor.TYPE_FLOAT: _float,
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

OWN: Final = "imgateway-"
"""Before the names of what has none in a proto: with a hyphen, so that no type can be called so."""

INT64: Final = f"{OWN}Int64"
UINT64: Final = f"{OWN}UInt64"
INT32_KEY: Final = f"{OWN}Int32Key"
UINT32_KEY: Final = f"{OWN}UInt32Key"
_TIMESTAMP: Final = "google.protobuf.Timestamp"
_DURATION: Final = "google.protobuf.Duration"


def _int64(low: int, high: int, name: str) -> Schema:
    text = {"type": ["string", "integer"], "format": name, "pattern": numerals.pattern(low, high)}
    return {**text, "minimum": low, "maximum": high}


def _timestamp() -> Schema:
    pattern = f"^{_YEAR}-{_DAY}T{_HOUR_MINUTE}:[0-5][0-9]{_FRACTION}(Z|[+-]{_HOUR_MINUTE})$"
    return {"type": "string", "format": "date-time", "pattern": pattern}


def _duration() -> Schema:
    seconds = numerals.pattern(0, _TEN_THOUSAND_YEARS).removeprefix("^").removesuffix("$")
    return {"type": "string", "pattern": f"^-?{seconds}{_FRACTION}s$", "description": "Seconds, like `1.5s`."}


COMMON: Final[Mapping[str, Callable[[], Schema]]] = MappingProxyType(
    {
        INT64: lambda: _int64(-(2**63), 2**63 - 1, "int64"),
        UINT64: lambda: _int64(0, 2**64 - 1, "uint64"),
        INT32_KEY: lambda: {"type": "string", "pattern": numerals.pattern(-(2**31), 2**31 - 1)},
        UINT32_KEY: lambda: {"type": "string", "pattern": numerals.pattern(0, 2**32 - 1)},
        _TIMESTAMP: _timestamp,
        _DURATION: _duration,
    }
)
"""Values with so long a pattern that each stands in the document once."""

_COMMON_SCALARS: Final[Mapping[int, str]] = MappingProxyType(
    {
        FieldDescriptor.TYPE_INT64: INT64,
        FieldDescriptor.TYPE_SINT64: INT64,
        FieldDescriptor.TYPE_SFIXED64: INT64,
        FieldDescriptor.TYPE_UINT64: UINT64,
        FieldDescriptor.TYPE_FIXED64: UINT64,
    }
)
_COMMON_MESSAGES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "google.protobuf.Int64Value": INT64,
        "google.protobuf.UInt64Value": UINT64,
        _TIMESTAMP: _TIMESTAMP,
        _DURATION: _DURATION,
    }
)

_TEXTS: Final[Mapping[str, Callable[[], Schema]]] = MappingProxyType(
    {
        "google.protobuf.DoubleValue": _double,
        "google.protobuf.FloatValue": _float,
        "google.protobuf.Int32Value": _int32,
        "google.protobuf.UInt32Value": _uint32,
        "google.protobuf.BoolValue": _bool,
        "google.protobuf.StringValue": _string,
        "google.protobuf.BytesValue": _bytes,
        "google.protobuf.FieldMask": lambda: {
            "type": "string",
            "pattern": "^([^_,]+(,[^_,]+)*)?$",
            "description": "Names of fields in camel case, with commas between them.",
        },
    }
)
"""Messages that are written as one text, also in queries and paths; with those that are `COMMON`."""

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
            "if": {"minProperties": 1},
            "then": {"required": ["@type"]},
            "description": "A message of any type: its members, and `@type`.",
        },
    }
)


def scalar(field_type: int, /) -> Schema:
    """A field that is neither a message nor an enum, nor `COMMON`."""
    return _SCALARS[field_type]()


def well_known(full_name: str, /) -> Schema | None:
    """A message that has a JSON form of its own and is not `COMMON`; None for every other one."""
    make = _TEXTS.get(full_name) or _OTHERS.get(full_name)
    return None if make is None else make()


def common_message(full_name: str, /) -> str | None:
    """Which of `COMMON` a message is written as."""
    return _COMMON_MESSAGES.get(full_name)


def common_scalar(field_type: int, /) -> str | None:
    """Which of `COMMON` a field's value is."""
    return _COMMON_SCALARS.get(field_type)


def common_key(field_type: int, /) -> str | None:
    """Which of `COMMON` the members of a map are called after."""
    if field_type in (FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BOOL):
        return None
    return common_scalar(field_type) or (UINT32_KEY if scalar(field_type)["minimum"] == 0 else INT32_KEY)


def has_own_form(full_name: str, /) -> bool:
    """Whether a message is written otherwise than as an object of its fields."""
    return full_name in _COMMON_MESSAGES or full_name in _TEXTS or full_name in _OTHERS


def is_text(full_name: str, /) -> bool:
    """Whether a message can be written as one text."""
    return full_name in _COMMON_MESSAGES or full_name in _TEXTS


def enumeration(enum: EnumDescriptor, /) -> Schema:
    """Names, and the numbers that stand for them.

    Of an open enum any number, also of values that are too new to have a name here; a closed one has no others.
    """
    names = [value.name for value in enum.values]
    numbers = _int32()
    if enum.is_closed:
        numbers = {"type": "integer", "format": "int32", "enum": list(dict.fromkeys(v.number for v in enum.values))}
    return {"anyOf": [{"type": "string", "enum": names}, numbers]}


def map_keys(field_type: int, /) -> Schema | None:
    """What the members of a map must be called; None where anything goes, or what is `common_key`."""
    return {"enum": ["true", "false"]} if field_type == FieldDescriptor.TYPE_BOOL else None
