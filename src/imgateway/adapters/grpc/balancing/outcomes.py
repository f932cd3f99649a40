"""What became of a call, as values that may be shown outside."""

import logging
from typing import Any, Final

import grpc

from imgateway.codes import RpcCode
from imgateway.rpc import Metadata, RpcFailure

DETAILS: Final = "grpc-status-details-bin"
UNAVAILABLE: Final = RpcFailure(RpcCode.UNAVAILABLE, "The service can't be reached just now.", reached=False)
_WORDS: Final = {
    RpcCode.UNAVAILABLE: UNAVAILABLE.message,
    RpcCode.DEADLINE_EXCEEDED: "The call took too long.",
    RpcCode.CANCELLED: "The call was cancelled.",
}
FAILED: Final = "The service has failed."
NO_MESSAGE: Final = RpcFailure(RpcCode.INTERNAL, FAILED, reached=False)
_TOO_LARGE: Final = "The service's answer is too large."
# How gRPC's core begins the texts of the statuses that it makes up itself; nothing else tells them from a server's.
_CORE: Final = (
    "Stream removed (",
    "CLIENT: ",
    "Received message larger than max",
    "failed to connect to ",
    "errors resolving ",
    "Received http2 header with status",
    "Received RST_STREAM",
    "No status received",
)
_LIMITS: Final = ("larger than max", "received metadata size exceeds")
"""Of a message, and of metadata."""

_log = logging.getLogger(__name__)


def metadata(raw: Any) -> Metadata:
    """GRPC's metadata as a value."""
    return tuple((str(name), value) for name, value in raw) if raw else ()


def failure_of(error: grpc.aio.AioRpcError, rpc: str, /) -> RpcFailure:
    """What a failed call says outside.

    A back end's own words go on. What gRPC itself says, of addresses and connections, is logged instead. So are words
    with the codes of `_WORDS`, which back ends and proxies pass on from calls of their own, unless details of
    google.rpc.Status are with them: those are only ever meant for the client.
    """
    code = RpcCode(error.code().value[0])
    trailers = metadata(error.trailing_metadata())
    words = error.details() or ""
    found = next((value for name, value in trailers if name == DETAILS), None)
    details = found if isinstance(found, bytes) else None
    of_the_way = code in _WORDS or words.startswith(_CORE)
    if details is not None or not of_the_way:
        return RpcFailure(code, words, trailers, details)
    _log.debug("a call failed on its way", extra={"rpc": rpc, "why": f"{code.name}: {words[:500]}"})
    if code is RpcCode.RESOURCE_EXHAUSTED and any(sign in words for sign in _LIMITS):
        _log.warning("an answer is too large", extra={"rpc": rpc, "why": words})
        return RpcFailure(RpcCode.INTERNAL, _TOO_LARGE, reached=False)
    return RpcFailure(code, _WORDS.get(code, FAILED), trailers, reached=False)
