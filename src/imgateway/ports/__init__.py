"""What the core needs from the world, as protocols; docstrings are the contract, `imgateway.testing` proves it."""

from imgateway.ports.authenticator import Authenticator
from imgateway.ports.balancer import Balancer, RpcStream
from imgateway.ports.broker import DownstreamConsumer, PublishTicket, UpstreamPublisher
from imgateway.ports.clock import Clock
from imgateway.ports.connection import ClientConnection, ConnectionRegistry, Settlement
from imgateway.ports.observer import GatewayObserver
from imgateway.ports.router import DownstreamRouter
from imgateway.ports.services import GatewayOwnership, ServiceRegistrar, ServiceResolver
from imgateway.ports.session_store import SessionStore
from imgateway.ports.transcoder import RestMatch, RestStream, Transcoder
from imgateway.ports.transport import Transport, TransportListener, TransportOffer
from imgateway.wire.codec import Codec

__all__ = [
    "Authenticator",
    "Balancer",
    "ClientConnection",
    "Clock",
    "Codec",
    "ConnectionRegistry",
    "DownstreamConsumer",
    "DownstreamRouter",
    "GatewayObserver",
    "GatewayOwnership",
    "PublishTicket",
    "RestMatch",
    "RestStream",
    "RpcStream",
    "ServiceRegistrar",
    "ServiceResolver",
    "SessionStore",
    "Settlement",
    "Transcoder",
    "Transport",
    "TransportListener",
    "TransportOffer",
    "UpstreamPublisher",
]
