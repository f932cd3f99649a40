"""Web pages of other origins (CORS, as the Fetch standard has it). No credentials mode: tokens are in a header."""

import re
from collections.abc import Iterable

from imgateway.adapters.starlette.origins import origin_allowed
from imgateway.adapters.starlette.rest.exchange import Exchange, Lines

MAX_AGE_SECONDS = 600

_VISIBLE = re.compile(rb"[\x21-\x7e]{1,512}")
_TAKEN = (
    "authorization", "content-type", "grpc-timeout", "x-request-timeout", "x-request-id", "traceparent", "tracestate"
)  # fmt: skip
_SHOWN = ("x-request-id", "retry-after", "www-authenticate", "allow")


class Pages:
    """Who may ask from a browser, and what their pages may send and see.

    Args:
        allowed: the origins, as `server.allowed_origins` has them.
        sent: headers that requests may carry besides those of the gateway.
        returned: names of metadata that answers show.
    """

    def __init__(self, allowed: tuple[str, ...], *, sent: Iterable[str], returned: Iterable[str]) -> None:
        self._allowed = allowed
        self._sent = ", ".join((*_TAKEN, *sent)).encode()
        names = [name.lower() for name in returned]
        shown = (*_SHOWN, *(f"grpc-{kind}-{name}" for name in names for kind in ("metadata", "trailer")))
        self._shown = (b"access-control-expose-headers", ", ".join(shown).encode())

    def lines(self, exchange: Exchange, /) -> Lines | None:
        """What an answer to a request with an `Origin` says; None where its page may not ask."""
        origin = exchange.headers[b"origin"]
        host = exchange.headers.get(b"host")
        if _VISIBLE.fullmatch(origin) is None or not exchange.repeated.isdisjoint((b"origin", b"host")):
            return None
        if not origin_allowed(
            origin.decode(),
            None if host is None else host.decode("latin-1"),
            secure=exchange.scope.get("scheme") == "https",
            allowed=self._allowed,
        ):
            return None
        return (b"access-control-allow-origin", origin), (b"vary", b"origin"), self._shown

    def preflight(self, methods: bytes, /) -> Lines:
        """What a preflight is told."""
        return (
            (b"access-control-allow-methods", methods),
            (b"access-control-allow-headers", self._sent),
            (b"access-control-max-age", b"%d" % MAX_AGE_SECONDS),
        )


def is_preflight(exchange: Exchange, /) -> bool:
    """Whether a browser asks if its page may ask."""
    headers = exchange.headers
    return (
        exchange.scope["method"] == "OPTIONS" and b"origin" in headers and b"access-control-request-method" in headers
    )
