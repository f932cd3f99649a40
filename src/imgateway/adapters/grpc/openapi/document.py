"""The whole document."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from importlib.metadata import version
from typing import Final

import msgspec
from google.protobuf.descriptor import MethodDescriptor

from imgateway.adapters.grpc.openapi import problems
from imgateway.adapters.grpc.openapi.comments import Comments
from imgateway.adapters.grpc.openapi.operations import SECURITY, Operations
from imgateway.adapters.grpc.openapi.parameters import ANY_REQUEST, HEADERS, Parameters
from imgateway.adapters.grpc.openapi.paths import OpenApiPath, openapi_path
from imgateway.adapters.grpc.openapi.schemas import Schemas
from imgateway.adapters.grpc.openapi.values import Schema
from imgateway.adapters.grpc.routing import Route, RouteTable
from imgateway.adapters.grpc.routing.fields import FieldNames
from imgateway.core.settings_grpc import GrpcSettings

_METHODS: Final = frozenset({"GET", "PUT", "POST", "DELETE", "OPTIONS", "HEAD", "PATCH"})
_ABOUT: Final = (
    "Made from the services' own descriptions. Every request may say in `X-Request-Timeout` how many seconds it may "
    "take, and have a name of its own in `x-request-id`."
)


def document_bytes(table: RouteTable, settings: GrpcSettings, /) -> bytes:
    """The routes of a table as an OpenAPI 3.1 document (JSON); the same routes always give the same bytes.

    Routes for HTTP methods that OpenAPI does not have, and those that it can't tell from one before them, are left
    out, and named in `x-left-out`.

    Args:
        table: the routes, and the files, which alone have the comments.
        settings: how fields are called, and which are the gateway's to set.
    """
    comments, names = Comments(table.files), FieldNames()
    methods = [route.method for route in table.routes]
    roots = [message for method in methods for message in (method.input_type, method.output_type)]
    closed = settings.unknown_fields == "reject"
    schemas = Schemas(roots, comments, settings.field_names, taken=problems.NAMES, closed=closed)
    operations = Operations(schemas, comments, names, settings.identity_fields, Parameters(schemas, names))
    tags = _tags(methods)
    paths, left_out = _paths(table.routes, operations, tags)
    made: Schema = {
        "openapi": "3.1.0",
        "info": {"title": "REST API", "version": version("imgateway"), "description": _ABOUT},
        "tags": [_tag(tag, comments.of(service)) for service, tag in tags.items()],
        "paths": paths,
        "components": {
            "schemas": {**schemas.components, **problems.SCHEMAS},
            "parameters": HEADERS,
            "headers": problems.HEADERS,
            "responses": problems.responses(),
            "securitySchemes": {SECURITY: {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
        },
    }
    if left_out:
        made["x-left-out"] = left_out
    return msgspec.json.encode(made)


def _tags(methods: Iterable[MethodDescriptor]) -> Mapping[str, str]:
    """How services are called, by their full names: short where that tells them apart."""
    services = {method.containing_service.full_name: method.containing_service.name for method in methods}
    counts = Counter(services.values())
    return {service: name if counts[name] == 1 else service for service, name in services.items()}


def _tag(name: str, text: str) -> Schema:
    return {"name": name, "description": text} if text else {"name": name}


def _paths(
    routes: Sequence[Route], operations: Operations, tags: Mapping[str, str]
) -> tuple[dict[str, Schema], list[str]]:
    paths: dict[str, Schema] = {}
    left_out: list[str] = []
    by_shape: dict[str, OpenApiPath] = {}
    used: Counter[str] = Counter()
    for route in routes:
        message, http_method = route.method.input_type, route.rest.http_method
        tag = tags[route.method.containing_service.full_name]
        name = f"{tag}_{route.method.name}"
        # Counted before anything is left out, so that what programs call an operation does not depend on other routes.
        used[name] += 1
        if http_method not in _METHODS:
            left_out.append(f"{http_method} {route.rest.path}: OpenAPI has no such method")
            continue
        path = openapi_path(route.template, partial(operations.parameters.name, message))
        first = by_shape.setdefault(path.shape, path)
        item = paths.setdefault(str(first), {"parameters": list(ANY_REQUEST)})
        if http_method.lower() in item:
            left_out.append(f"{http_method} {route.rest.path}: to OpenAPI it is the same as {first}")
            continue
        operation_id = name if used[name] == 1 else f"{name}_{used[name]}"
        item[http_method.lower()] = operations.of(route, path.named_like(first), operation_id, tag)
    return paths, left_out
