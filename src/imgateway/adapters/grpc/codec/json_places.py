"""Where in a text of JSON something is wrong: looked for once it is known that something is.

The readers of fields never see such a text, and the decoder does not say. So it is read a second time, token by token:
in linear time, without recursion, and no further than the place. What a text has behind it need not be JSON.
"""

import math
import re
from collections.abc import Iterator

import msgspec

from imgateway.adapters.grpc.field_error import MAX_STEPS, STEPS_INTO_THE_DEEP

Steps = tuple[str | int, ...]
"""Names of members and indexes of elements, from the outside."""

_Open = list[bytes | int | None]
"""For each open array the index, for each open object the member's name as it is written, if there is one already."""

# A string always matches to its end, be that the end of the text, so nothing is tried twice.
_STRUCTURE = rb'("[^"\\]*+(?:\\.[^"\\]*+)*+\\?"?)(?:[ \t\n\r]*+(:))?|[][{},]'
_TOKEN = re.compile(_STRUCTURE, re.DOTALL)
_TOKEN_OR_NUMBER = re.compile(_STRUCTURE + rb"|-?[0-9]++(?:\.[0-9]++)?(?:[eE][+-]?[0-9]++)?", re.DOTALL)
_NAME = 2  # the last group of a string that has a colon behind it

_decode = msgspec.json.Decoder(str).decode


def _walk(text: bytes, opened: _Open, tokens: re.Pattern[bytes] = _TOKEN) -> Iterator[bytes]:
    """Each bracket that opens, name and number, after `opened` says where it is."""
    for found in tokens.finditer(text):
        token = found[0]
        if token == b",":
            if opened:
                last = opened[-1]
                opened[-1] = last + 1 if type(last) is int else None
        elif token == b"]" or token == b"}":
            del opened[-1:]
        elif token == b"[":
            opened.append(0)
            yield token
        elif token == b"{":
            opened.append(None)
            yield token
        elif found.lastindex == _NAME:
            if opened:
                opened[-1] = found[1]
                yield token
        elif found.lastindex is None:
            yield token


def _name(written: bytes) -> str:
    try:
        return _decode(written)
    except (msgspec.DecodeError, UnicodeDecodeError):  # of a text that is no JSON further up
        return written.strip(b'"').decode(errors="replace")


def _steps(opened: _Open, most: int = MAX_STEPS + 1) -> Steps:
    steps = [step for step in opened[:most] if step is not None]
    return tuple(step if isinstance(step, int) else _name(step) for step in steps)


def of_byte(text: bytes, index: int, /) -> Steps:
    """The member or element that a byte is part of."""
    opened: _Open = []
    for _ in _walk(text[:index], opened):
        pass
    return _steps(opened)


def of_depth(text: bytes, levels: int, /) -> Steps | None:
    """The first few steps to where more than so many arrays and objects are within each other; None: nowhere."""
    opened: _Open = []
    for _ in _walk(text, opened):
        if len(opened) > levels:
            return _steps(opened, STEPS_INTO_THE_DEEP)
    return None


def of_endless_number(text: bytes, /) -> Steps:
    """The first number that is beyond a double's range."""
    opened: _Open = []
    for token in _walk(text, opened, _TOKEN_OR_NUMBER):
        if token[0] in b"-0123456789" and not math.isfinite(float(token)):
            return _steps(opened)
    return ()


def of_second_name(text: bytes, /) -> Steps:
    """The first member whose object has one of that name already."""
    opened: _Open = []
    names: list[set[bytes]] = []
    for token in _walk(text, opened):
        depth = len(opened)
        if token == b"{" or token == b"[":
            del names[depth - 1 :]
            names.append(set())
            continue
        name = opened[-1]
        if isinstance(name, bytes):
            plain = name[1:-1] if b"\\" not in name else _name(name).encode()
            if plain in names[depth - 1]:
                return _steps(opened)
            names[depth - 1].add(plain)
    return ()
