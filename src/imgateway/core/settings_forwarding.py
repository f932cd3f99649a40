"""Which names of headers and of metadata are never passed on, whatever the settings say: the one table of them."""

from typing import Final

# What the gateway itself tells back ends: who asks, the trace, and how much time there is.
_OURS: Final = frozenset(
    {"x-user-id", "x-user-id-bin", "x-request-id", "x-request-timeout", "traceparent", "tracestate"}
)
# RFC 9110 section 7.6.1 and what else one hop says to the next; the user agent of a call is gRPC's own.
_OF_THE_CONNECTION: Final = frozenset(
    {
        "accept-encoding", "connection", "expect", "host", "keep-alive", "te", "trailer", "transfer-encoding",
        "upgrade", "user-agent",
    }
)  # fmt: skip
# They hold the user's token, also in the list of WebSocket subprotocols.
_CREDENTIALS: Final = frozenset({"authorization", "cookie", "set-cookie", "sec-websocket-protocol"})
_NEVER: Final = _OURS | _OF_THE_CONNECTION | _CREDENTIALS
_KINDS: Final = (":", "grpc-", "content-", "proxy-")


def unreturnable(name: str, /) -> bool:
    """Whether a back end's metadata of this name is never shown to clients.

    True for credentials, for what the gateway itself tells back ends, and for what belongs to one connection or to a
    body.
    """
    name = name.lower()
    return name in _NEVER or name.startswith(_KINDS)


def unforwardable(name: str, /) -> bool:
    """Whether a request's header never goes along under its own name.

    True where `unreturnable` is, and for names that gRPC takes for those of bytes.
    """
    return unreturnable(name) or name.lower().endswith("-bin")
