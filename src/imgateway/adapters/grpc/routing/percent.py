"""Percent-encoding (RFC 3986 section 2.1), strictly: what can't be decoded is refused, not passed on."""

from typing import Final

_BYTES: Final = {
    first + second: bytes((int(first + second, 16),))
    for first in "0123456789abcdefABCDEF"
    for second in "0123456789abcdefABCDEF"
}


def decoded(text: str, /) -> str:
    """The text that a piece of a URL stands for.

    Args:
        text: ASCII, as RFC 3986 wants it; characters up to U+00FF stand for the raw bytes that some clients send.

    Raises:
        ValueError: an escape is broken, or the bytes are no UTF-8.
    """
    if "%" not in text:
        return text if text.isascii() else _utf8(_raw(text))
    head, *escapes = text.split("%")
    pieces = [_raw(head)]
    for escape in escapes:
        byte = _BYTES.get(escape[:2])
        if byte is None:
            raise ValueError("has a broken %-escape")
        pieces.append(byte)
        if len(escape) > 2:
            pieces.append(_raw(escape[2:]))
    return _utf8(b"".join(pieces))


def decoded_but_slashes(text: str, /) -> str:
    """The same, with `%2F` left as it is: how google/api/http.proto has variables of several segments decoded.

    Raises:
        ValueError: as for `decoded`.
    """
    if "%" in text:
        text = text.replace("%2F", "%252F").replace("%2f", "%252f")
    return decoded(text)


def decoded_parameter(text: str, /) -> str:
    """The same for a name or a value in a query, where `+` is a space.

    Raises:
        ValueError: as for `decoded`.
    """
    return decoded(text.replace("+", " "))


def encoded(text: str, /) -> str:
    """A path's segment that `decoded` gives back, readable where it can be: letters of any script stay."""
    return "".join(c if c.isalnum() or c in _PLAIN else "".join(f"%{byte:02X}" for byte in c.encode()) for c in text)


_PLAIN: Final = frozenset("-._~!$&'()+,;=:@")


def _raw(text: str) -> bytes:
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        raise ValueError("has characters that must be percent-encoded") from None


def _utf8(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise ValueError("is not UTF-8") from None
