"""`Timestamp`, `Duration` and `FieldMask`: messages that JSON has as text."""

import re
from datetime import date
from typing import Any

from imgateway.adapters.grpc.field_error import FieldError

_TIMESTAMP = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]{1,9}))?"
    r"(?:Z|([+-])([0-9]{2}):([0-9]{2}))"
)
_DURATION = re.compile(r"(-?)([0-9]{1,12})(?:\.([0-9]{1,9}))?s")
_EPOCH = date(1970, 1, 1).toordinal()
_FIRST_SECOND = -62135596800  # 0001-01-01T00:00:00Z
_LAST_SECOND = 253402300799  # 9999-12-31T23:59:59Z
_LONGEST = 315576000000  # seconds: ten thousand years
_SECOND = 10**9  # nanoseconds
_CAPITAL = re.compile(r"[A-Z]")
_WORD = re.compile(r"_([a-z])")

_DATES = 512
_dates: dict[int, str] = {}


def _date(day: int) -> str:
    text = _dates.get(day)
    if text is None:
        if len(_dates) >= _DATES:
            _dates.clear()
        text = _dates[day] = date.fromordinal(_EPOCH + day).isoformat()
    return text


def _fraction(nanos: int) -> str:
    """None, 3, 6 or 9 digits, as many as are needed."""
    if not nanos:
        return ""
    text = f".{nanos:09d}"
    return text[:4] if text.endswith("000000") else text[:7] if text.endswith("000") else text


def write_timestamp(message: Any, /) -> str:
    """RFC 3339 in UTC. Raises ValueError outside of the years 1 to 9999, or where the nanoseconds are none."""
    seconds, nanos = message.seconds, message.nanos
    if not (_FIRST_SECOND <= seconds <= _LAST_SECOND and 0 <= nanos < _SECOND):
        raise ValueError("a Timestamp is out of range")
    day, second = divmod(seconds, 86400)
    minute, second = divmod(second, 60)
    hour, minute = divmod(minute, 60)
    return f"{_date(day)}T{hour:02d}:{minute:02d}:{second:02d}{_fraction(nanos)}Z"


def read_timestamp(value: Any, message: Any, /) -> None:
    """RFC 3339 with `T`, `Z` or an offset, and at most 9 digits of a second."""
    parts = _TIMESTAMP.fullmatch(value) if type(value) is str else None
    if parts is None:
        raise FieldError("", "must be a timestamp like 2006-01-02T15:04:05Z")
    year, month, day, hour, minute, second, fraction, sign, offset_hour, offset_minute = parts.groups("0")
    try:
        days = date(int(year), int(month), int(day)).toordinal() - _EPOCH
    except ValueError:
        raise FieldError("", "is no date that exists") from None
    if int(hour) > 23 or int(minute) > 59 or int(second) > 59 or int(offset_hour) > 23 or int(offset_minute) > 59:
        raise FieldError("", "is no time that exists")
    seconds = days * 86400 + int(hour) * 3600 + int(minute) * 60 + int(second)
    offset = int(offset_hour) * 3600 + int(offset_minute) * 60
    seconds += offset if sign == "-" else -offset
    if not _FIRST_SECOND <= seconds <= _LAST_SECOND:
        raise FieldError("", "is not within the years 1 to 9999")
    message.seconds = seconds
    message.nanos = int(fraction.ljust(9, "0"))


def write_duration(message: Any, /) -> str:
    """Seconds with an `s`. Raises ValueError beyond ten thousand years, or where seconds and nanoseconds disagree."""
    seconds, nanos = message.seconds, message.nanos
    if not (-_LONGEST <= seconds <= _LONGEST and -_SECOND < nanos < _SECOND) or seconds * nanos < 0:
        raise ValueError("a Duration is out of range")
    sign = "-" if seconds < 0 or nanos < 0 else ""
    return f"{sign}{abs(seconds)}{_fraction(abs(nanos))}s"


def read_duration(value: Any, message: Any, /) -> None:
    """Seconds with an `s` and at most 9 digits after the point."""
    parts = _DURATION.fullmatch(value) if type(value) is str else None
    if parts is None:
        raise FieldError("", "must be a duration like 1.5s")
    sign = -1 if parts[1] else 1
    seconds = int(parts[2])
    if seconds > _LONGEST:
        raise FieldError("", "is longer than ten thousand years")
    message.seconds = sign * seconds
    message.nanos = sign * int((parts[3] or "0").ljust(9, "0"))


def _camel(path: str) -> str:
    camel = _WORD.sub(lambda word: word[1].upper(), path)
    if "_" in camel or _CAPITAL.search(path):
        raise ValueError("a FieldMask has a path that JSON can't have")
    return camel


def write_field_mask(message: Any, /) -> str:
    """The paths in camel case, with commas. Raises ValueError where a path would not be read back as it was."""
    return ",".join([_camel(path) for path in message.paths])


def read_field_mask(value: Any, message: Any, /) -> None:
    """Paths in camel case, with commas."""
    if type(value) is not str:
        raise FieldError("", "must be a string of paths")
    paths = value.split(",") if value else []
    if "_" in value or "" in paths:
        raise FieldError("", "must be paths in camel case, with commas between")
    message.paths.extend([_CAPITAL.sub(lambda letter: "_" + letter[0].lower(), path) for path in paths])
