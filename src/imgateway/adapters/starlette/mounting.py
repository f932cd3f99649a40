"""What an application adds to itself to become a gateway."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from importlib.resources import files
from typing import Any

from starlette.routing import BaseRoute, Route, WebSocketRoute

from imgateway.adapters.starlette.endpoint import WebSocketEndpoint
from imgateway.adapters.starlette.health import healthz, readyz, upgrade_required
from imgateway.adapters.starlette.rest import RestApplication, RestMount, openapi_document
from imgateway.adapters.starlette.static_page import static_page
from imgateway.core.gateway import Gateway


def gateway_routes(gateway: Gateway, *, path: str = "/ws") -> list[BaseRoute]:
    """Routes for clients: the WebSocket at `path`, `/healthz` and `/readyz`.

    With `[grpc]` also REST, `/openapi.json` and `/docs`. An empty `grpc.prefix` takes every path that no route before
    it has.

    Add `gateway_lifespan` too, or enter the gateway in a lifespan of your own.
    """
    routes: list[BaseRoute] = [
        WebSocketRoute(path, WebSocketEndpoint(gateway)),
        Route(path, upgrade_required),
        Route("/healthz", healthz),
        Route("/readyz", readyz(gateway)),
    ]
    grpc = gateway.settings.grpc
    if grpc is not None:
        routes.append(Route("/openapi.json", openapi_document(gateway)))
        routes += static_page(files(__package__).joinpath("docs_page"), path="/docs", below="/docs")
        routes.append(RestMount(RestApplication(gateway, grpc), grpc.prefix))
    return routes


def gateway_lifespan(gateway: Gateway) -> Callable[[Any], AbstractAsyncContextManager[None]]:
    """A lifespan that runs the gateway with the application, and drains it when the application ends."""

    @asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[None]:
        async with gateway:
            yield
            await gateway.drain()

    return lifespan
