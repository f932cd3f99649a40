"""The gateway as routes of a Starlette application, on any ASGI server."""

from imgateway.adapters.starlette.application import application
from imgateway.adapters.starlette.mounting import gateway_lifespan, gateway_routes

__all__ = ["application", "gateway_lifespan", "gateway_routes"]
