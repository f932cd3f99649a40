"""What became of a call, as values that may be shown outside."""

import logging
from typing import Any, Final

import grpc

from imgateway.codes import RpcCode
from imgateway.rpc import Metadata, RpcFailure

DETAILS: Final = "grpc-status-details-bin"
_STATUS: Final = "grpc-status"
_WORDS: Final = {
    RpcCode.UNAVAILABLE: "The service can't be reached just now.",
    RpcCode.DEADLINE_EXCEEDED: "The call took too long.",
    RpcCode.CANCELLED: "The call was cancelled.",
}
_FAILED: Final = "The service has failed."
_TOO_LARGE: Final = "The service's answer is too large."

_log = logging.getLogger(__name__)


def metadata(raw: Any) -> Metadata:
    """GRPC's metadata as a value."""
    return tuple((str(name), value) for name, value in raw) if raw else ()


def failure_of(error: grpc.aio.AioRpcError, rpc: str, /) -> RpcFailure:
    """What a failed call says outside.

    A back end's own words go on. What gRPC itself says, of addresses and connections, is logged instead: only a back
    end sends trailers of its own.
    """
    code = RpcCode(error.code().value[0])
    trailers = metadata(error.trailing_metadata())
    words = error.details() or ""
    debug = error.debug_error_string() or ""
    if code is RpcCode.RESOURCE_EXHAUSTED and "larger than max" in words and not trailers:
        _log.warning("an answer is too large", extra={"rpc": rpc, "why": words})
        return RpcFailure(RpcCode.INTERNAL, _TOO_LARGE, reached=False)
    if not _is_the_back_ends(debug, trailers):
        if code is not RpcCode.DEADLINE_EXCEEDED:
            _log.debug("a call failed on its way", extra={"rpc": rpc, "why": f"{code.name}: {words[:500]}"})
        return RpcFailure(code, _WORDS.get(code, _FAILED), trailers, reached=False)
    found = next((value for name, value in trailers if name == DETAILS), None)
    return RpcFailure(code, words, trailers, found if isinstance(found, bytes) else None)


def _is_the_back_ends(debug: str, trailers: Metadata) -> bool:
    # gRPC's core marks a status that came over the wire so; what it made up itself names no peer's status.
    return bool(trailers) or "Error received from peer" in debug
