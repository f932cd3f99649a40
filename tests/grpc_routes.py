"""Route tables of the protos of the tests, and what their requests hold."""

from typing import Any

from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from tests.grpc_protos import descriptors

from imgateway.adapters.grpc.routing import Route, RouteTable
from imgateway.adapters.grpc.schema import Loaded
from imgateway.adapters.grpc.schema.files import completed, load
from imgateway.core.settings_grpc import GrpcServiceSettings, GrpcSettings

EVERYWHERE = {"*": GrpcServiceSettings(target="127.0.0.1:1")}


def table(*names: str, **settings: Any) -> RouteTable:
    """The routes of some protos, `library.proto` alone if none is named; every service has a target."""
    return table_of(descriptors(*(names or ("library.proto",))), **settings)


def table_of(files: FileDescriptorSet, **settings: Any) -> RouteTable:
    """The routes of some files; every service has a target."""
    return RouteTable.build(loaded(files), GrpcSettings(**({"services": EVERYWHERE} | settings)))


def loaded(files: FileDescriptorSet) -> Loaded:
    """The files, and what everybody has."""
    return load(completed(files.file).files)


def route(routes: RouteTable, http_method: str, path: str) -> Route:
    """The one route found."""
    found = routes.find(http_method, path)
    assert isinstance(found, tuple), f"only {sorted(found)}"
    return found[0]


def bound(routes: RouteTable, http_method: str, target: str, body: bytes = b"", user_id: str | None = "u-1") -> Message:
    """The request that an HTTP request becomes."""
    path, _, query = target.partition("?")
    found = routes.find(http_method, path)
    assert isinstance(found, tuple), f"only {sorted(found)}"
    chosen, captures = found
    raw = chosen.request(captures, query, body, user_id)
    message: Message = GetMessageClass(chosen.method.input_type).FromString(raw)
    return message
