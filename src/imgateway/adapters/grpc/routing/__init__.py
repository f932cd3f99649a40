"""Routes of REST to methods of gRPC services, by the rules in their proto files (google/api/http.proto)."""

from imgateway.adapters.grpc.routing.calls import MessageCall
from imgateway.adapters.grpc.routing.identity import IdentityError
from imgateway.adapters.grpc.routing.route import Route
from imgateway.adapters.grpc.routing.rules import ANY_METHOD
from imgateway.adapters.grpc.routing.table import RouteTable
from imgateway.adapters.grpc.routing.template import PathTemplate, Segment, Variable, Wildcard
from imgateway.adapters.grpc.routing.trie import Captures

__all__ = [
    "ANY_METHOD",
    "Captures",
    "IdentityError",
    "MessageCall",
    "PathTemplate",
    "Route",
    "RouteTable",
    "Segment",
    "Variable",
    "Wildcard",
]
