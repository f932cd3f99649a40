"""JSON text into Python values, refusing what two readers of one text might understand differently."""

import json
import math
import re
from collections.abc import Iterator

import msgspec

from imgateway.adapters.grpc.field_error import FieldError

MAX_DEPTH = 100
"""Arrays and objects within each other, as in protobuf's own parsers."""

WIRE_SAFE_DEPTH = 33
"""A level of JSON becomes at most three of the wire format (a `Struct`, its entry, that one's `Value`), of which
protobuf's parsers follow 100."""

_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)

_decode = msgspec.json.Decoder().decode


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
        pass
    try:
        return _members(value, MAX_DEPTH), True
    except _TooDeepError:
        raise FieldError("", f"nests deeper than {MAX_DEPTH} levels") from None


def _endless(text: bytes) -> str:
    """Where the first number is that is no double, in JSON that is well formed otherwise."""
    number = "a number"

    def places(value: object) -> Iterator[tuple[str, object]]:
        if type(value) is dict:
            yield from value.items()
        elif type(value) is list:
            yield from ((f"[{index}]", element) for index, element in enumerate(value))

    def find(value: object) -> FieldError | None:
        if value is number:
            return FieldError("", "")
        for place, inner in places(value):
            if (found := find(inner)) is not None:
                return found.within(place)
        return None

    def read(written: str) -> str | None:
        return None if math.isfinite(float(written)) else number

    try:
        found = find(json.loads(text, parse_int=read, parse_float=read))
    except RecursionError:
        return ""
    return "" if found is None else found.path


def read(text: bytes, /) -> tuple[object, bool]:
    """Decode JSON (RFC 8259).

    Of repeated member names the decoder keeps the last, so they are found by counting: outside of strings there is one
    colon for each member that was written, and what was decoded has one for each that was kept.

    Returns:
        The value, in which numbers are finite and strings valid Unicode; and whether it nests deeper than
        `WIRE_SAFE_DEPTH`.

    Raises:
        FieldError: for the body as a whole: no JSON, not UTF-8, numbers without end or beyond a double's range,
            more than `MAX_DEPTH` levels, a name twice in one object.
    """
    try:
        value = _decode(text)
    except RecursionError:
        raise FieldError("", f"nests deeper than {MAX_DEPTH} levels") from None
    except UnicodeDecodeError:
        raise FieldError("", "is not UTF-8") from None
    except msgspec.ValidationError:  # of values without a type only numbers are ever invalid
        raise FieldError(_endless(text), "has a number that is out of every range") from None
    except msgspec.DecodeError as error:
        raise FieldError("", f"is not JSON: {error}") from None
    colons = text.count(b":")
    if type(value) is dict and len(value) == colons and text.count(b"[") < WIRE_SAFE_DEPTH:
        return value, False  # every colon is of the outermost object: nothing is nested, and nothing twice
    members, deep = _count(value)
    if members != colons and members != _STRING.sub(b"", text).count(b":"):
        raise FieldError("", "has an object that names a member twice")
    return value, deep
