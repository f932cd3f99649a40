"""An application of ours alone: also what its routes don't know is answered with a problem (RFC 9457)."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from inspect import isfunction
from types import MappingProxyType

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, WebSocketRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from imgateway.adapters.starlette.problems import problem_response, send_denial
from imgateway.adapters.starlette.rest import RestMount
from imgateway.codes import Code, HttpCode

_DETAILS = {
    HTTPStatus.NOT_FOUND: (HttpCode.NOT_FOUND, "Nothing is served at this path."),
    HTTPStatus.METHOD_NOT_ALLOWED: (HttpCode.METHOD_NOT_ALLOWED, "This path takes other methods; see Allow."),
    HTTPStatus.INTERNAL_SERVER_ERROR: (HttpCode.INTERNAL, "The server has failed; its log says how."),
}


def application(routes: Sequence[BaseRoute], /) -> Starlette:
    """An application of these routes whose own errors are problems: 404, 405 with `Allow`, and 500.

    So is the refusal of a WebSocket on an unknown path, where the server can deny an upgrade with a response.
    """
    app = _Application(routes=routes, exception_handlers={HTTPException: _refused, Exception: _failed})
    app.router.default = _unknown
    app.sockets = {
        route.path: route.app
        for route in routes
        if isinstance(route, WebSocketRoute) and not route.param_convertors and not isfunction(route.endpoint)
    }
    app.rest = next((route for route in routes if isinstance(route, RestMount) and route.prefix), None)
    return app


class _Application(Starlette):
    """Gives upgrades and REST straight to their endpoints.

    What Starlette does in between is a tenth of a connect, and more than all that REST itself does.

    Attributes:
        sockets: endpoints that are ASGI applications, by the path of their route.
        rest: where REST is; nothing else is served below its prefix.
    """

    sockets: Mapping[str, ASGIApp] = MappingProxyType({})
    rest: RestMount | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket" and (endpoint := self.sockets.get(scope["path"])) is not None:
            scope["app"] = self
            await endpoint(scope, receive, send)
        elif (
            (rest := self.rest) is not None
            and scope["type"] == "http"
            and not scope.get("root_path")
            and rest.covers(scope["path"])
        ):
            await rest.app(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


async def _refused(_: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    return _problem(HTTPStatus(error.status_code), dict(error.headers or {}), error.detail)


async def _failed(_: Request, __: Exception) -> Response:
    # What it was is raised on, for the server to log.
    return _problem(HTTPStatus.INTERNAL_SERVER_ERROR, {})


async def _unknown(scope: Scope, receive: Receive, send: Send) -> None:
    response = _problem(HTTPStatus.NOT_FOUND, {})
    if scope["type"] == "http":
        await response(scope, receive, send)
        return
    await receive()  # `websocket.connect`
    if "websocket.http.response" in (scope.get("extensions") or {}):
        await send_denial(response, send)
    else:
        # The server can't do better: it answers 403 whatever the reason.
        await send({"type": "websocket.close"})


def _problem(status: HTTPStatus, headers: dict[str, str], detail: str = "") -> Response:
    code, words = _DETAILS.get(status, (Code.INVALID_MESSAGE, detail))
    return problem_response(status, status.phrase, words, code, headers | {"Cache-Control": "no-store"})
