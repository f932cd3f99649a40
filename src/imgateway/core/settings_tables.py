"""Keys that are tables whose members have names of the user's choice: each member is looked at by itself."""

import difflib
import typing
from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from imgateway.core.settings_keys import key_info
from imgateway.core.settings_problems import Problem, shown, within
from imgateway.core.settings_values import structure


def is_table(type_: Any, /) -> bool:
    """Whether `type_` is a table whose members have a type of their own."""
    return typing.get_origin(type_) is Mapping and member_type(type_) is not Any


def member_type(type_: Any, /) -> Any:
    """What each member of a table is: a simple type, or a class of `attrs`, which stands for a table again."""
    return typing.get_args(type_)[1]


def table(key: str, value: Mapping[str, object], type_: Any, /) -> tuple[dict[str, Any], list[Problem]]:
    """`value` as a table of `type_`, and what is wrong with its members, each by its own key."""
    members: dict[str, Any] = {}
    wrong: list[Problem] = []
    for name, member in value.items():
        try:
            members[name] = _member(within(key, name), member, member_type(type_), wrong)
        except ValueError as expectation:
            wrong.append(Problem((within(key, name),), f"expected {expectation}, got {shown(member)}"))
    return members, wrong


def _member(key: str, value: object, type_: Any, wrong: list[Problem]) -> Any:
    if not attrs.has(type_):
        return structure(value, type_)
    if not isinstance(value, dict):
        raise ValueError("a table")
    attributes = {attribute.name: attribute for attribute in attrs.fields(type_)}
    wrong.extend(_unknown(key, value, attributes))
    known: dict[str, object] = {}
    for name in filter(attributes.__contains__, value):
        try:
            known[name] = structure(value[name], attributes[name].type)
        except ValueError as expectation:
            text = f"expected {expectation}, got {shown(value[name], key_info(attributes[name]))}"
            wrong.append(Problem((within(key, name),), text))
    return type_(**known)


def _unknown(key: str, value: Mapping[str, object], attributes: Mapping[str, object]) -> Iterator[Problem]:
    for name in value:
        if name not in attributes:
            near = difflib.get_close_matches(name, attributes, n=1)
            hint = "".join(f"; did you mean {within(key, known)}?" for known in near)
            yield Problem((within(key, name),), f"unknown key{hint}")
