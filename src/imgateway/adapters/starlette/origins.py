"""Which web pages may connect (RFC 6454): the defence against pages that use a visitor's network position."""

from urllib.parse import urlsplit

_DEFAULT_PORTS = {"http": 80, "https": 443}

Origin = tuple[str, str, int | None]
"""Scheme, host and port; no port where the scheme has no default one."""


def origin_allowed(origin: str | None, host: str | None, *, secure: bool, allowed: tuple[str, ...]) -> bool:
    """Whether a page of `origin` may connect to `host` (the request's Host header).

    Without an Origin header the client is no browser: allowed. With an empty list only the same host and port is;
    `*` allows everyone; an opaque origin (`null`) is never the same host.

    `secure` tells whether the connection is known to be encrypted. One that is not may come from a proxy that ended
    the encryption: a Host without a port then stands for the default port of the page's own scheme.
    """
    if origin is None or "*" in allowed:
        return True
    page = _read(origin)
    if page is None:
        return False
    if allowed:
        return page in map(_read, allowed)
    if not host or page[0] not in _DEFAULT_PORTS:
        return False
    here = _read(f"{'https' if secure else page[0]}://{host}")
    return here is not None and here[1:] == page[1:]


def _read(text: str) -> Origin | None:
    try:
        parts = urlsplit(text)
        scheme = parts.scheme.lower()
        port = parts.port or _DEFAULT_PORTS.get(scheme)
    except ValueError:
        return None
    return (scheme, parts.hostname.lower(), port) if scheme and parts.hostname else None
