"""What is wrong with settings, as a value, and how a message may show what came."""

import json
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import attrs

from imgateway.core.settings_keys import KeyInfo

_MAX_SHOWN_CHARS: Final = 80
_BARE: Final = re.compile(r"[A-Za-z0-9_-]{1,80}")


@attrs.frozen
class Problem:
    """Something wrong with the settings.

    Attributes:
        keys: the keys it is about, as `section.key`, or deeper where a key is a table; the first one names it.
        text: what was expected and what came, without a secret.
    """

    keys: tuple[str, ...]
    text: str

    def __str__(self) -> str:
        """One line."""
        return f"{self.keys[0]}: {self.text}"

    def concerns(self, keys: Iterable[str], /) -> bool:
        """Whether it is about one of `keys`, about what one of them is in, or about something in one."""
        return any(
            own == key or own.startswith(f"{key}.") or key.startswith(f"{own}.") for key in keys for own in self.keys
        )


def key_of(nested: str, /) -> str:
    """The `section.key` that a key, which may be deeper, is in."""
    section, _, rest = nested.partition(".")
    return f"{section}.{rest.partition('.')[0]}" if rest else section


def within(key: str, name: str, /) -> str:
    """The key of a table's member, quoted as TOML wants it."""
    return f"{key}.{readable(name)}"


def readable(name: str, /) -> str:
    """A name as it is, or quoted where TOML wants that or where it might deceive."""
    return name if _BARE.fullmatch(name) else shown(name)


def shown(value: object, info: KeyInfo | None = None, /) -> str:
    """A value as a message may show it: on one line, of bounded length, and no secret."""
    if info is not None and info.secret:
        return (
            f"a text of {len(value.encode('utf-8', 'replace'))} bytes" if isinstance(value, str) else "something else"
        )
    try:
        text = json.dumps(value, default=str)
    except ValueError:  # a number of more digits than Python turns into text
        return "a number that is far too long"
    # One text after the other, each from "//" to the last "@": a password may hold any character.
    text = '"'.join(map(_without_credentials, re.split(r'(?<!\\)"', text)))
    return text if len(text) <= _MAX_SHOWN_CHARS else f"{text[:_MAX_SHOWN_CHARS]}…"


def _without_credentials(text: str) -> str:
    before, slashes, after = text.partition("//")
    return f"{before}//…@{after.rpartition('@')[2]}" if slashes and "@" in after else text


def certificate_and_key(cert_key: str, cert: str | None, key_key: str, key: str | None) -> Iterator[Problem]:
    """A problem where only one of the two is set."""
    if (cert is None) != (key is None):
        present, absent = (cert_key, key_key) if key is None else (key_key, cert_key)
        yield Problem((absent, present), f"expected a file, since {present} is set")


def file(key: str, name: str | None) -> Iterator[Problem]:
    """A problem where a file is named that can't be read."""
    if name is not None and not (Path(name).is_file() and os.access(name, os.R_OK)):
        yield Problem((key,), f"expected a file that can be read, got {shown(name)}")
