"""Is it alive, is it ready, and what is a plain request to the WebSocket's path told?"""

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from imgateway.adapters.starlette.handshake import redact_token
from imgateway.adapters.starlette.problems import problem_response
from imgateway.codes import Code
from imgateway.core.gateway import Gateway


async def healthz(_: Request) -> Response:
    """200 as long as the process serves requests."""
    return JSONResponse({"status": "ok"})


def readyz(gateway: Gateway, elsewhere: Callable[[], bool] = lambda: False) -> Callable[[Request], Awaitable[Response]]:
    """200 while clients are welcome, else 503 with the parts that are not fine.

    Args:
        gateway: the one that is asked.
        elsewhere: whether clients are welcome at another one on the same port, to which the next connection goes.
    """

    async def endpoint(_: Request) -> Response:
        failing = [part for part, fine in gateway.readiness().items() if not fine]
        if failing and not elsewhere():
            return JSONResponse({"status": "not ready", "failing": failing}, 503)
        return JSONResponse({"status": "ready", "failing": []})

    return endpoint


async def upgrade_required(request: Request) -> Response:
    """426 (RFC 9110 section 15.5.22): this path speaks WebSocket only."""
    redact_token(request.scope)
    headers = {"Upgrade": "websocket", "Connection": "Upgrade"}
    return problem_response(426, "Upgrade Required", "This path speaks WebSocket.", Code.INVALID_MESSAGE, headers)
