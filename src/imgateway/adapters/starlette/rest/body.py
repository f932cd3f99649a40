"""A request's body, within its bounds."""

import asyncio

from imgateway.adapters.starlette.rest.exchange import Exchange
from imgateway.adapters.starlette.rest.negotiation import is_json
from imgateway.adapters.starlette.rest.refusals import NOT_JSON, TOO_SLOW, invalid, too_large
from imgateway.rpc import RestProblem


def announced_problem(exchange: Exchange, max_bytes: int, /) -> RestProblem | None:
    """What is wrong with a body by its head alone."""
    headers = exchange.headers
    coding = headers.get(b"content-encoding", b"identity").lower()  # RFC 9110 section 8.4.1
    if not is_json(headers.get(b"content-type")) or coding != b"identity":
        return NOT_JSON
    if not exchange.repeated.isdisjoint((b"content-type", b"content-encoding")):
        return invalid("Content-Type and Content-Encoding must not be repeated.")
    length = headers.get(b"content-length", b"0")
    if not length.isdigit():
        return invalid("Content-Length must be a number.")
    return too_large(max_bytes) if len(length) > 18 or int(length) > max_bytes else None


async def read_body(exchange: Exchange, max_bytes: int, seconds: float, /) -> bytes | RestProblem | None:
    """The whole body; None where the client left before its end. A problem ends the connection."""
    received = 0
    pieces: list[bytes] = []
    try:
        async with asyncio.timeout(seconds):
            while True:
                message = await exchange.receive()
                if message["type"] == "http.disconnect":
                    return None
                piece = message.get("body", b"")
                if not message.get("more_body", False):
                    if received + len(piece) > max_bytes:
                        break
                    return b"".join((*pieces, piece)) if pieces else piece
                received += len(piece)
                if received > max_bytes:
                    break
                pieces.append(piece)
    except TimeoutError:
        exchange.closing = True
        return TOO_SLOW
    exchange.closing = exchange.lingering = True
    return too_large(max_bytes)


def leave_unread(exchange: Exchange, max_bytes: int, /) -> None:
    """Let what is left of the body be, whose answer comes now; where the connection ends with it, after lingering."""
    if not exchange.has_body or exchange.read:
        return
    if _is_too_long_to_skip(exchange, max_bytes):
        exchange.closing = exchange.lingering = True
    elif exchange.ends:
        exchange.lingering = True


def _is_too_long_to_skip(exchange: Exchange, max_bytes: int) -> bool:
    """Whether so much of the body is unread that the connection had better end.

    A short rest is the server's to skip. With `Expect: 100-continue` nobody knows whether a body will come
    (RFC 9110 section 10.1.1).
    """
    headers = exchange.headers
    if b"transfer-encoding" in headers or b"expect" in headers:
        return True
    length = headers.get(b"content-length", b"0")
    return len(length) > 18 or not length.isdigit() or int(length) > max_bytes
