"""The one table of outcome codes: what a client sees over HTTP and what ends a WebSocket.

Nothing else in the package spells out an HTTP status or a close code of ours. Close codes defined by
RFC 6455 (section 7.4.1) that carry no code of ours are the `RFC_*` constants.
"""

from collections.abc import Mapping
from enum import IntEnum, StrEnum
from types import MappingProxyType

import attrs


class Code(StrEnum):
    """Why something was refused or ended, as clients read it in `code`."""

    UNAUTHENTICATED = "UNAUTHENTICATED"
    TOKEN_EXPIRED = "TOKEN_EXPIRED"  # noqa: S105  # a name, not a password
    FORBIDDEN = "FORBIDDEN"
    INVALID_MESSAGE = "INVALID_MESSAGE"
    MESSAGE_TOO_LARGE = "MESSAGE_TOO_LARGE"
    RATE_LIMITED = "RATE_LIMITED"
    OVERLOADED = "OVERLOADED"
    UNAVAILABLE = "UNAVAILABLE"
    SLOW_CONSUMER = "SLOW_CONSUMER"
    REPLACED = "REPLACED"
    KICKED = "KICKED"
    DRAINING = "DRAINING"
    PING_TIMEOUT = "PING_TIMEOUT"


class HttpCode(StrEnum):
    """The `code` of HTTP problems that no WebSocket ever ends with: their names are gRPC's where it has one."""

    NOT_FOUND = "NOT_FOUND"
    METHOD_NOT_ALLOWED = "METHOD_NOT_ALLOWED"
    NOT_ACCEPTABLE = "NOT_ACCEPTABLE"
    REQUEST_TIMEOUT = "REQUEST_TIMEOUT"
    UNSUPPORTED_MEDIA_TYPE = "UNSUPPORTED_MEDIA_TYPE"
    INTERNAL = "INTERNAL"


class RpcCode(IntEnum):
    """gRPC's status codes by their numbers; the names are what clients read in `code` where a call failed."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


RPC_HTTP_STATUS: Mapping[RpcCode, int] = MappingProxyType(
    {
        RpcCode.OK: 200,
        RpcCode.CANCELLED: 499,
        RpcCode.UNKNOWN: 500,
        RpcCode.INVALID_ARGUMENT: 400,
        RpcCode.DEADLINE_EXCEEDED: 504,
        RpcCode.NOT_FOUND: 404,
        RpcCode.ALREADY_EXISTS: 409,
        RpcCode.PERMISSION_DENIED: 403,
        RpcCode.RESOURCE_EXHAUSTED: 429,
        RpcCode.FAILED_PRECONDITION: 400,
        RpcCode.ABORTED: 409,
        RpcCode.OUT_OF_RANGE: 400,
        RpcCode.UNIMPLEMENTED: 501,
        RpcCode.INTERNAL: 500,
        RpcCode.UNAVAILABLE: 503,
        RpcCode.DATA_LOSS: 500,
        RpcCode.UNAUTHENTICATED: 401,
    }
)
"""The HTTP status of a failed call, as google/rpc/code.proto documents it."""


@attrs.frozen
class CodeRow:
    """One row of the table.

    Attributes:
        code: the name clients see.
        http_status: the status of a refused request; None where the code only ever ends a connection.
        close_code: the WebSocket close code where the code ends a connection.
        title: the `title` of the problem body (RFC 9457) and the text of the close frame.
    """

    code: Code
    http_status: int | None
    close_code: int
    title: str


TABLE: Mapping[Code, CodeRow] = MappingProxyType(
    {
        row.code: row
        for row in (
            CodeRow(Code.UNAUTHENTICATED, 401, 4501, "Authentication required"),
            CodeRow(Code.TOKEN_EXPIRED, 401, 4001, "Token expired"),
            CodeRow(Code.FORBIDDEN, 403, 4503, "Forbidden"),
            CodeRow(Code.INVALID_MESSAGE, 400, 4504, "Invalid message"),
            CodeRow(Code.MESSAGE_TOO_LARGE, 413, 1009, "Message too large"),
            CodeRow(Code.RATE_LIMITED, 429, 4029, "Rate limited"),
            CodeRow(Code.OVERLOADED, 503, 1013, "Overloaded"),
            CodeRow(Code.UNAVAILABLE, 503, 1013, "Unavailable"),
            CodeRow(Code.SLOW_CONSUMER, None, 4008, "Slow consumer"),
            CodeRow(Code.REPLACED, None, 4509, "Replaced by a newer connection"),
            CodeRow(Code.KICKED, None, 4510, "Kicked"),
            CodeRow(Code.DRAINING, 503, 1012, "Draining"),
            CodeRow(Code.PING_TIMEOUT, None, 4000, "Ping timeout"),
        )
    }
)

RFC_NORMAL = 1000
RFC_GOING_AWAY = 1001
RFC_PROTOCOL_ERROR = 1002
RFC_UNSUPPORTED_DATA = 1003
RFC_NO_STATUS = 1005
RFC_ABNORMAL = 1006
RFC_INVALID_PAYLOAD = 1007
RFC_TOO_BIG = 1009
RFC_INTERNAL_ERROR = 1011

NAMED_CLOSE_CODES: frozenset[int] = frozenset(row.close_code for row in TABLE.values()) | {
    RFC_NORMAL,
    RFC_GOING_AWAY,
    RFC_PROTOCOL_ERROR,
    RFC_UNSUPPORTED_DATA,
    RFC_NO_STATUS,
    RFC_ABNORMAL,
    RFC_INVALID_PAYLOAD,
    RFC_TOO_BIG,
    RFC_INTERNAL_ERROR,
}
"""Every code that ends connections here; whatever else a client closes with is its own invention."""

_REGISTERED = frozenset({*range(1000, 1004), *range(1007, 1015)})


def may_be_sent(close_code: int, /) -> bool:
    """Whether a close frame may carry it (RFC 6455 section 7.4; 1012 to 1014 were registered later)."""
    return close_code in _REGISTERED or 3000 <= close_code < 5000


def reconnect_advised(close_code: int) -> bool:
    """Whether a client that was closed with `close_code` should connect again.

    True for 4000-4499, 1012, 1013 and for endings nobody chose (1001, 1006); false for 4500-4999 and for
    1002, 1003, 1007 and 1009, where the same client would only be refused again.
    """
    return 4000 <= close_code <= 4499 or close_code in (RFC_GOING_AWAY, RFC_ABNORMAL, 1012, 1013)
