"""Which request headers may never go along to a back end, whatever the settings say."""

from typing import Final

_OURS: Final = frozenset({"x-user-id", "x-request-id", "traceparent", "tracestate"})
_OF_THE_CONNECTION: Final = frozenset(
    {"connection", "host", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "expect", "accept-encoding"}
)
# They hold the user's token, also in the list of WebSocket subprotocols.
_CREDENTIALS: Final = frozenset({"authorization", "cookie", "set-cookie", "sec-websocket-protocol"})
_NEVER: Final = _OURS | _OF_THE_CONNECTION | _CREDENTIALS
_KINDS: Final = (":", "grpc-", "content-", "proxy-")


def unforwardable(name: str, /) -> bool:
    """Whether a header must not be passed on under its own name.

    True for credentials, for what the gateway itself sets or reads, for what belongs to one connection or to a body
    (RFC 9110 section 7.6.1), and for names that would be binary or reserved in gRPC.
    """
    name = name.lower()
    return name in _NEVER or name.startswith(_KINDS) or name.endswith("-bin")
