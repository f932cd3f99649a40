"""The routes as an OpenAPI 3.1 document, made from descriptors alone."""

from imgateway.adapters.grpc.openapi.document import document_bytes

__all__ = ["document_bytes"]
