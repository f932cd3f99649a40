"""Settings as a TOML document that a person can read and `load` can read back."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

import attrs

from imgateway.core.settings import Settings
from imgateway.core.settings_keys import key_info, section_class
from imgateway.core.settings_loading import SECTIONS, Loaded
from imgateway.core.settings_tables import is_table, member_type
from imgateway.core.settings_values import described

MASK: Final = "********"

# Derived, not fixed: copied to another machine, a written-out id would claim this one's downstream topic there.
_DERIVED: Final = {
    "gateway.id": lambda settings: settings.gateway_id,
    "gateway.advertise": lambda settings: settings.advertise,
}


_WITHOUT: Final = {"grpc": "there are no REST routes"}


def render(loaded: Loaded, /, *, documented: bool = False) -> str:
    """The document: every key with its origin as a comment.

    What is not set, follows from other settings, or is a secret stands in a comment; so the document is valid, shows no
    secret, and read back gives the same settings but for the secrets.

    Args:
        loaded: what to show.
        documented: whether each key is preceded by what it means.
    """
    return "\n".join(_lines(loaded, documented))


def _lines(loaded: Loaded, documented: bool) -> Iterator[str]:
    for section in attrs.fields(Settings):
        lines = _section(loaded, section, documented)
        if getattr(loaded.settings, section.name) is None:
            yield f"# Not set, so {_WITHOUT.get(section.name, 'this part is embedded')}: [{section.name}]"
            lines = (line if line.startswith("#") else f"# {line}" for line in lines)
        else:
            yield f"[{section.name}]"
        yield from lines
        yield ""


def _section(loaded: Loaded, section: "attrs.Attribute[Any]", documented: bool) -> Iterator[str]:
    values = getattr(loaded.settings, section.name) or section_class(section)()
    tables: list[str] = []
    for name, attribute in SECTIONS[section.name].items():
        key, value = f"{section.name}.{name}", getattr(values, name)
        if documented:
            yield from _documentation(attribute)
        if value and is_table(attribute.type):
            # Below the section's own keys: whatever follows a table's head belongs to it.
            tables += _tables(key, value, f"  # {loaded.origins[key]}")
        else:
            yield _line(loaded, key, name, value, secret=key_info(attribute).secret)
    yield from tables


def _tables(key: str, table: Mapping[str, Any], origin: str) -> Iterator[str]:
    plain = {name: member for name, member in table.items() if not attrs.has(type(member))}
    if plain:
        yield f"\n[{key}]{origin}"
        yield from (f"{_toml_string(name)} = {_toml(member)}{origin}" for name, member in plain.items())
    for name, member in table.items():
        if name not in plain:
            yield f"\n[{key}.{_toml_string(name)}]{origin}"
            for attribute in attrs.fields(type(member)):
                value, info = getattr(member, attribute.name), key_info(attribute)
                if value is None:
                    yield f"# {attribute.name} is not set"
                elif info.secret:
                    yield f'# {attribute.name} = "{MASK}"{origin}'
                else:
                    yield f"{attribute.name} = {_toml(value)}{origin}"


def _line(loaded: Loaded, key: str, name: str, value: object, *, secret: bool) -> str:
    origin = loaded.origins[key]
    if value is not None:
        return f'# {name} = "{MASK}"  # {origin}' if secret else f"{name} = {_toml(value)}  # {origin}"
    if key in _DERIVED:
        return f"# {name} = {_toml(_DERIVED[key](loaded.settings))}  # {origin}, follows host and port"
    return f"# {name} is not set  # {origin}"


def _documentation(attribute: "attrs.Attribute[Any]") -> Iterator[str]:
    yield f"# {key_info(attribute).doc}"
    yield f"# Expected: {_expected(attribute)}."
    if is_table(attribute.type) and attrs.has(member := member_type(attribute.type)):
        for each in attrs.fields(member):
            yield f"#   {each.name}: {key_info(each).doc} Expected: {_expected(each)}."


def _expected(attribute: "attrs.Attribute[Any]") -> str:
    info = key_info(attribute)
    kind = info.rule.expectation if info.rule is not None else described(attribute.type)
    return f"{kind}, in {info.unit}" if info.unit else kind


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _toml_string(value)
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    if isinstance(value, Mapping):
        members = ", ".join(f"{_toml_string(name)} = {_toml(member)}" for name, member in value.items())
        return f"{{ {members} }}" if members else "{}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml, value))}]"
    return str(value)


def _toml_string(text: str) -> str:
    """A basic string of TOML 1.0; JSON's escapes are a subset of TOML's, but TOML wants more characters escaped."""
    quoted = json.dumps(text, ensure_ascii=False)
    return quoted if quoted.isprintable() else "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in quoted)
