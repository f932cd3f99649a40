"""Serving with uvicorn: connections that hand out their socket, limits before the upgrade, a server to embed."""

from imgateway.adapters.uvicorn.http import GatewayHttpProtocol
from imgateway.adapters.uvicorn.server import BoundServer, Doors, server_config, serving, serving_by_doors
from imgateway.adapters.uvicorn.websocket import GatewayWebSocketProtocol, frame_parser

__all__ = [
    "BoundServer",
    "Doors",
    "GatewayHttpProtocol",
    "GatewayWebSocketProtocol",
    "frame_parser",
    "server_config",
    "serving",
    "serving_by_doors",
]
