"""What JSON permits and a messaging protocol must not: repeated names and abysmal nesting.

RFC 8259 section 4 calls the behaviour of repeated names unpredictable: two parsers may then read two different
messages out of one frame. msgspec keeps the last, so this module looks for them. The full look costs several times
the decoding, so a count of colons rules out the common frame first: every member of every object needs one.
"""

import json

MAX_DEPTH = 32
"""Arrays and objects within each other, the frame's own included."""


class RepeatedNameError(ValueError):
    """An object names a member twice."""


class TooDeepError(ValueError):
    """The text nests deeper than `MAX_DEPTH`."""


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise RepeatedNameError
    return members


def depth_within(value: object, levels: int, /) -> bool:
    """Whether a decoded value has at most `levels` arrays and objects within each other."""
    if isinstance(value, dict):
        return levels > 0 and all(depth_within(v, levels - 1) for v in value.values())
    if isinstance(value, list):
        return levels > 0 and all(depth_within(v, levels - 1) for v in value)
    return True


def guard(text: str, members: int, /) -> None:
    """Refuse repeated names and deep nesting in `text`, which must be valid JSON.

    Args:
        text: the JSON text.
        members: how many object members the decoder recognised in it; with exactly so many colons nothing can be
            repeated or nested beyond what was recognised, and the full look is skipped; -1 asks for it.

    Raises:
        RepeatedNameError: an object names a member twice.
        TooDeepError: more than `MAX_DEPTH` levels.
    """
    if text.count(":") == members:
        return
    try:
        # Numbers are not needed here, only names and nesting: `len` stands in for costly (and limited) conversions.
        value = json.loads(text, object_pairs_hook=_unique, parse_int=len, parse_float=len)
    except RecursionError:
        raise TooDeepError from None
    if not depth_within(value, MAX_DEPTH):
        raise TooDeepError
