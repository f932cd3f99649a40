"""What a request carries outside of its body, as OpenAPI parameters."""

from collections.abc import Collection, Iterator
from typing import Final

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from imgateway.adapters.grpc.openapi.paths import OpenApiPath, PathParameter
from imgateway.adapters.grpc.openapi.schemas import Schemas
from imgateway.adapters.grpc.openapi.values import Schema, is_text
from imgateway.adapters.grpc.routing.fields import FieldNames, FieldPath, numbers, overlap

DEEPEST: Final = 3
"""Fields within fields beyond that are not listed as parameters of a query; they are taken all the same."""


def path_parameters(path: OpenApiPath, message: Descriptor, names: FieldNames, schemas: Schemas, /) -> list[Schema]:
    """The parameters of a path, in its order."""
    return [_path_parameter(parameter, message, names, schemas) for parameter in path.parameters]


def query_parameters(
    message: Descriptor, bound: Collection[FieldPath], hidden: Collection[str], schemas: Schemas, /
) -> list[Schema]:
    """The fields of a request that go into its query.

    Args:
        message: the request.
        bound: fields that the path or the body has.
        hidden: top-level fields that are the gateway's to set.
        schemas: makes the values' schemas.
    """
    taken = [numbers(path) for path in bound]
    fields = [field for field in message.fields if field.name not in hidden and field.json_name not in hidden]
    return list(_query(fields, (), taken, schemas))


def _path_parameter(parameter: PathParameter, message: Descriptor, names: FieldNames, schemas: Schemas) -> Schema:
    made: Schema = {"name": parameter.name, "in": "path", "required": True}
    variable = parameter.variable
    if variable is None:
        return {**made, "schema": {"type": "string", "minLength": 1}}
    field = names.path(message, variable.field_path)[-1]
    described = schemas.field(field)
    notes = [described.get("description", "")]
    if parameter.rest:
        notes.append("May be several segments, with slashes between them.")
    if text := "\n\n".join(filter(None, notes)):
        made["description"] = text
    schema = schemas.single(field) if parameter.whole and not parameter.rest else {"type": "string"}
    if schema.get("type") == "string" and not parameter.rest:
        schema = {**schema, "minLength": 1}
    return {**made, "schema": schema}


def _query(
    fields: list[FieldDescriptor], outer: FieldPath, taken: list[tuple[int, ...]], schemas: Schemas
) -> Iterator[Schema]:
    for field in fields:
        path = (*outer, field)
        here = numbers(path)
        message = field.message_type
        if any(overlap(here, other) and len(other) <= len(here) for other in taken):
            continue
        if message is None or is_text(message.full_name):
            yield _query_parameter(path, schemas)
        elif not field.is_repeated and message not in {f.containing_type for f in path} and len(path) < DEEPEST:
            yield from _query(list(message.fields), path, taken, schemas)


def _query_parameter(path: FieldPath, schemas: Schemas) -> Schema:
    field = path[-1]
    described = schemas.field(field)
    made: Schema = {"name": ".".join(schemas.name(part) for part in path), "in": "query"}
    if "description" in described:
        made["description"] = described["description"]
    if described.get("deprecated"):
        made["deprecated"] = True
    return {**made, "schema": schemas.value(field)}
