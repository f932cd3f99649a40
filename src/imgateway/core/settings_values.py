"""One setting's value: from text, and into the type its key asks for. Strict: a text is not a number."""

import json
import math
import re
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal

import cattrs

_BOOLEANS: Final = {"true": True, "1": True, "false": False, "0": False}
_WORDS: Final[Mapping[Any, str]] = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}


def parse_text(text: str, type_: Any, /) -> object:
    """`text` as a value of `type_`: numbers, booleans (`true`, `false`, `1`, `0`), comma-separated lists, JSON objects.

    Text that does not look like such a value is returned as it is, for `structure` to refuse.
    """
    type_ = _without_none(type_)
    try:
        if type_ is bool:
            return _BOOLEANS.get(text.lower(), text)
        if type_ is int:
            return int(text) if re.fullmatch(r"[+-]?[0-9]{1,18}", text) else text
        if type_ is float:
            return float(text)
        if _is_tuple(type_):
            items = text.split(",") if text.strip() else []
            return [parse_text(item.strip(), typing.get_args(type_)[0]) for item in items]
        return json.loads(text) if _is_mapping(type_) else text
    except (ValueError, RecursionError):
        return text


def structure(value: object, type_: Any, /) -> Any:
    """`value` as `type_`.

    Raises:
        ValueError: it is none; the message, as in "expected …", says what one is.
    """
    try:
        return _converter.structure(value, _without_none(type_))
    except (ValueError, OverflowError):
        raise ValueError(described(type_)) from None


def described(type_: Any, /) -> str:
    """What a value of `type_` is, in words that complete "expected …"."""
    type_ = _without_none(type_)
    if typing.get_origin(type_) is Literal:
        return "one of " + ", ".join(f'"{choice}"' for choice in typing.get_args(type_))
    if _is_tuple(type_):
        return f"a list, each element {described(typing.get_args(type_)[0])}"
    if _is_mapping(type_) and (member := typing.get_args(type_)[1]) is not Any:
        return f"a table, each member {described(member)}"
    return _WORDS.get(type_, "a table")


def _without_none(type_: Any) -> Any:
    """`X` for `X | None`: no source can write None, a key that is not set is not there."""
    if typing.get_origin(type_) not in (types.UnionType, typing.Union):
        return type_
    (only,) = (choice for choice in typing.get_args(type_) if choice is not types.NoneType)
    return only


def _is_tuple(type_: Any) -> bool:
    return typing.get_origin(type_) is tuple


def _is_literal(type_: Any) -> bool:
    return typing.get_origin(type_) is Literal


def _is_mapping(type_: Any) -> bool:
    return typing.get_origin(type_) is Mapping


def _exactly(wanted: type) -> Callable[[object, Any], object]:
    def hook(value: object, _: Any) -> object:
        if type(value) is not wanted:  # a boolean is an int to isinstance
            raise ValueError
        return value

    return hook


def _number(value: object, _: Any) -> float:
    if type(value) not in (int, float) or not math.isfinite(typing.cast(float, value)):
        raise ValueError
    return float(typing.cast(float, value))


def _tuple(value: object, type_: Any) -> tuple[object, ...]:
    if not isinstance(value, list | tuple):
        raise ValueError
    return tuple(_converter.structure(item, typing.get_args(type_)[0]) for item in value)


def _choice(value: object, type_: Any) -> object:
    if not isinstance(value, str) or value not in typing.get_args(type_):
        raise ValueError
    return value


def _table(value: object, _: Any) -> dict[str, object]:
    if not isinstance(value, dict):
        raise ValueError
    return value


_converter: Final = cattrs.Converter(detailed_validation=False)
for _type in (int, str, bool):
    _converter.register_structure_hook(_type, _exactly(_type))
_converter.register_structure_hook(float, _number)
_converter.register_structure_hook_func(_is_tuple, _tuple)
_converter.register_structure_hook_func(_is_literal, _choice)
_converter.register_structure_hook_func(_is_mapping, _table)
