"""Calls spread over the instances of a service."""

from imgateway.adapters.grpc.balancing.balancer import GrpcBalancer
from imgateway.adapters.grpc.balancing.instances import Discovered, Instances, StaticTarget
from imgateway.adapters.grpc.balancing.tls import TlsFiles, channel_maker

__all__ = ["Discovered", "GrpcBalancer", "Instances", "StaticTarget", "TlsFiles", "channel_maker"]
