"""Why a request has no answer, as the document says it."""

from collections.abc import Iterator
from http import HTTPStatus
from typing import Final

from imgateway.adapters.grpc.openapi.values import Schema
from imgateway.codes import RPC_HTTP_STATUS, TABLE, Code, HttpCode
from imgateway.rpc import RestRoute

PROBLEM: Final = "Problem"
STREAM_ERROR: Final = "StreamError"
NAMES: Final = (PROBLEM, STREAM_ERROR)
"""Schemas that are the gateway's own."""

REQUEST_ID: Final[Schema] = {"x-request-id": {"$ref": "#/components/headers/RequestId"}}

_DETAILS: Final[Schema] = {
    "type": "array",
    "description": "What google/rpc/error_details.proto has, such as BadRequest with the fields in question.",
    "items": {"type": "object", "properties": {"@type": {"type": "string"}}, "additionalProperties": True},
}
_FOR_PROGRAMS: Final = "For programs: the name of gRPC's status where the service refused."

SCHEMAS: Final[dict[str, Schema]] = {
    PROBLEM: {
        "type": "object",
        "description": "Why there is no answer (RFC 9457).",
        "properties": {
            "type": {"type": "string", "format": "uri-reference"},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string", "description": "For people."},
            "code": {"type": "string", "description": _FOR_PROGRAMS},
            "details": _DETAILS,
        },
        "required": ["type", "title", "status", "detail", "code"],
    },
    STREAM_ERROR: {
        "type": "object",
        "description": "Why a stream broke off.",
        "properties": {
            "code": {"type": "string", "description": _FOR_PROGRAMS},
            "message": {"type": "string", "description": "For people."},
            "details": _DETAILS,
            "retryAfter": {"type": "integer", "description": "Seconds after which to try again."},
        },
        "required": ["code", "message"],
    },
}

HEADERS: Final[dict[str, Schema]] = {
    "RequestId": {"description": "Names the request in logs.", "schema": {"type": "string"}},
    "RetryAfter": {
        "description": "Seconds after which to try again.",
        "schema": {"type": "integer", "minimum": 0},
    },
}

_RESPONSES: Final = {
    HTTPStatus.BAD_REQUEST: ("Invalid", "The request is wrong, or can't be served as things are."),
    HTTPStatus.UNAUTHORIZED: ("Unauthenticated", "A valid token is needed."),
    HTTPStatus.FORBIDDEN: ("Forbidden", "This user, or a page of this origin, may not do that."),
    HTTPStatus.NOT_FOUND: ("NotFound", "There is no such thing."),
    HTTPStatus.NOT_ACCEPTABLE: ("NotAcceptable", "The answer has no media type that `Accept` allows."),
    HTTPStatus.REQUEST_TIMEOUT: ("RequestTimeout", "The body did not arrive in time."),
    HTTPStatus.CONFLICT: ("Conflict", "It is there already, or was changed meanwhile."),
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: ("TooLarge", "The body is too long."),
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: ("UnsupportedMediaType", "The body is not JSON in UTF-8."),
    HTTPStatus.TOO_MANY_REQUESTS: ("TooManyRequests", "Too much at once: slow down."),
    HTTPStatus.INTERNAL_SERVER_ERROR: ("Failed", "The service, or the gateway, has failed."),
    HTTPStatus.NOT_IMPLEMENTED: ("Unimplemented", "The service does not do this, or it can't be done over HTTP."),
    HTTPStatus.SERVICE_UNAVAILABLE: ("Unavailable", "Nobody can answer now."),
    HTTPStatus.GATEWAY_TIMEOUT: ("Timeout", "The time for the call is over."),
}
_WITH_BODY: Final = (
    HTTPStatus.REQUEST_TIMEOUT,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
)
_WAITED_FOR: Final = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)


def refusals_of(route: RestRoute, /) -> dict[str, Schema]:
    """The responses of an operation that are no answers; `default` stands for whatever else there may be."""
    statuses = [HTTPStatus.NOT_IMPLEMENTED] if route.client_streaming else [s for s in _RESPONSES if _fits(s, route)]
    return {
        **{str(status.value): {"$ref": f"#/components/responses/{_RESPONSES[status][0]}"} for status in statuses},
        "default": {"$ref": f"#/components/responses/{PROBLEM}"},
    }


def responses() -> dict[str, Schema]:
    """All of them, by their names under `components`."""
    made = {PROBLEM: _response("There is no answer; `code` says why.", retry=True)}
    for status, (name, why) in _RESPONSES.items():
        codes = ", ".join(f"`{code}`" for code in dict.fromkeys(_codes(status)))
        made[name] = _response(f"{why} Code: {codes}.", retry=status in _WAITED_FOR)
    return made


def _fits(status: HTTPStatus, route: RestRoute) -> bool:
    if status in _WITH_BODY:
        return route.takes_body
    return not (route.public and status is HTTPStatus.UNAUTHORIZED)


def _codes(status: HTTPStatus) -> Iterator[str]:
    yield from (code.name for code, known in RPC_HTTP_STATUS.items() if known == status)
    yield from (code.value for code, row in TABLE.items() if row.http_status == status and code not in _OF_SOCKETS)
    if status.name in HttpCode.__members__:
        yield status.name


_OF_SOCKETS: Final = (Code.INVALID_MESSAGE,)


def _response(description: str, *, retry: bool) -> Schema:
    headers = dict(REQUEST_ID)
    if retry:
        headers["Retry-After"] = {"$ref": "#/components/headers/RetryAfter"}
    schema = {"$ref": f"#/components/schemas/{PROBLEM}"}
    return {
        "description": description,
        "headers": headers,
        "content": {"application/problem+json": {"schema": schema}},
    }
