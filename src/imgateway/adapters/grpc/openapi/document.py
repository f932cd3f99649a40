"""The whole document."""

from collections import Counter
from collections.abc import Sequence
from importlib.metadata import version
from typing import Final

import msgspec
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from imgateway.adapters.grpc.openapi.comments import Comments
from imgateway.adapters.grpc.openapi.operations import PROBLEM, SECURITY, Operations
from imgateway.adapters.grpc.openapi.paths import OpenApiPath, openapi_path
from imgateway.adapters.grpc.openapi.schemas import Schemas
from imgateway.adapters.grpc.openapi.values import Schema
from imgateway.adapters.grpc.routing import Route, RouteTable
from imgateway.adapters.grpc.routing.fields import FieldNames
from imgateway.core.settings_grpc import GrpcSettings

_METHODS: Final = frozenset({"GET", "PUT", "POST", "DELETE", "OPTIONS", "HEAD", "PATCH"})
_ABOUT: Final = (
    "Made from the services' own descriptors. A request may name its time in seconds in `X-Request-Timeout`, and "
    "itself in `x-request-id`, which every answer repeats."
)
_PROBLEM: Final[Schema] = {
    "type": "object",
    "description": "Why there is no answer (RFC 9457).",
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "For people."},
        "code": {"type": "string", "description": "For programs: gRPC's status name where the service refused."},
        "details": {
            "type": "array",
            "description": "google.rpc's error details.",
            "items": {"type": "object", "properties": {"@type": {"type": "string"}}, "additionalProperties": True},
        },
    },
    "required": ["code"],
}


def document_bytes(table: RouteTable, descriptors: FileDescriptorSet, settings: GrpcSettings, /) -> bytes:
    """The routes of a table as an OpenAPI 3.1 document (JSON); the same routes always give the same bytes.

    Routes for any HTTP method, and those that OpenAPI can't tell from one before them, are left out.

    Args:
        table: the routes.
        descriptors: what the table was made from: comments are only there.
        settings: how fields are called, and which are the gateway's to set.
    """
    comments, names = Comments(descriptors), FieldNames()
    routes = [route for route in table.routes if route.rest.http_method in _METHODS]
    roots = [message for route in routes for message in (route.method.input_type, route.method.output_type)]
    schemas = Schemas(roots, comments, settings.field_names, taken=(PROBLEM,))
    operations = Operations(schemas, comments, names, settings.identity_fields)
    paths = _paths(routes, operations)
    tags: dict[str, str] = {}
    for route in routes:
        service = route.method.containing_service
        tags.setdefault(service.name, comments.of(service.full_name))
    made: Schema = {
        "openapi": "3.1.0",
        "info": {"title": "REST API", "version": version("imgateway"), "description": _ABOUT},
        "servers": [{"url": "/"}],
        "tags": [{"name": name, "description": text} if text else {"name": name} for name, text in tags.items()],
        "paths": paths,
        "components": {
            "schemas": {**schemas.components, PROBLEM: _PROBLEM},
            "headers": {"RequestId": {"description": "Names the request in logs.", "schema": {"type": "string"}}},
            "responses": {
                PROBLEM: {
                    "description": "There is no answer; `code` says why.",
                    "headers": {
                        "x-request-id": {"$ref": "#/components/headers/RequestId"},
                        "Retry-After": {
                            "description": "Seconds after which to try again, where that helps.",
                            "schema": {"type": "integer"},
                        },
                    },
                    "content": {"application/problem+json": {"schema": {"$ref": f"#/components/schemas/{PROBLEM}"}}},
                }
            },
            "securitySchemes": {SECURITY: {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
        },
    }
    return msgspec.json.encode(made)


def _paths(routes: Sequence[Route], operations: Operations) -> Schema:
    paths: dict[str, Schema] = {}
    by_shape: dict[str, OpenApiPath] = {}
    used: Counter[str] = Counter()
    for route in routes:
        path = openapi_path(route.template)
        first = by_shape.setdefault(path.shape, path)
        item = paths.setdefault(str(first), {})
        method = route.rest.http_method.lower()
        if method in item:
            continue
        name = f"{route.method.containing_service.name}_{route.method.name}"
        used[name] += 1
        operation_id = name if used[name] == 1 else f"{name}_{used[name]}"
        item[method] = operations.of(route, path.named_like(first), operation_id)
    return {path: item for path, item in paths.items() if item}
