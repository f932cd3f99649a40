"""Refusals as HTTP: problem details (RFC 9457)."""

import json
from collections.abc import Mapping

from starlette.responses import Response
from starlette.types import Send

from imgateway.codes import TABLE, Code, HttpCode
from imgateway.model import Refusal

MEDIA_TYPE = "application/problem+json"


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
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail, "code": code.value}
    return Response(json.dumps(body), status, headers, MEDIA_TYPE)


async def send_denial(response: Response, send: Send, /) -> None:
    """Refuse a WebSocket upgrade with a response (the ASGI extension `websocket.http.response`)."""
    await send(
        {"type": "websocket.http.response.start", "status": response.status_code, "headers": response.raw_headers}
    )
    await send({"type": "websocket.http.response.body", "body": bytes(response.body)})
