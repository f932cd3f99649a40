"""What is known about each setting, beside the setting itself."""

from typing import Any, get_args

import attrs

from imgateway.core.settings_rules import Rule


@attrs.frozen
class KeyInfo:
    """What is known about a key besides its type and default.

    Attributes:
        doc: what it does.
        unit: of what a number is so many; empty where it is a plain number or none.
        rule: what the value must be beyond its type, or None.
        secret: whether its value must never be shown.
    """

    doc: str
    unit: str = ""
    rule: Rule | None = None
    secret: bool = False


def key_info(attribute: "attrs.Attribute[Any]", /) -> KeyInfo:
    """What is known about a key, by its attrs attribute."""
    info = attribute.metadata["key"]
    assert isinstance(info, KeyInfo)  # noqa: S101  # every attribute of the sections below has one
    return info


def key(doc: str, *, unit: str = "", rule: Rule | None = None, secret: bool = False) -> dict[str, KeyInfo]:
    """The metadata of a key's attribute."""
    return {"key": KeyInfo(doc, unit, rule, secret)}


def section_class(section: "attrs.Attribute[Any]", /) -> Any:
    """The class of a section of `Settings`, also where the section may be absent."""
    return get_args(section.type)[0] if may_be_absent(section) else section.type


def may_be_absent(section: "attrs.Attribute[Any]", /) -> bool:
    """Whether a section of `Settings` turns a part on by being there."""
    return type(None) in get_args(section.type)
