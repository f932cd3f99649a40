"""A route as an operation."""

from collections.abc import Collection, Iterator
from typing import Final

import attrs
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from imgateway.adapters.grpc.openapi.comments import Comments, summary
from imgateway.adapters.grpc.openapi.parameters import Parameters
from imgateway.adapters.grpc.openapi.paths import OpenApiPath
from imgateway.adapters.grpc.openapi.problems import REQUEST_ID, STREAM_ERROR, refusals_of
from imgateway.adapters.grpc.openapi.schemas import Schemas
from imgateway.adapters.grpc.openapi.values import Schema
from imgateway.adapters.grpc.routing import Route
from imgateway.adapters.grpc.routing.fields import FieldNames, FieldPath
from imgateway.adapters.grpc.routing.identity import identity_fields

SECURITY: Final = "bearer"
_JSON: Final = "application/json"
_NO_HTTP: Final = "Takes a stream, which can't be sent over HTTP."
_SSE_NOTE: Final = (
    "The `data` of each event. Where the stream breaks off, a last event `error` has a `StreamError` instead."
)


@attrs.frozen
class Operations:
    """Makes operations.

    Attributes:
        identity_fields: names of fields that the gateway sets on private methods; the document leaves them out there.
    """

    schemas: Schemas
    comments: Comments
    names: FieldNames
    identity_fields: Collection[str]
    parameters: Parameters

    def of(self, route: Route, path: OpenApiPath, operation_id: str, tag: str, /) -> Schema:
        """The operation of a route at a path."""
        method, rest = route.method, route.rest
        comment = self.comments.of(f"{method.containing_service.full_name}.{method.name}")
        made: Schema = {"operationId": operation_id, "tags": [tag]}
        if title := summary(comment):
            made["summary"] = title
        if text := "\n\n".join(filter(None, (comment, _NO_HTTP if rest.client_streaming else ""))):
            made["description"] = text
        if method.GetOptions().deprecated:
            made["deprecated"] = True
        made["security"] = [] if rest.public else [{SECURITY: []}]
        message = method.input_type
        hidden = () if rest.public else identity_fields(message, self.identity_fields)
        parameters = self.parameters.in_path(path, message, hidden)
        in_path = [self.names.path(message, variable.field_path) for variable in route.template.variables]
        if route.body != "*" and not rest.client_streaming:
            elsewhere = [*_excluded(in_path), *((field,) for field in hidden)]
            if route.body:
                elsewhere.append(self.names.path(message, (route.body,)))
            parameters += self.parameters.in_query(message, in_path, elsewhere)
        if parameters:
            made["parameters"] = parameters
        if rest.client_streaming:
            return {**made, "responses": refusals_of(rest)}
        if route.body:
            made["requestBody"] = self._body(route, message, in_path, hidden)
        answer = {"description": "The answer.", "headers": dict(REQUEST_ID), "content": self._answer(route)}
        return {**made, "responses": {"200": answer, **refusals_of(rest)}}

    def _body(
        self, route: Route, message: Descriptor, in_path: list[FieldPath], hidden: Collection[FieldDescriptor]
    ) -> Schema:
        if route.body != "*":
            field = self.names.path(message, (route.body,))[0]
            schema, required = self.schemas.value(field), field.is_required
        else:
            gone = {path[0].name for path in (*in_path, *_excluded(in_path)) if len(path) == 1}
            gone |= {field.name for field in hidden}
            schema = self.schemas.members(message, without=gone) if gone else self.schemas.message(message)
            required = any(field.is_required and field.name not in gone for field in message.fields)
        return {**({"required": True} if required else {}), "content": {_JSON: {"schema": schema}}}

    def _answer(self, route: Route) -> Schema:
        output = route.method.output_type
        if route.response_body:
            field = self.names.path(output, (route.response_body,))[0]
            answer = self.schemas.value(field)
            if field.message_type is not None and not field.is_repeated:
                answer = {"anyOf": [answer, {"type": "null"}]}
        else:
            answer = self.schemas.message(output)
        if not route.rest.server_streaming:
            return {_JSON: {"schema": answer}}
        result = {"type": "object", "properties": {"result": answer}, "required": ["result"]}
        broken = {"$ref": f"#/components/schemas/{STREAM_ERROR}"}
        error = {"type": "object", "properties": {"error": broken}, "required": ["error"]}
        line = {"description": "Each line; `error` only in the last one.", "oneOf": [result, error]}
        return {
            "application/x-ndjson": {"schema": line},
            "text/event-stream": {"schema": {"description": _SSE_NOTE, "anyOf": [answer]}},
        }


def _excluded(in_path: list[FieldPath]) -> Iterator[FieldPath]:
    """What can't be given together with what the path always has: the other members of its oneofs."""
    for path in in_path:
        for index, field in enumerate(path):
            if field.containing_oneof is not None:
                others = (other for other in field.containing_oneof.fields if other.number != field.number)
                yield from ((*path[:index], other) for other in others)
