"""A FastAPI application with a lifespan of its own, metrics for Prometheus, and a gateway. See docs/how-to/embed.md.

CHAT_SECRET=… uvicorn --app-dir examples embed_fastapi:app
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Response

from imgateway import AuthSettings, ConnectionSettings, Settings, UserId
from imgateway.adapters.jwt import JwtAuthenticator
from imgateway.adapters.memory import Embedded
from imgateway.adapters.prometheus import PrometheusObserver
from imgateway.adapters.starlette import gateway_routes

settings = Settings(
    auth=AuthSettings(secret=os.environ["CHAT_SECRET"], issuer="https://login.example.com"),
    connections=ConnectionSettings(max_per_user=3),
)
embedded = Embedded()
observer = PrometheusObserver()
gateway = embedded.gateway(JwtAuthenticator.from_settings(settings.auth), settings, observer)


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """What the application needs while it runs; the gateway is entered last and left first."""
    async with gateway:
        yield
        await gateway.drain()


app = FastAPI(lifespan=lifespan)
app.router.routes.extend(gateway_routes(gateway))


@app.get("/online/{user_id}")
async def online(user_id: str) -> dict[str, list[str | None]]:
    """From which devices a user is connected."""
    records = await embedded.sessions.lookup(UserId(user_id))
    return {"devices": [record.device_id for record in records]}


@app.get("/metrics")
async def metrics() -> Response:
    """The gateway's metrics: for operators, so keep it from the public."""
    body, media_type = observer.render()
    return Response(body, media_type=media_type)
