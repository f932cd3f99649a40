"""The description of the routes, for programs."""

from collections.abc import Awaitable, Callable
from hashlib import sha256

import anyio.to_thread
from starlette.requests import Request
from starlette.responses import Response

from imgateway.adapters.starlette.problems import problem
from imgateway.codes import Code
from imgateway.core.gateway import Gateway
from imgateway.model import Refusal
from imgateway.rpc import NOT_KNOWN_YET


def openapi_document(gateway: Gateway, /) -> Callable[[Request], Awaitable[Response]]:
    """An endpoint for `/openapi.json`: the document, 304 to who has it, 503 while no routes are known."""
    known: tuple[bytes, str] = (b"", "")

    async def endpoint(request: Request) -> Response:
        nonlocal known
        transcoder = gateway.transcoder
        if transcoder is None or not transcoder.loaded:
            return problem(Refusal(Code.UNAVAILABLE, NOT_KNOWN_YET.detail, retry_after=NOT_KNOWN_YET.retry_after))
        # In a thread: to describe a large API takes its time, and clients shall not wait for it.
        document = await anyio.to_thread.run_sync(transcoder.openapi)
        if document is not known[0]:
            known = document, f'"{sha256(document).hexdigest()[:32]}"'
        etag = known[1]
        headers = {"ETag": etag, "Cache-Control": "no-cache"}
        asked = request.headers.get("if-none-match", "")
        # Weak comparison (RFC 9110 section 13.1.2): of the same bytes a proxy may have made a weak tag.
        tags = {tag.strip().removeprefix("W/") for tag in asked.split(",")}
        if etag in tags or asked.strip() == "*":
            return Response(status_code=304, headers=headers)
        return Response(document, headers=headers, media_type="application/json")

    return endpoint
