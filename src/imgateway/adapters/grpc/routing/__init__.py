"""Routes of REST to methods of gRPC services, by the rules in their proto files (google/api/http.proto)."""

from imgateway.adapters.grpc.routing.identity import IdentityError
from imgateway.adapters.grpc.routing.message_call import MessageCall
from imgateway.adapters.grpc.routing.route import Route
from imgateway.adapters.grpc.routing.table import RouteTable
from imgateway.adapters.grpc.routing.template import PathTemplate, Variable, Wildcard
from imgateway.adapters.grpc.routing.trie import Captures

__all__ = [
    "Captures",
    "IdentityError",
    "MessageCall",
    "PathTemplate",
    "Route",
    "RouteTable",
    "Variable",
    "Wildcard",
]
