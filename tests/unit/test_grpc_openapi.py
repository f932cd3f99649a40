"""The OpenAPI document: valid, complete, and silent about what clients can't set."""

import json
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from openapi_spec_validator import validate
from tests.grpc_protos import descriptors
from tests.grpc_routes import EVERYWHERE

import imgateway_im_logic
from imgateway.adapters.grpc.openapi import document_bytes
from imgateway.adapters.grpc.routing import RouteTable
from imgateway.core.settings_grpc import GrpcSettings

IM_LOGIC = next(Path(imgateway_im_logic.__file__).parent.rglob("*.binpb"))


def document(files: FileDescriptorSet, **settings: Any) -> Any:
    chosen = GrpcSettings(services=EVERYWHERE, **settings)
    table = RouteTable.build(files, chosen)
    made = document_bytes(table, files, chosen)
    assert made == document_bytes(RouteTable.build(files, chosen), files, chosen)
    return json.loads(made)


def im_logic(**settings: Any) -> Any:
    return document(FileDescriptorSet.FromString(IM_LOGIC.read_bytes()), **settings)


def operations_of(made: Any) -> list[Any]:
    return [item[name] for item in made["paths"].values() for name in item if name != "parameters"]


@pytest.mark.parametrize("names", [("library.proto",), ("back.proto",), ("broken.proto",)])
@pytest.mark.parametrize("field_names", ["json", "proto"])
def test_documents_are_valid(names: tuple[str, ...], field_names: str) -> None:
    validate(document(descriptors(*names), field_names=field_names))


def test_im_logic_is_described() -> None:
    made = im_logic(public=("im.logic.v1.AuthService/GuestLogin",))
    validate(made)
    guest = made["paths"]["/api/auth/guest"]["post"]
    assert guest["summary"]
    assert guest["security"] == []
    listing = made["paths"]["/api/conversations"]["get"]
    assert listing["security"] == [{"bearer": []}]
    assert listing["tags"] == ["ConversationService"]
    assert {parameter["name"] for parameter in listing["parameters"]} >= {"page", "pageSize"}


def test_what_the_gateway_sets_is_not_shown() -> None:
    made = im_logic()
    operations = operations_of(made)
    assert operations
    for operation in operations:
        names = {parameter["name"] for parameter in operation.get("parameters", ())}
        body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
        assert not {"userId", "creatorId", "operatorId"} & {*names, *body.get("properties", {})}, operation


def test_streams_have_both_their_media_types() -> None:
    made = document(descriptors("back.proto"))
    content = made["paths"]["/api/counts"]["get"]["responses"]["200"]["content"]
    assert set(content) == {"application/x-ndjson", "text/event-stream"}


def test_comments_are_there() -> None:
    made = document(descriptors("back.proto"))
    assert made["paths"]["/api/echo"]["post"]["description"] == "Says it again, and who said it."


def test_operations_have_names_of_their_own() -> None:
    made = document(descriptors("library.proto"))
    names = [operation["operationId"] for operation in operations_of(made)]
    assert len(names) == len(set(names)) > 5
