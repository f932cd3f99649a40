"""gRPC services behind the gateway: REST and clients' calls transcoded by their descriptors."""
