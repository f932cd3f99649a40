"""Scalar values between JSON and protobuf: what a number, a name or a base64 text may look like, and their ranges.

The rules are those of the ProtoJSON format (https://protobuf.dev/programming-guides/json/).
"""

import binascii
import math
import re
import struct
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from google.protobuf.descriptor import EnumDescriptor, FieldDescriptor

from imgateway.adapters.grpc.codec.shapes import enum_of, may_hold_bytes
from imgateway.adapters.grpc.field_error import FieldError

Read = Callable[[Any], Any]
"""A JSON value to a field's value; raises FieldError without a path."""

Write = Callable[[Any], Any]
"""A field's value to what JSON text is made from."""

NULL_VALUE = "google.protobuf.NullValue"

_NUMBER_LENGTH = 400
_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]*)")
_KEY = re.compile(r"0|-?[1-9][0-9]*")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_FLOAT_END = 2.0**128 - 2.0**103  # the first double that rounds to an infinite float
_NAMED_FLOATS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_URL_SAFE = str.maketrans("-_", "+/")
_FLOAT = struct.Struct("<f")

_INT_RANGES = {
    FieldDescriptor.TYPE_INT32: ("int32", -(2**31), 2**31 - 1),
    FieldDescriptor.TYPE_SINT32: ("int32", -(2**31), 2**31 - 1),
    FieldDescriptor.TYPE_SFIXED32: ("int32", -(2**31), 2**31 - 1),
    FieldDescriptor.TYPE_UINT32: ("uint32", 0, 2**32 - 1),
    FieldDescriptor.TYPE_FIXED32: ("uint32", 0, 2**32 - 1),
    FieldDescriptor.TYPE_INT64: ("int64", -(2**63), 2**63 - 1),
    FieldDescriptor.TYPE_SINT64: ("int64", -(2**63), 2**63 - 1),
    FieldDescriptor.TYPE_SFIXED64: ("int64", -(2**63), 2**63 - 1),
    FieldDescriptor.TYPE_UINT64: ("uint64", 0, 2**64 - 1),
    FieldDescriptor.TYPE_FIXED64: ("uint64", 0, 2**64 - 1),
}
_QUOTED_INTS = ("int64", "uint64")


def _integral(text: str) -> int:
    if len(text) <= _NUMBER_LENGTH:
        if _INTEGER.fullmatch(text):
            return int(text)
        if _NUMBER.fullmatch(text):
            try:
                number = Decimal(text)
            except ArithmeticError:  # an exponent beyond even that
                raise FieldError("", "must be an integer") from None
            # Powers beyond any range are not worth being written out; 10 to a million would take seconds.
            if not number or -_NUMBER_LENGTH < number.adjusted() < 20:
                numerator, denominator = number.as_integer_ratio()
                if denominator == 1:
                    return numerator
    raise FieldError("", "must be an integer")


def _read_int(name: str, low: int, high: int) -> Callable[[Any], int]:
    refused = f"is out of the range of {name}"

    def read(value: Any) -> int:
        if type(value) is int:
            number = value
        elif type(value) is str:
            number = _integral(value)
        elif type(value) is float and value.is_integer():
            number = int(value)
        else:
            raise FieldError("", "must be an integer")
        if low <= number <= high:
            return number
        raise FieldError("", refused)

    return read


def _read_double(value: Any) -> float:
    if type(value) is float:
        return value
    try:
        if type(value) is int:
            return float(value)
        if type(value) is str:
            named = _NAMED_FLOATS.get(value)
            if named is not None:
                return named
            if len(value) <= _NUMBER_LENGTH and _NUMBER.fullmatch(value):
                number = float(value)
                if math.isinf(number):
                    raise OverflowError
                return number
    except OverflowError:
        raise FieldError("", "is out of the range of double") from None
    raise FieldError("", "must be a number")


def _read_float(value: Any) -> float:
    number = _read_double(value)
    if -_FLOAT_END < number < _FLOAT_END or not math.isfinite(number):
        return number
    raise FieldError("", "is out of the range of float")


def _read_bool(value: Any) -> bool:
    if value is True or value is False:
        return value
    raise FieldError("", "must be true or false")


def read_string(value: Any, /) -> str:
    """A string; from JSON it is valid Unicode."""
    if type(value) is str:
        return value
    raise FieldError("", "must be a string")


def _read_bytes(value: Any) -> bytes:
    if type(value) is str:
        text = value.translate(_URL_SAFE)
        if "=" not in text:
            text += "=" * (-len(text) % 4)
        try:
            return binascii.a2b_base64(text, strict_mode=True)
        except ValueError:
            pass
    raise FieldError("", "must be base64")


def _read_enum(enum: EnumDescriptor) -> Read:
    numbers = {name: value.number for name, value in enum.values_by_name.items()}
    known = frozenset(enum.values_by_number)
    as_int32 = _read_int("int32", -(2**31), 2**31 - 1)
    closed = enum.is_closed

    def read(value: Any) -> int:
        if type(value) is str:
            number = numbers.get(value)
            if number is not None:
                return number
            if not _INTEGER.fullmatch(value):
                raise FieldError("", f"is no value of {enum.name}")
        elif type(value) is not int and type(value) is not float:
            raise FieldError("", f"must be a name or a number of {enum.name}")
        number = as_int32(value)
        if closed and number not in known:
            raise FieldError("", f"is no value of {enum.name}")
        return number

    return read


def _read_null(enum: EnumDescriptor) -> Read:
    read_enum = _read_enum(enum)
    return lambda value: 0 if value is None else read_enum(value)


def reader(field: FieldDescriptor, /) -> Read:
    """How a JSON value becomes a value of this scalar field, or of one element of it."""
    kind = field.type
    if kind in _INT_RANGES:
        return _read_int(*_INT_RANGES[kind])
    if kind == FieldDescriptor.TYPE_ENUM:
        enum = enum_of(field)
        return (_read_null if enum.full_name == NULL_VALUE else _read_enum)(enum)
    if kind == FieldDescriptor.TYPE_BYTES:
        return _read_bytes
    if kind == FieldDescriptor.TYPE_STRING:
        return read_string
    if kind == FieldDescriptor.TYPE_BOOL:
        return _read_bool
    return _read_float if kind == FieldDescriptor.TYPE_FLOAT else _read_double


def key_reader(field: FieldDescriptor, /) -> Read:
    """How a JSON member's name becomes a map's key: text for numbers and bools, in one way of writing only."""
    if field.type == FieldDescriptor.TYPE_STRING:
        return read_string
    if field.type == FieldDescriptor.TYPE_BOOL:
        return _read_bool_text
    name, low, high = _INT_RANGES[field.type]

    def read(key: str) -> int:
        if len(key) <= _NUMBER_LENGTH and _KEY.fullmatch(key):
            number = int(key)
            if low <= number <= high:
                return number
        raise FieldError("", f"must be named by a number of {name}")

    return read


def _read_bool_text(text: str) -> bool:
    if text == "true":
        return True
    if text == "false":
        return False
    raise FieldError("", "must be true or false")


def _read_bool_in_url(text: str) -> bool:
    # Other gateways take the numbers as well, and so clients send them.
    return text == "1" or (text != "0" and _read_bool_text(text))


def _read_plain_text(text: str) -> str:
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise FieldError("", "is no valid text") from None
    return text


def text_reader(field: FieldDescriptor, /) -> Read:
    """How text as URLs have it becomes a value of this scalar field, or of one element of it."""
    if field.type == FieldDescriptor.TYPE_BOOL:
        return _read_bool_in_url
    if field.type == FieldDescriptor.TYPE_STRING:
        return _read_plain_text
    return reader(field)


def _write_double(value: float) -> Any:
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _write_float(value: float) -> Any:
    if not math.isfinite(value):
        return _write_double(value)
    for digits in range(6, 9):
        shorter = float(f"{value:.{digits}g}")
        if _FLOAT.unpack(_FLOAT.pack(shorter))[0] == value:
            return shorter
    return float(f"{value:.9g}")


def _write_bytes(value: bytes) -> str:
    return binascii.b2a_base64(value, newline=False).decode("ascii")


def _write_text(value: Any) -> str:
    # Of a field that need not be UTF-8 (proto2, or utf8_validation = NONE) protobuf gives bytes where it is not.
    if type(value) is str:
        return value
    raise ValueError("a string is no text")


def _write_enum(enum: EnumDescriptor) -> Write:
    names = {number: enum.values_by_number[number].name for number in enum.values_by_number}  # of aliases, the first
    return lambda number: names.get(number, number)


def writer(field: FieldDescriptor, /) -> Write | None:
    """How a value of this scalar field, or one element of it, is written; None if JSON has it as it is.

    The function raises ValueError where JSON can't have it.
    """
    kind = field.type
    if kind == FieldDescriptor.TYPE_STRING:
        return _write_text if may_hold_bytes(field) else None
    if kind == FieldDescriptor.TYPE_ENUM:
        enum = enum_of(field)
        return (lambda _: None) if enum.full_name == NULL_VALUE else _write_enum(enum)
    if kind == FieldDescriptor.TYPE_BYTES:
        return _write_bytes
    if kind == FieldDescriptor.TYPE_DOUBLE:
        return _write_double
    if kind == FieldDescriptor.TYPE_FLOAT:
        return _write_float
    return str if kind in _INT_RANGES and _INT_RANGES[kind][0] in _QUOTED_INTS else None
