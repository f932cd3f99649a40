"""What a request carries outside of its body, as OpenAPI parameters."""

from collections.abc import Collection, Iterator
from itertools import islice
from typing import Final

import attrs
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from imgateway.adapters.grpc.codec.scalars import NULL_VALUE
from imgateway.adapters.grpc.openapi.paths import OpenApiPath, PathParameter
from imgateway.adapters.grpc.openapi.schemas import Schemas
from imgateway.adapters.grpc.openapi.values import Schema, has_own_form, is_text
from imgateway.adapters.grpc.routing import Variable, Wildcard
from imgateway.adapters.grpc.routing.fields import FieldNames, FieldPath, numbers

MAX_QUERY_DEPTH: Final = 4
"""Fields within fields beyond that are not listed as parameters of a query; they are taken all the same."""

MAX_QUERY_PARAMETERS: Final = 200
"""How many parameters of a query are listed."""

HEADERS: Final[dict[str, Schema]] = {
    "X-Request-Timeout": {
        "name": "X-Request-Timeout",
        "in": "header",
        "description": "How long the call may take, in seconds. `Grpc-Timeout` is understood as well.",
        "schema": {"type": "string", "pattern": r"^(0\.[0-9]{0,8}[1-9]|[1-9][0-9]{0,8}(\.[0-9]{1,9})?)$"},
        "example": "2.5",
    },
    "x-request-id": {
        "name": "x-request-id",
        "in": "header",
        "description": "Names the request in logs; the gateway makes one up where none is given.",
        "schema": {"type": "string", "pattern": "^[!-~]{1,128}$"},
    },
}
"""What every request may have, by the names under `components`."""

ANY_REQUEST: Final[tuple[Schema, ...]] = tuple({"$ref": f"#/components/parameters/{name}"} for name in HEADERS)
"""References to them."""


@attrs.frozen
class Parameters:
    """Makes the parameters of operations."""

    schemas: Schemas
    names: FieldNames

    def name(self, message: Descriptor, variable: Variable, /) -> str:
        """A variable of a path as the document calls it."""
        return self._joined(self.names.path(message, variable.field_path))

    def in_path(self, path: OpenApiPath, message: Descriptor, hidden: Collection[FieldDescriptor], /) -> list[Schema]:
        """The parameters of a path, in its order.

        Args:
            path: their path.
            message: the request.
            hidden: top-level fields that are the gateway's to set.
        """
        return [self._in_path(parameter, message, hidden) for parameter in path.parameters]

    def in_query(
        self, message: Descriptor, in_path: Collection[FieldPath], elsewhere: Collection[FieldPath], /
    ) -> list[Schema]:
        """The fields of a request that go into its query.

        Args:
            message: the request.
            in_path: fields that the path has.
            elsewhere: further ones that the query can't have: of the body, and the gateway's to set.
        """
        taken = [numbers(path) for path in (*in_path, *elsewhere)]
        leaves = islice(_leaves(message, (), taken), MAX_QUERY_PARAMETERS)
        return [self._in_query(path, in_path) for path in leaves]

    def _joined(self, path: FieldPath) -> str:
        return ".".join(map(self._name, path))

    def _name(self, field: FieldDescriptor) -> str:
        """As the document calls it, but where the gateway would find another field by that, or none."""
        name = self.schemas.name(field)
        found = field.containing_type and self.names.field(field.containing_type, name)
        return name if found and found.number == field.number and "." not in name else field.name

    def _field(self, path: FieldPath) -> Schema:
        """A field without what only a body can mean."""
        field = path[-1]
        schema = self.schemas.field(field)
        if field.enum_type is not None and field.enum_type.full_name == NULL_VALUE:
            name = {"type": "string", "enum": ["NULL_VALUE"]}
            schema |= {"items": name} if field.is_repeated else name
        return {key: value for key, value in schema.items() if key not in ("readOnly", "writeOnly")}

    def _in_path(self, parameter: PathParameter, message: Descriptor, hidden: Collection[FieldDescriptor]) -> Schema:
        made: Schema = {"name": parameter.name, "in": "path", "required": True}
        schema: Schema = {"type": "string"}
        notes = []
        if (variable := parameter.variable) is not None:
            path = self.names.path(message, variable.field_path)
            described = self._field(path)
            notes.append(described.pop("description", ""))
            if parameter.whole and not parameter.rest:
                schema = described
            name = self._joined(path)
            if not parameter.whole:
                pattern = "/".join(s.value if isinstance(s, Wildcard) else s for s in variable.pattern)
                notes.append(f"A part of `{name}`, which is `{pattern}`.")
            elif parameter.name != name:
                notes.append(f"The field `{name}`.")
            if len(path) == 1 and path[0] in hidden:
                notes.append("Always taken from the token, whatever stands here.")
        if parameter.rest:
            notes.append("May be several segments, with slashes between them.")
            made["x-several-segments"] = True
        elif schema.get("type") == "string" and "enum" not in schema:
            schema["minLength"] = 1
        if text := "\n\n".join(filter(None, notes)):
            made["description"] = text
        return {**made, "schema": schema}

    def _in_query(self, path: FieldPath, in_path: Collection[FieldPath]) -> Schema:
        schema = self._field(path)
        made: Schema = {"name": self._joined(path), "in": "query"}
        if _is_required(path, in_path):
            made["required"] = True
        notes = [schema.pop("description", "")]
        if path[-1].is_required and "required" not in made:
            notes.append(f"Required with any other field of `{self._joined(path[:-1])}`.")
        if text := "\n\n".join(filter(None, notes)):
            made["description"] = text
        if schema.pop("deprecated", False):
            made["deprecated"] = True
        if path[-1].is_repeated:
            made |= {"style": "form", "explode": True}
        return {**made, "schema": schema}


def _is_required(path: FieldPath, in_path: Collection[FieldPath]) -> bool:
    """Whether there is no request without a field: all that it is in are always there, required or by the path."""
    if not path[-1].is_required:
        return False
    given = {numbers(other[:end]) for other in in_path for end in range(1, len(other))}
    return all(path[end - 1].is_required or numbers(path[:end]) in given for end in range(1, len(path)))


def _leaves(message: Descriptor, outer: FieldPath, taken: list[tuple[int, ...]]) -> Iterator[FieldPath]:
    for field in message.fields:
        path = (*outer, field)
        here = numbers(path)
        inner = field.message_type
        if any(here[: len(other)] == other for other in taken):
            continue
        if inner is None or is_text(inner.full_name):
            yield path
        elif (
            not field.is_repeated
            and len(path) < MAX_QUERY_DEPTH
            and not has_own_form(inner.full_name)
            and all(inner != each.containing_type for each in path)
        ):
            yield from _leaves(inner, path, taken)
