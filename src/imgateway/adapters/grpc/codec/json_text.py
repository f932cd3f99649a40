"""JSON text into Python values, refusing what two readers of one text might understand differently."""

import re

import msgspec

from imgateway.adapters.grpc.codec import json_places
from imgateway.adapters.grpc.codec.json_places import Steps

MAX_DEPTH = 100
"""Arrays and objects within each other, as in protobuf's own parsers."""

WIRE_SAFE_DEPTH = 33
"""A level of JSON becomes at most three of the wire format (a `Struct`, its entry, that one's `Value`), of which
protobuf's parsers follow 100."""

_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)

_decode = msgspec.json.Decoder().decode


class TextError(Exception):
    """A text is no JSON, or not understood the same by every reader, whatever it was meant to be.

    Attributes:
        steps: where; none for the text as a whole.
        why: for people.
    """

    def __init__(self, steps: Steps, why: str, /) -> None:
        super().__init__(why)
        self.steps = steps
        self.why = why


class _TooDeepError(Exception):
    """A value nests deeper than was asked about."""


def _members(value: object, levels: int) -> int:
    """How many members the objects in a value have together."""
    if levels == 0:
        raise _TooDeepError
    levels -= 1
    if type(value) is dict:
        count = len(value)
        for member in value.values():
            if type(member) is dict or type(member) is list:
                count += _members(member, levels)
        return count
    count = 0
    if type(value) is list:
        for member in value:
            if type(member) is dict or type(member) is list:
                count += _members(member, levels)
    return count


def _count(value: object) -> tuple[int, bool]:
    try:
        return _members(value, WIRE_SAFE_DEPTH), False
    except _TooDeepError:
        return _members(value, MAX_DEPTH), True


def _too_deep(steps: Steps | None) -> TextError:
    return TextError(steps or (), f"leads deeper than {MAX_DEPTH} levels")


def _malformed(text: bytes, error: Exception) -> TextError:
    steps = json_places.of_depth(text, MAX_DEPTH)
    if steps is not None:
        return _too_deep(steps)  # how deep the decoder itself follows differs from one Python to the other
    try:
        text.decode()
    except UnicodeDecodeError as wrong:
        return TextError(json_places.of_byte(text, wrong.start), f"is not UTF-8 (byte {wrong.start})")
    return TextError((), f"is not JSON: {str(error).removeprefix('JSON is malformed: ')}")


def read(text: bytes, /) -> tuple[object, bool]:
    """Decode JSON (RFC 8259).

    Of repeated member names the decoder keeps the last, so they are found by counting: outside of strings there is one
    colon for each member that was written, and what was decoded has one for each that was kept.

    Returns:
        The value, in which numbers are finite and strings valid Unicode; and whether it nests deeper than
        `WIRE_SAFE_DEPTH`.

    Raises:
        TextError: no JSON, not UTF-8, numbers without end or beyond a double's range, more than `MAX_DEPTH` levels, a
            name twice in one object.
    """
    try:
        value = _decode(text)
    except RecursionError:
        raise _too_deep(json_places.of_depth(text, MAX_DEPTH)) from None
    except msgspec.ValidationError:  # of values without a type only numbers are ever invalid
        raise TextError(json_places.of_endless_number(text), "has a number that is out of every range") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _malformed(text, error) from None
    colons = text.count(b":")
    if type(value) is dict and len(value) == colons and text.count(b"[") < WIRE_SAFE_DEPTH:
        return value, False  # every colon is of the outermost object: nothing is nested, and nothing twice
    try:
        members, deep = _count(value)
    except _TooDeepError:
        raise _too_deep(json_places.of_depth(text, MAX_DEPTH)) from None
    if members != colons and members != _STRING.sub(b"", text).count(b":"):
        raise TextError(json_places.of_second_name(text), "is named twice")
    return value, deep
