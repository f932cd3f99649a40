"""What a request carries outside of its body, as OpenAPI parameters."""

from collections.abc import Collection, Iterator
from itertools import islice
from typing import Final

import attrs
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from imgateway.adapters.grpc.openapi.paths import OpenApiPath, PathParameter
from imgateway.adapters.grpc.openapi.schemas import Schemas
from imgateway.adapters.grpc.openapi.values import Schema, is_text, well_known
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

    def in_query(self, message: Descriptor, bound: Collection[FieldPath], /) -> list[Schema]:
        """The fields of a request that go into its query.

        Args:
            message: the request.
            bound: fields that the path or the body has, or that are the gateway's to set.
        """
        taken = [numbers(path) for path in bound]
        return [self._in_query(path) for path in islice(_leaves(message, (), taken), MAX_QUERY_PARAMETERS)]

    def _joined(self, path: FieldPath) -> str:
        return ".".join(map(self.schemas.name, path))

    def _field(self, path: FieldPath) -> Schema:
        """A field without what only a body can mean."""
        schema = self.schemas.field(path[-1])
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
        elif schema.get("type") == "string" and "pattern" not in schema:
            schema["minLength"] = 1
        if text := "\n\n".join(filter(None, notes)):
            made["description"] = text
        return {**made, "schema": schema}

    def _in_query(self, path: FieldPath) -> Schema:
        schema = self._field(path)
        made: Schema = {"name": self._joined(path), "in": "query"}
        if "description" in schema:
            made["description"] = schema.pop("description")
        if schema.pop("deprecated", False):
            made["deprecated"] = True
        if path[-1].is_repeated:
            made |= {"style": "form", "explode": True}
        return {**made, "schema": schema}


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
            and well_known(inner.full_name) is None
            and all(inner != each.containing_type for each in path)
        ):
            yield from _leaves(inner, path, taken)
