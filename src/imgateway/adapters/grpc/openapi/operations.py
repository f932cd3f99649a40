"""A route as an operation."""

from collections.abc import Collection
from typing import Final

import attrs
from google.protobuf.descriptor import Descriptor

from imgateway.adapters.grpc.openapi.comments import Comments, summary
from imgateway.adapters.grpc.openapi.parameters import path_parameters, query_parameters
from imgateway.adapters.grpc.openapi.paths import OpenApiPath
from imgateway.adapters.grpc.openapi.schemas import Schemas
from imgateway.adapters.grpc.openapi.values import Schema
from imgateway.adapters.grpc.routing import Route
from imgateway.adapters.grpc.routing.fields import FieldNames

PROBLEM: Final = "Problem"
SECURITY: Final = "bearer"
_JSON: Final = "application/json"
_LINE_ERROR: Final = {
    "type": "object",
    "properties": {"error": {"$ref": f"#/components/schemas/{PROBLEM}"}},
    "required": ["error"],
}


@attrs.frozen
class Operations:
    """Makes operations.

    Attributes:
        identity_fields: fields that the gateway sets on private methods, and the document therefore leaves out.
    """

    schemas: Schemas
    comments: Comments
    names: FieldNames
    identity_fields: Collection[str]

    def of(self, route: Route, path: OpenApiPath, operation_id: str, /) -> Schema:
        """The operation of a route at a path."""
        method, rest = route.method, route.rest
        service = method.containing_service
        comment = self.comments.of(f"{service.full_name}.{method.name}")
        made: Schema = {"operationId": operation_id, "tags": [service.name]}
        if title := summary(comment):
            made["summary"] = title
        if comment:
            made["description"] = comment
        if method.GetOptions().deprecated:
            made["deprecated"] = True
        made["security"] = [] if rest.public else [{SECURITY: []}]
        if rest.client_streaming:
            return {**made, "responses": {"501": {"$ref": f"#/components/responses/{PROBLEM}"}}}
        message = method.input_type
        hidden = () if rest.public else self.identity_fields
        parameters = path_parameters(path, message, self.names, self.schemas)
        if route.body != "*":
            bound = [self.names.path(message, variable.field_path) for variable in route.template.variables]
            if route.body:
                bound.append(self.names.path(message, (route.body,)))
            parameters += query_parameters(message, bound, hidden, self.schemas)
        if parameters:
            made["parameters"] = parameters
        if route.body:
            made["requestBody"] = {"content": {_JSON: {"schema": self._body(route, message, hidden)}}}
        return {**made, "responses": self._responses(route)}

    def _body(self, route: Route, message: Descriptor, hidden: Collection[str]) -> Schema:
        if route.body != "*":
            return self.schemas.value(self.names.path(message, (route.body,))[0])
        gone = {variable.name for variable in route.template.variables if len(variable.field_path) == 1}
        gone |= {field.name for field in message.fields if field.name in hidden or field.json_name in hidden}
        if not any(field.name in gone or field.json_name in gone for field in message.fields):
            return self.schemas.message(message)
        fields = [self.names.field(message, name) for name in gone]
        return self.schemas.members(message, without={field.name for field in fields if field is not None})

    def _responses(self, route: Route) -> Schema:
        output = route.method.output_type
        if route.response_body:
            answer = self.schemas.value(self.names.path(output, (route.response_body,))[0])
        else:
            answer = self.schemas.message(output)
        content: Schema = {_JSON: {"schema": answer}}
        if route.rest.server_streaming:
            line = {"type": "object", "properties": {"result": answer}, "required": ["result"]}
            content = {
                "application/x-ndjson": {"schema": {"oneOf": [line, _LINE_ERROR]}},
                "text/event-stream": {"schema": answer},
            }
        headers = {"x-request-id": {"$ref": "#/components/headers/RequestId"}}
        made: Schema = {"200": {"description": "The answer.", "headers": headers, "content": content}}
        return {**made, "default": {"$ref": f"#/components/responses/{PROBLEM}"}}
