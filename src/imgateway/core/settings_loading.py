"""Settings from their sources: defaults, one TOML file, the environment, flags; a later source wins.

Every error of every source is found before anything is reported.
"""

import difflib
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal

import attrs

from imgateway.core.settings import Settings
from imgateway.core.settings_checks import problems
from imgateway.core.settings_keys import key_info, may_be_absent, section_class
from imgateway.core.settings_pending import PENDING_KEYS, PENDING_SECTIONS
from imgateway.core.settings_problems import Problem, key_of, readable, shown
from imgateway.core.settings_tables import is_table, table
from imgateway.core.settings_values import parse_text, structure
from imgateway.errors import SettingsError

Origin = Literal["default", "file", "env", "flag"]

PREFIX: Final = "IMGATEWAY_"
NOT_SETTINGS: Final = frozenset({"IMGATEWAY_TOKEN"})
"""Variables of the command line that are no settings: `imgateway connect` takes its token from it."""

# Kubernetes describes every Service to every container: one called `imgateway` adds these.
_OF_KUBERNETES: Final = re.compile(
    r"IMGATEWAY_(\w+_)?(SERVICE_(HOST|PORT(_\w+)?)|PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)=.*"
    r"|IMGATEWAY_(\w+_)?PORT=(tcp|udp|sctp)://.*"
)

SECTIONS: Final[Mapping[str, Mapping[str, "attrs.Attribute[Any]"]]] = {
    section.name: {attribute.name: attribute for attribute in attrs.fields(section_class(section))}
    for section in attrs.fields(Settings)
}
"""Section to key to what attrs knows of it, in the order of the documentation."""

_KEYS: Final = {
    f"{section}.{name}": attribute for section, keys in SECTIONS.items() for name, attribute in keys.items()
}


@attrs.frozen
class Loaded:
    """Settings that are right, and where each came from.

    Attributes:
        origins: `section.key` to the source whose value counts; every key is there.
    """

    settings: Settings
    origins: Mapping[str, Origin]


@attrs.frozen
class _Given:
    """What a source says about a key; `note` tells where, in a message."""

    key: str
    value: object
    origin: Origin
    note: str = ""


def load(file: Path | None, environ: Mapping[str, str], flags: Mapping[str, object]) -> Loaded:
    """Read, check and merge all sources.

    Args:
        file: a TOML file, or None.
        environ: the process's environment; `IMGATEWAY_<SECTION>__<KEY>` counts.
        flags: `section.key` to value; None stands for a flag that was not given.

    Raises:
        SettingsError: with every problem of every source, one line each.
    """
    found: list[Problem] = []
    given: dict[str, _Given] = {}
    for source in (_from_file(file), _from_environment(environ), _from_flags(flags)):
        for item in source:
            if isinstance(item, Problem):
                found.append(item)
            else:
                given[item.key] = item
    values: dict[str, dict[str, object]] = {section: {} for section in SECTIONS}
    for key, item in given.items():
        section, _, name = key.partition(".")
        value, wrong_parts = _structured(item)
        found += (attrs.evolve(problem, text=problem.text + item.note) for problem in wrong_parts)
        if value is not None:
            values[section][name] = value
    mentioned = {key.partition(".")[0] for key in given}
    settings = Settings(
        **{
            section.name: section_class(section)(**values[section.name])
            for section in attrs.fields(Settings)
            if section.name in mentioned or not may_be_absent(section)
        }
    )
    keys = [key for problem in found for key in problem.keys]
    # A section as such is wrong only where nothing of it is right: its keys may come from elsewhere.
    absent = {key.partition(".")[0] for key in keys if getattr(settings, key.partition(".")[0], settings) is None}
    wrong = absent.union(key for key in keys if "." in key)
    for problem in problems(settings, ignoring=wrong):
        named = key_of(problem.keys[0])
        note = given[named].note if named in given else ""
        found.append(attrs.evolve(problem, text=problem.text + note))
    if found:
        raise SettingsError(tuple(dict.fromkeys(map(str, found))))
    return Loaded(settings, {key: given[key].origin if key in given else "default" for key in _KEYS})


def variable_of(key: str, /) -> str:
    """The environment variable that sets `section.key`."""
    return PREFIX + key.replace(".", "__").upper()


def _structured(given: _Given) -> tuple[object, Sequence[Problem]]:
    """The value, and what is wrong with it: a table keeps what is right, anything else is None then."""
    attribute = _KEYS[given.key]
    if is_table(attribute.type) and isinstance(given.value, dict):
        return table(given.key, given.value, attribute.type)
    try:
        return structure(given.value, attribute.type), ()
    except ValueError as expectation:
        text = f"expected {expectation}, got {shown(given.value, key_info(attribute))}"
        return None, (Problem((given.key,), text),)


def _from_file(file: Path | None) -> Iterator[_Given | Problem]:
    if file is None:
        return
    try:
        document = tomllib.loads(file.read_bytes().decode())
    except OSError as error:
        yield Problem((str(file),), f"can't be read: {error.strerror}")
        return
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        yield Problem((str(file),), f"not UTF-8 (at line {line})")
        return
    except (ValueError, RecursionError) as error:
        yield Problem((str(file),), f"not TOML: {error}")
        return
    for section, content in document.items():
        if section in PENDING_SECTIONS:
            yield _pending(section)
        elif section not in SECTIONS:
            yield _unknown_at_top(section, "section" if isinstance(content, dict | list) else "key")
        elif not isinstance(content, dict):
            yield Problem((section,), f"expected a table, got {shown(content)}")
        elif not content and may_be_absent(getattr(attrs.fields(Settings), section)):
            yield Problem(
                (section,), "expected settings, such as a server's address: an empty section turns nothing on"
            )
        else:
            yield from (_named(section, _Given(f"{section}.{name}", value, "file")) for name, value in content.items())


def _from_environment(environ: Mapping[str, str]) -> Iterator[_Given | Problem]:
    for variable, text in sorted(environ.items()):
        if not variable.startswith(PREFIX) or variable in NOT_SETTINGS or _OF_KUBERNETES.match(f"{variable}={text}"):
            continue
        note = f" (from {readable(variable)})"
        section, separator, name = variable.removeprefix(PREFIX).lower().partition("__")
        key = f"{section}.{name}"
        if section in PENDING_SECTIONS:
            yield _pending(section)
        elif not separator or section not in SECTIONS or variable != variable.upper():
            variables = {known.replace(".", "__"): variable_of(known) for known in _KEYS}
            near = difflib.get_close_matches(variable.removeprefix(PREFIX).lower(), variables, n=1)
            yield Problem((readable(variable),), "names no setting" + _did_you_mean(variables[name] for name in near))
        elif not _is_unicode(text):
            yield Problem((key,), f"expected UTF-8{note}")
        else:
            value = parse_text(text, _KEYS[key].type) if key in _KEYS else text
            yield _named(section, _Given(key, value, "env", note))


def _from_flags(flags: Mapping[str, object]) -> Iterator[_Given | Problem]:
    for key, value in flags.items():
        if value is not None:
            yield _named(key.partition(".")[0], _Given(key, value, "flag", " (from a flag)"))


def _is_unicode(text: str) -> bool:
    """False for bytes that the environment smuggles in as lone surrogates (PEP 383)."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _pending(section: str) -> Problem:
    return Problem((section,), f"not available in this version: {PENDING_SECTIONS[section]}")


def _named(section: str, given: _Given) -> _Given | Problem:
    if given.key in _KEYS:
        return given
    if given.key in PENDING_KEYS:
        return Problem((given.key,), f"not available in this version: {PENDING_KEYS[given.key]}{given.note}")
    name = given.key.removeprefix(f"{section}.")
    siblings = {key.partition(".")[2]: key for key in (*_KEYS, *PENDING_KEYS) if key.startswith(f"{section}.")}
    near = [siblings[sibling] for sibling in difflib.get_close_matches(name, siblings, n=1)] or _keys_called(name)
    return Problem((f"{section}.{readable(name)}",), f"unknown key{_did_you_mean(near)}{given.note}")


def _unknown_at_top(name: str, kind: str) -> Problem:
    near = difflib.get_close_matches(name, (*SECTIONS, *PENDING_SECTIONS), n=1) or _keys_called(name)
    return Problem((readable(name),), f"unknown {kind}{_did_you_mean(near)}")


def _keys_called(name: str) -> list[str]:
    """The key that has this name, or nearly, whatever its section."""
    by_name = {key.partition(".")[2]: key for key in _KEYS}
    return [by_name[near] for near in difflib.get_close_matches(name, by_name, n=1, cutoff=0.8)]


def _did_you_mean(names: Iterable[str]) -> str:
    return "".join(f"; did you mean {name}?" for name in names)
