"""For those who extend imgateway: a contract suite for every port, fault wrappers, a virtual clock."""

from imgateway.testing.authenticator import AuthenticatorSuite
from imgateway.testing.balancer import BalancerSuite, BalancerUnderTest
from imgateway.testing.clock import ClockSuite, VirtualClock
from imgateway.testing.codec import CodecSuite
from imgateway.testing.connection import ClientConnectionSuite, ConnectionUnderTest, RecordingSettlement
from imgateway.testing.connections import RecordingConnection
from imgateway.testing.consumer import ConsumerUnderTest, DownstreamConsumerSuite
from imgateway.testing.faults import FaultyPublisher, FaultySessionStore
from imgateway.testing.observer import GatewayObserverSuite
from imgateway.testing.ownership import GatewayOwnershipSuite, Rivals
from imgateway.testing.publisher import PublisherUnderTest, RecordingTicket, UpstreamPublisherSuite
from imgateway.testing.registry import ConnectionRegistrySuite
from imgateway.testing.router import DownstreamRouterSuite, RouterUnderTest
from imgateway.testing.running import assert_caught, failures
from imgateway.testing.services import Discovery, ServiceRegistrarSuite, ServiceResolverSuite
from imgateway.testing.sessions import SessionStoreSuite
from imgateway.testing.suite import ContractSuite
from imgateway.testing.transcoder import TranscoderSuite, TranscoderUnderTest
from imgateway.testing.transport import TransportSuite

__all__ = [
    "AuthenticatorSuite",
    "BalancerSuite",
    "BalancerUnderTest",
    "ClientConnectionSuite",
    "ClockSuite",
    "CodecSuite",
    "ConnectionRegistrySuite",
    "ConnectionUnderTest",
    "ConsumerUnderTest",
    "ContractSuite",
    "Discovery",
    "DownstreamConsumerSuite",
    "DownstreamRouterSuite",
    "FaultyPublisher",
    "FaultySessionStore",
    "GatewayObserverSuite",
    "GatewayOwnershipSuite",
    "PublisherUnderTest",
    "RecordingConnection",
    "RecordingSettlement",
    "RecordingTicket",
    "Rivals",
    "RouterUnderTest",
    "ServiceRegistrarSuite",
    "ServiceResolverSuite",
    "SessionStoreSuite",
    "TranscoderSuite",
    "TranscoderUnderTest",
    "TransportSuite",
    "UpstreamPublisherSuite",
    "VirtualClock",
    "assert_caught",
    "failures",
]
