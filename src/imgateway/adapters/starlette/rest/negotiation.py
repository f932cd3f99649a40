"""What a client can read, and what it says it sends (RFC 9110 sections 8.3, 8.4 and 12.5.1)."""

import re
from enum import Enum
from functools import lru_cache

_LONGEST_REMEMBERED = 256
_QUALITY = re.compile(r"(?:0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)")
_CHARSET_UTF8 = re.compile(r"charset=(\"utf-8\"|utf-8)")


class Framing(Enum):
    """How the messages of a stream stand in an answer, by its media type."""

    NDJSON = "application/x-ndjson"
    SSE = "text/event-stream"


_STREAMS = (
    ("application/x-ndjson", Framing.NDJSON),
    ("text/event-stream", Framing.SSE),
    ("application/json", Framing.NDJSON),
)
"""In the order preferred where a client names several and weighs them alike."""


def reads_json(accept: bytes | None, /) -> bool:
    """Whether a client with this `Accept` header reads `application/json`."""
    if accept is None:
        return True
    return _reads_json(accept) if len(accept) <= _LONGEST_REMEMBERED else _reads_json.__wrapped__(accept)


def stream_framing(accept: bytes | None, /) -> Framing | None:
    """What a client with this `Accept` header gets a stream as; None where it reads nothing that there is."""
    if accept is None:
        return Framing.NDJSON
    return _framing(accept) if len(accept) <= _LONGEST_REMEMBERED else _framing.__wrapped__(accept)


def is_json(content_type: bytes | None, /) -> bool:
    """Whether a body with this `Content-Type` may be read as JSON in UTF-8; without one it is taken for that."""
    return content_type is None or content_type == b"application/json" or _is_json(content_type)


@lru_cache(maxsize=256)
def _reads_json(accept: bytes) -> bool:
    return _weight("application/json", _ranges(accept))[0] > 0


@lru_cache(maxsize=256)
def _framing(accept: bytes) -> Framing | None:
    ranges = _ranges(accept)
    best = (0.0, 0)
    framing = None
    for media_type, candidate in _STREAMS:
        weight = _weight(media_type, ranges)
        if weight[0] > 0 and weight > best:
            best, framing = weight, candidate
    return framing


def _weight(media_type: str, ranges: dict[str, float]) -> tuple[float, int]:
    """The quality that the most specific range gives a media type, and how specific that is."""
    kind = media_type.partition("/")[0]
    for specific, name in ((2, media_type), (1, f"{kind}/*"), (0, "*/*")):
        if name in ranges:
            return ranges[name], specific
    return 0.0, 0


def _ranges(accept: bytes) -> dict[str, float]:
    ranges: dict[str, float] = {}
    for part in accept.decode("latin-1").lower().split(","):
        name, *parameters = (piece.strip() for piece in part.split(";"))
        quality = next((each[2:].strip() for each in parameters if each.startswith("q=")), "1")
        if name and _QUALITY.fullmatch(quality):
            ranges[name] = max(ranges.get(name, 0.0), float(quality))
    # An empty header says nothing, as if it were not there.
    return ranges or ({"*/*": 1.0} if not accept.strip(b" \t,") else {})


def _is_json(content_type: bytes) -> bool:
    media_type, *parameters = (part.strip() for part in content_type.decode("latin-1").lower().split(";"))
    return media_type == "application/json" and all(
        not each.startswith("charset") or _CHARSET_UTF8.fullmatch(each) for each in parameters
    )
