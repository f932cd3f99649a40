"""What the admin port serves."""

import hmac
from collections.abc import Awaitable, Callable

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from imgateway.adapters.prometheus import PrometheusObserver
from imgateway.adapters.starlette import application
from imgateway.adapters.starlette.problems import problem
from imgateway.codes import Code
from imgateway.model import Refusal

Endpoint = Callable[[Request], Awaitable[Response]]


def admin_app(observer: PrometheusObserver, token: str | None) -> Starlette:
    """An application with `/metrics`. With a token every request must show it as `Authorization: Bearer`."""

    async def render() -> tuple[bytes, str]:
        return observer.render()

    return workers_admin_app(render, token)


def workers_admin_app(render: Callable[[], Awaitable[tuple[bytes, str]]], token: str | None) -> Starlette:
    """The same above several workers: `render` gives the metrics of all, and their media type."""

    async def metrics(_: Request) -> Response:
        body, media_type = await render()
        return Response(body, media_type=media_type)

    return application([Route("/metrics", _guarded(metrics, token))])


def _guarded(endpoint: Endpoint, token: str | None) -> Endpoint:
    if token is None:
        return endpoint
    expected = f"Bearer {token}".encode()

    async def guarded(request: Request) -> Response:
        shown = request.headers.get("authorization", "").encode("latin-1")
        if not hmac.compare_digest(shown, expected):
            return problem(Refusal(Code.UNAUTHENTICATED, "The admin token is missing or wrong."))
        return await endpoint(request)

    return guarded
