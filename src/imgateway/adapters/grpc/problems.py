"""What went wrong with a call, in the words for the outside."""

import logging
import math
from collections.abc import Iterator, Mapping
from typing import Any, Final

from google.protobuf import json_format
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2
from google.rpc.status_pb2 import Status

from imgateway.adapters.grpc.balancing.outcomes import FAILED
from imgateway.adapters.grpc.field_error import FieldError
from imgateway.adapters.grpc.routing import IdentityError
from imgateway.codes import Code, RpcCode
from imgateway.rpc import RestProblem, RpcFailure

MAX_DETAIL_CHARS: Final = 2000
MAX_DETAILS: Final = 20
MAX_RETRY_AFTER_SECONDS: Final = 86_400
"""A back end that asks for more is given a day: clients take the header at its word."""

_TYPES: Final = "type.googleapis.com/"
# What a back end says of its own mistakes is for its own people: exceptions' texts, addresses, SQL.
_INSIDE: Final = frozenset({RpcCode.UNKNOWN, RpcCode.INTERNAL, RpcCode.DATA_LOSS})
# How gRPC's Python servers (asyncio's, and the other) begin when an exception left a method, whatever the code.
_EXCEPTION: Final = ("Unexpected <class ", "Exception calling application: ", "Exception iterating responses: ")
# The details of google/rpc/error_details.proto; DebugInfo is left out, as it tells of the inside.
_SHOWN: Final = frozenset(
    f"google.rpc.{name}" for name in error_details_pb2.DESCRIPTOR.message_types_by_name if name != "DebugInfo"
)

_log = logging.getLogger(__name__)


def problem_of_request(error: FieldError | IdentityError, /) -> RestProblem:
    """A request that does not fit its message, or a user whose id does not fit the method."""
    if isinstance(error, IdentityError):
        return RestProblem.of(Code.FORBIDDEN, str(error))
    violation = {"field": error.path, "description": error.why}
    details = {"@type": f"{_TYPES}google.rpc.BadRequest", "fieldViolations": [violation]}
    return RestProblem.of(RpcCode.INVALID_ARGUMENT, str(error), (details,))


def problem_of_garbage(rpc: str, error: ValueError, /) -> RestProblem:
    """A back end answered what is no answer."""
    _log.warning("a back end answered garbage", extra={"rpc": rpc, "why": str(error)[:200]})
    return RestProblem.of(RpcCode.INTERNAL, FAILED)


def problem_of_unknown_method() -> RestProblem:
    """A method that can't be called. Not logged: clients may ask as often as they like."""
    return RestProblem.of(RpcCode.UNIMPLEMENTED, "The service does not offer this.")


def problem_of(rpc: str, failure: RpcFailure, /) -> RestProblem:
    """A failed call. What a back end says of its own mistakes is logged, and not shown."""
    if failure.code in _INSIDE or failure.message.startswith(_EXCEPTION):
        if failure.reached:
            why = failure.message[:MAX_DETAIL_CHARS]
            _log.warning("a back end has failed", extra={"rpc": rpc, "code": failure.code.name, "why": why})
        return RestProblem.of(failure.code, FAILED if failure.reached else failure.message)
    details: tuple[Mapping[str, Any], ...] = ()
    retry_after = failure.retry_after
    if failure.details is not None:
        details, told = _details(failure.details)
        retry_after = told if told is not None else retry_after
    words = failure.message or failure.code.name.replace("_", " ").capitalize() + "."
    return RestProblem.of(failure.code, words[:MAX_DETAIL_CHARS], details, retry_after=retry_after)


def _details(serialised: bytes) -> tuple[tuple[Mapping[str, Any], ...], int | None]:
    try:
        status = Status.FromString(serialised)
    except DecodeError:
        return (), None
    shown = tuple(_shown(status))
    retry_after = None
    for detail in status.details:
        if detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR):
            info = error_details_pb2.RetryInfo()
            try:
                detail.Unpack(info)
            except DecodeError:
                continue
            seconds = math.ceil(info.retry_delay.seconds + info.retry_delay.nanos / 1e9)
            retry_after = min(max(0, seconds), MAX_RETRY_AFTER_SECONDS)
    return shown, retry_after


def _shown(status: Status) -> Iterator[Mapping[str, Any]]:
    for detail in status.details[:MAX_DETAILS]:
        if detail.type_url.rpartition("/")[2] in _SHOWN:
            try:
                yield json_format.MessageToDict(detail)
            except (json_format.Error, DecodeError, ValueError, TypeError):
                continue
