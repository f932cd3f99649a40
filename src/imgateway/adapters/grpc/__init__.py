"""gRPC services behind the gateway: REST and clients' calls transcoded by their descriptors."""

from imgateway.adapters.grpc.transcoder import GrpcTranscoder

__all__ = ["GrpcTranscoder"]
