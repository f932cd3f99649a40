"""Refusals as HTTP: problem details (RFC 9457)."""

import json
from collections.abc import Collection, Mapping
from http import HTTPStatus
from typing import Any

from starlette.responses import Response
from starlette.types import Send

from imgateway.codes import TABLE, Code, HttpCode
from imgateway.model import Refusal

MEDIA_TYPE = "application/problem+json"

_CODES = {code.value: code for code in Code}
_PHRASES = {status.value: status.phrase for status in HTTPStatus}


def problem(refusal: Refusal, /) -> Response:
    """The refusal as a response: status and title by the table, `code` for programs, `Retry-After` where it helps."""
    row = TABLE[refusal.code]
    status = row.http_status or 500
    headers = {"Cache-Control": "no-store"}
    if refusal.retry_after is not None:
        headers["Retry-After"] = str(refusal.retry_after)
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return problem_response(status, row.title, refusal.message, refusal.code, headers)


def problem_response(
    status: int, title: str, detail: str, code: Code | HttpCode, headers: Mapping[str, str], /
) -> Response:
    """Any problem as a response."""
    return Response(problem_body(status, title, detail, code.value), status, headers, MEDIA_TYPE)


def problem_body(
    status: int, title: str, detail: str, code: str, details: Collection[Mapping[str, Any]] = (), /
) -> bytes:
    """Any problem as JSON; `details` only where there are any."""
    body: dict[str, Any] = {"type": "about:blank", "title": title, "status": status, "detail": detail, "code": code}
    if details:
        body["details"] = [dict(each) for each in details]
    return json.dumps(body).encode()


def title_of(status: int, code: str, /) -> str:
    """The table's title, where it has the code with this status; else HTTP's phrase."""
    row = TABLE[_CODES[code]] if code in _CODES else None
    if row is not None and row.http_status == status:
        return row.title
    return _PHRASES.get(status, "Cancelled")  # 499 has no phrase: no standard knows it


async def send_denial(response: Response, send: Send, /) -> None:
    """Refuse a WebSocket upgrade with a response (the ASGI extension `websocket.http.response`)."""
    await send(
        {"type": "websocket.http.response.start", "status": response.status_code, "headers": response.raw_headers}
    )
    await send({"type": "websocket.http.response.body", "body": bytes(response.body)})
