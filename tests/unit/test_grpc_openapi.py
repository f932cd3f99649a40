"""The OpenAPI document: valid, complete, and silent about what clients can't set."""

import json
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from openapi_spec_validator import validate
from tests.grpc_files import chained
from tests.grpc_protos import descriptors
from tests.grpc_routes import EVERYWHERE, table_of

import imgateway_im_logic
from imgateway.adapters.grpc.openapi import document_bytes
from imgateway.core.settings_grpc import GrpcSettings

IM_LOGIC = next(Path(imgateway_im_logic.__file__).parent.rglob("*.binpb"))


def document(files: FileDescriptorSet, **settings: Any) -> Any:
    chosen = GrpcSettings(services=EVERYWHERE, **settings)
    made = document_bytes(table_of(files, **settings), chosen)
    assert made == document_bytes(table_of(files, **settings), chosen)
    return json.loads(made)


def im_logic(**settings: Any) -> Any:
    return document(FileDescriptorSet.FromString(IM_LOGIC.read_bytes()), **settings)


def operations_of(made: Any) -> list[Any]:
    return [item[name] for item in made["paths"].values() for name in item if name != "parameters"]


@pytest.mark.parametrize("names", [("library.proto",), ("back.proto",), ("broken.proto",), ("promised.proto",)])
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


def test_a_long_chain_of_messages_is_described() -> None:
    made = document(chained("c", 300))
    assert len([name for name in made["components"]["schemas"] if name.startswith("T")]) == 300


def test_comments_are_there() -> None:
    made = document(descriptors("back.proto"))
    assert made["paths"]["/api/echo"]["post"]["description"] == "Says it again, and who said it."


def test_a_comment_that_is_no_utf_8_is_shown_as_well_as_it_can_be() -> None:
    raw = descriptors("back.proto").SerializeToString().replace(b"Says it again,", b"Sagt \xfcber all,")
    made = document(FileDescriptorSet.FromString(raw))
    assert made["paths"]["/api/echo"]["post"]["description"] == "Sagt \ufffdber all, and who said it."


def test_operations_have_names_of_their_own() -> None:
    made = document(descriptors("library.proto"))
    names = [operation["operationId"] for operation in operations_of(made)]
    assert len(names) == len(set(names)) > 5


def parameters_of(operation: Any, place: str = "") -> dict[str, Any]:
    return {found["name"]: found for found in operation.get("parameters", ()) if place in ("", found["in"])}


class TestDescribed:
    """A proto in which everything is that can be said."""

    made = document(descriptors("described.proto"), public=("described.v1.Walls/Paint",))
    paths = made["paths"]
    schemas = made["components"]["schemas"]

    def test_it_is_valid(self) -> None:
        validate(self.made)

    def test_comments_and_options_of_methods(self) -> None:
        operation = self.paths["/api/walls"]["get"]
        assert operation["summary"] == "Find a wall"
        assert operation["description"].endswith("long.\n\nWith a second paragraph.")
        assert operation["deprecated"] is True
        assert self.made["tags"] == [{"name": "Walls", "description": "All the walls there are."}]

    def test_comments_and_options_of_fields(self) -> None:
        note = self.schemas["Note"]
        assert note["description"].startswith("A note  on the wall.")
        assert "team" not in note["description"]
        assert "lint" not in note["description"]
        fields = note["properties"]
        assert fields["noteId"] == {"type": "string", "description": "Where it hangs.", "readOnly": True}
        assert fields["text"]["description"] == "Required."
        assert fields["secret"]["writeOnly"] is True
        assert fields["oldText"]["deprecated"] is True
        assert fields["reason"] == {"$ref": "#/components/schemas/Reason", "description": "Trailing words."}
        assert fields["answers"]["additionalProperties"] == {"$ref": "#/components/schemas/Note"}
        assert fields["answers"]["propertyNames"] == {"$ref": "#/components/schemas/Int32Key"}

    def test_oneofs(self) -> None:
        assert "At most one of `name`, `number`." in self.schemas["Note"]["description"]
        assert self.schemas["Note"]["x-at-most-one"] == [["name", "number"]]
        assert self.schemas["Note"]["not"] == {"required": ["name", "number"]}

    def test_values_of_enums(self) -> None:
        reason = self.schemas["Reason"]
        assert reason["description"] == (
            "Why a note was written.\n\n- `REASON_UNSPECIFIED`: Nobody said.\n- `REASON_FUN`: For fun."
        )
        assert reason["anyOf"][0]["enum"] == ["REASON_UNSPECIFIED", "REASON_FUN", "REASON_OTHER"]

    def test_names_that_are_taken(self) -> None:
        assert set(self.schemas["described.v1.Problem"]["properties"]) == {"note"}
        assert set(self.schemas["Note.Problem"]["properties"]) == {"what"}
        assert "code" in self.schemas["Problem"]["properties"]

    def test_a_query_has_no_end_only_in_the_message(self) -> None:
        names = set(parameters_of(self.paths["/api/walls"]["get"]))
        assert names == {
            *("note.noteId", "note.text", "note.secret", "note.oldText", "note.reason", "note.name", "note.number"),
            *("note.pinned", "note.problem.what", "title"),
        }

    def test_answers_that_are_a_field(self) -> None:
        def answer(path: str) -> Any:
            return self.paths[path]["get"]["responses"]["200"]["content"]["application/json"]["schema"]

        note = {"$ref": "#/components/schemas/Note"}
        assert answer("/api/walls/one") == {"anyOf": [note, {"type": "null"}]}
        assert answer("/api/walls/all") == {"type": "object", "additionalProperties": note}

    def test_paths_that_are_the_same_to_openapi(self) -> None:
        item = self.paths["/api/walls/{title}"]
        assert set(item) == {"parameters", "put", "get"}
        titled = parameters_of(item["get"], "path")["title"]
        assert titled["description"] == "Where it hangs.\n\nThe field `note.noteId`."
        assert titled["schema"] == {"type": "string", "minLength": 1}
        assert {"title", "note.text"} <= set(parameters_of(item["get"], "query"))
        assert "note.noteId" not in parameters_of(item["get"], "query")
        assert self.made["x-left-out"] == ["GET /api/walls/{title=**}: to OpenAPI it is the same as /api/walls/{title}"]

    def test_variables_of_several_segments(self) -> None:
        path = "/api/walls/notes/{note.text}/texts/{note.text_2}/{segment}"
        found = parameters_of(self.paths[path]["put"])
        assert "`note.text`, which is `notes/*/texts/*`" in found["note.text_2"]["description"]
        assert found["segment"]["schema"] == {"type": "string", "minLength": 1}

    def test_what_the_path_has_is_not_in_the_body(self) -> None:
        body = self.paths["/api/walls/{title}"]["put"]["requestBody"]["content"]["application/json"]["schema"]
        assert set(body["properties"]) == {"behind", "note", "userId"}

    def test_refusals(self) -> None:
        private, public = self.paths["/api/walls"]["get"], self.paths["/api/walls/{title}"]["put"]
        assert {"400", "401", "403", "404", "429", "500", "503", "504", "default"} <= set(private["responses"])
        assert not {"408", "413", "415"} & set(private["responses"])
        assert {"400", "413", "415"} <= set(public["responses"])
        assert "401" not in public["responses"]
        responses = self.made["components"]["responses"]
        unavailable = responses[private["responses"]["503"]["$ref"].rpartition("/")[2]]
        assert set(unavailable["headers"]) == {"x-request-id", "Retry-After"}
        assert "`UNAVAILABLE`, `OVERLOADED`, `DRAINING`" in unavailable["description"]


def test_rest_of_a_path_may_be_several_segments() -> None:
    made = document(descriptors("library.proto"))
    parameter = parameters_of(made["paths"]["/api/v1/files/{name}"]["get"])["name"]
    assert parameter["x-several-segments"] is True
    assert "minLength" not in parameter["schema"]


def test_names_of_fields_are_those_of_answers() -> None:
    made = document(descriptors("library.proto"), field_names="proto")
    operation = made["paths"]["/api/v1/books/{book_id}"]["get"]
    assert set(parameters_of(operation)) == {"book_id", "revision"}
    assert "family_name" in made["components"]["schemas"]["Author"]["properties"]


def test_identity_in_a_path_is_said_to_be_of_no_consequence() -> None:
    path = "/api/v1/users/{userId}/books/{bookId}/revisions/{revision}"
    made = document(descriptors("library.proto"))
    assert "token" in parameters_of(made["paths"][path]["get"])["userId"]["description"]
    public = document(descriptors("library.proto"), public=("library.v1.Library/GetBook",))
    assert "description" not in parameters_of(public["paths"][path]["get"])["userId"]
    assert "userId" in parameters_of(public["paths"]["/api/v1/books/{bookId}"]["get"])


def test_methods_that_take_a_stream_are_only_refused() -> None:
    operation = document(descriptors("library.proto"))["paths"]["/api/v1/upload"]["post"]
    assert set(operation["responses"]) == {"501", "default"}
    assert "requestBody" not in operation


def test_http_methods_that_openapi_does_not_have_are_left_out() -> None:
    made = document(descriptors("library.proto"))
    assert sorted(line.partition(" ")[0] for line in made["x-left-out"]) == ["*", "REPORT"]


def test_services_of_one_name_are_told_apart() -> None:
    file = descriptors("back.proto").file[-1].SerializeToString()
    other = FileDescriptorProto.FromString(
        file.replace(b"back.v1", b"next.v1").replace(b"back.proto", b"next.proto").replace(b"/echo", b"/ecco")
    )
    files = descriptors("back.proto")
    files.file.append(other)
    made = document(files)
    validate(made)
    assert {tag["name"] for tag in made["tags"]} == {"back.v1.Back", "next.v1.Back"}
    assert made["paths"]["/api/ecco"]["post"]["operationId"] == "next.v1.Back_Echo"
    assert {"back.v1.Said", "next.v1.Said"} <= set(made["components"]["schemas"])
