"""Answers that are given before any application is asked."""

import json
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus

from imgateway.codes import Code, HttpCode

_CODES: Mapping[HTTPStatus, Code | HttpCode] = {
    HTTPStatus.METHOD_NOT_ALLOWED: HttpCode.METHOD_NOT_ALLOWED,
    HTTPStatus.INTERNAL_SERVER_ERROR: HttpCode.INTERNAL,
    HTTPStatus.SERVICE_UNAVAILABLE: Code.DRAINING,
}

Headers = Sequence[tuple[bytes, bytes]]


def problem_response(status: HTTPStatus, detail: str, headers: Iterable[tuple[bytes, bytes]] = (), /) -> bytes:
    """A whole HTTP/1.1 response with a problem body (RFC 9457), the last one of its connection."""
    problem = {
        "type": "about:blank",
        "title": status.phrase,
        "status": status.value,
        "detail": detail,
        "code": _CODES.get(status, Code.INVALID_MESSAGE).value,
    }
    lines = [*headers, (b"content-type", b"application/problem+json")]
    return response(status.value, lines, json.dumps(problem).encode())


def response(status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes, /) -> bytes:
    """A whole HTTP/1.1 response, the last one of its connection; `content-length` and `connection` are set here."""
    lines = [(name, value) for name, value in headers if name.lower() not in (b"content-length", b"connection")]
    lines += [(b"content-length", str(len(body)).encode()), (b"connection", b"close")]
    return head(status, lines) + body


def head(status: int, headers: Iterable[tuple[bytes, bytes]], /) -> bytes:
    """A status line and header lines.

    Raises:
        ValueError: a header has a line break.
    """
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = ""
    lines = [b"%s: %s" % line for line in headers]
    if any(b"\n" in line or b"\r" in line for line in lines):
        raise ValueError("a header has a line break")
    return b"\r\n".join([f"HTTP/1.1 {status} {phrase}".encode(), *lines, b"", b""])
