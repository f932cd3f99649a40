"""`Struct`, `ListValue` and `Value`: JSON within messages."""

import math
from typing import Any

from imgateway.adapters.grpc.field_error import FieldError

_KEY_LENGTH = 40


def key_path(key: str, /) -> str:
    """A map's key as a step of a path, `["x"]`; what is too long for a message ends in an ellipsis."""
    shown = key if len(key) <= _KEY_LENGTH else key[:_KEY_LENGTH] + "…"
    escaped = "".join(c if c.isprintable() and c not in '"\\' else f"\\u{ord(c):04x}" for c in shown)
    return f'["{escaped}"]'


def write_value(message: Any, /) -> object:
    """Any JSON value; null where nothing is set. Raises ValueError for numbers that JSON does not have."""
    kind = message.WhichOneof("kind")
    if kind is None or kind == "null_value":
        return None
    if kind == "struct_value":
        return write_struct(message.struct_value)
    if kind == "list_value":
        return write_list(message.list_value)
    value: object = getattr(message, kind)
    if kind == "number_value" and not math.isfinite(message.number_value):
        raise ValueError("a Value is NaN or infinite")
    return value


def write_struct(message: Any, /) -> dict[str, object]:
    """An object."""
    return {key: write_value(value) for key, value in message.fields.items()}


def write_list(message: Any, /) -> list[object]:
    """An array."""
    return [write_value(value) for value in message.values]


def read_value(value: Any, message: Any, /) -> None:
    """Any JSON value."""
    kind = type(value)
    if kind is str:
        message.string_value = value
    elif kind is dict:
        read_struct(value, message.struct_value)
    elif kind is list:
        read_list(value, message.list_value)
    elif value is None:
        message.null_value = 0
    elif kind is bool:
        message.bool_value = value
    else:
        try:
            message.number_value = float(value)
        except OverflowError:
            raise FieldError("", "is out of the range of double") from None


def read_struct(value: Any, message: Any, /) -> None:
    """An object."""
    if type(value) is not dict:
        raise FieldError("", "must be an object")
    message.SetInParent()
    fields = message.fields
    for key, member in value.items():
        try:
            read_value(member, fields[key])
        except FieldError as error:
            raise error.within(key_path(key)) from None


def read_list(value: Any, message: Any, /) -> None:
    """An array."""
    if type(value) is not list:
        raise FieldError("", "must be an array")
    message.SetInParent()
    for index, element in enumerate(value):
        try:
            read_value(element, message.values.add())
        except FieldError as error:
            raise error.within(f"[{index}]") from None
