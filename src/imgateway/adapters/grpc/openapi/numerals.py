"""Integers as text, as regular expressions: JSON Schema has bounds for numbers only.

They have no look-ahead, which not every reader of OpenAPI knows.
"""


def pattern(low: int, high: int, /) -> str:
    """Matches the integers from `low` to `high` as they are written: no leading zeros, no `-0`.

    Args:
        low: 0 or less.
        high: 0 or more.
    """
    if 0 < high == -low - 1:  # two's complement: the same on both sides but for one
        return f"^(0|-?({_from_one(high)})|{low})$"
    negative, positive = _from_one(-low), _from_one(high)
    choices = ["0", positive, f"-({negative})" if negative else ""]
    return f"^({'|'.join(filter(None, choices))})$"


def _from_one(last: int) -> str:
    """Alternatives for the numbers from 1 to `last`; empty where there are none."""
    if last < 1:
        return ""
    text = str(last)
    choices = [f"[1-9]{_digits(0, len(text) - 2)}"] if len(text) > 1 else []
    for index, digit in enumerate(text):
        # As `last` up to here, then a smaller digit, then any.
        lowest, below = int(index == 0), int(digit) - 1
        if below >= lowest:
            left = len(text) - index - 1
            choices.append(f"{text[:index]}{_one_of(lowest, below)}{_digits(left, left)}")
    return "|".join([*choices, text])


def _one_of(lowest: int, highest: int) -> str:
    return str(lowest) if lowest == highest else f"[{lowest}-{highest}]"


def _digits(least: int, most: int) -> str:
    if most == 0:
        return ""
    if least == most:
        return "[0-9]" if most == 1 else f"[0-9]{{{most}}}"
    return f"[0-9]{{{least},{most}}}"
