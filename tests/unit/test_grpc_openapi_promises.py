"""The OpenAPI document does not allow what the gateway refuses, nor forbid what it answers."""

import json
import re
from typing import Any

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate
from tests.grpc_files import chained
from tests.grpc_protos import descriptors
from tests.grpc_routes import EVERYWHERE, bound, table_of

from imgateway.adapters.grpc.field_error import FieldError
from imgateway.adapters.grpc.openapi import document_bytes, numerals
from imgateway.adapters.grpc.openapi.numerals import pattern
from imgateway.core.settings_grpc import GrpcSettings


def document(files: FileDescriptorSet, **settings: Any) -> Any:
    return json.loads(document_bytes(table_of(files, **settings), GrpcSettings(services=EVERYWHERE, **settings)))


FILES = descriptors("promised.proto")
TABLE = table_of(FILES)
DOCUMENT = document(FILES)
SCHEMAS = DOCUMENT["components"]["schemas"]


def query(path: str) -> dict[str, Any]:
    return {found["name"]: found for found in DOCUMENT["paths"][path]["get"]["parameters"] if found["in"] == "query"}


def required(path: str) -> set[str]:
    return {name for name, parameter in query(path).items() if parameter.get("required")}


def allows(name: str, value: Any, made: Any = DOCUMENT) -> bool:
    schema = {"$ref": f"#/components/schemas/{name}", "components": made["components"]}
    return bool(Draft202012Validator(schema).is_valid(value))


def takes(method: str, target: str, value: Any = None) -> bool:
    try:
        bound(TABLE, method, target, b"" if value is None else json.dumps(value).encode())
    except FieldError:
        return False
    return True


class TestRequired:
    def test_fields_of_a_query(self) -> None:
        assert required("/api/asked") == {"id", "shade", "whole.need"}
        assert required("/api/asked/{id}") == {"shade", "whole.need"}
        assert "userId" not in query("/api/asked")
        assert "userId" in {
            each["name"] for each in document(FILES, public=("*",))["paths"]["/api/asked"]["get"]["parameters"]
        }

    def test_a_field_of_a_message_that_may_be_left_out(self) -> None:
        assert required("/api/things") == {"id"}
        assert takes("GET", "/api/things?id=1")
        assert not takes("GET", "/api/things?id=1&part.note=x")
        assert query("/api/things")["part.need"]["description"] == "Required with any other field of `part`."

    def test_a_field_of_a_message_that_the_path_brings(self) -> None:
        assert required("/api/things/{id}/parts/{part.note}") == {"part.need"}
        assert not takes("GET", "/api/things/1/parts/x")

    def test_bodies(self) -> None:
        paths = DOCUMENT["paths"]
        assert paths["/api/asked"]["post"]["requestBody"]["required"] is True
        assert paths["/api/asked/{id}"]["put"]["requestBody"]["required"] is True
        assert "required" not in paths["/api/things"]["post"]["requestBody"]
        assert "required" not in paths["/api/every"]["post"]["requestBody"]
        assert not takes("POST", "/api/asked?id=1&shade=DARK")
        assert takes("POST", "/api/things?id=1")


def test_closed_enums_have_their_numbers_only() -> None:
    names, numbers = SCHEMAS["Shade"]["anyOf"]
    assert names == {"type": "string", "enum": ["LIGHT", "DARK", "GLOOMY", "NONE"]}
    assert numbers == {"type": "integer", "format": "int32", "enum": [1, 7, -3]}
    assert SCHEMAS["Oddities.Closed"]["anyOf"][1]["enum"] == [1, 2]
    assert allows("Colour", 77)
    assert not allows("Colour", 2**31)


# Field of Texts, a text, whether it is a value.
TEXTS = [
    ("i64", "0", True),
    ("i64", "-1", True),
    ("i64", "06441061402", False),
    ("i64", "+1", False),
    ("i64", "9223372036854775807", True),
    ("i64", "9223372036854775808", False),
    ("i64", "-9223372036854775808", True),
    ("i64", "-9223372036854775809", False),
    ("i64", "12345678901234567890", False),
    ("u64", "18446744073709551615", True),
    ("u64", "18446744073709551616", False),
    ("u64", "-1", False),
    ("i64Value", "9223372036854775808", False),
    ("u64Value", "18446744073709551615", True),
    ("raw", "", True),
    ("raw", "AA", True),
    ("raw", "-_8=", True),
    ("raw", "A", False),
    ("raw", "AAA==", False),
    ("raw", "AA=", False),
    ("raw", "Ä", False),
    ("at", "2024-02-03T04:05:06.123456789+01:00", True),
    ("at", "0001-01-01T00:00:00Z", True),
    ("at", "0000-01-01T00:00:00Z", False),
    ("at", "2024-02-03T04:05:60Z", False),
    ("at", "2024-02-03t04:05:06z", False),
    ("at", "2024-02-03T04:05:06.1234567890Z", False),
    ("at", "2024-02-03T04:05:06+24:00", False),
    ("lasts", "-0.5s", True),
    ("lasts", "315576000000.999999999s", True),
    ("lasts", "315576000001s", False),
    ("lasts", "1.s", False),
    ("mask", "", True),
    ("mask", "a,bC.d", True),
    ("mask", "a_b", False),
    ("mask", "a,", False),
    ("f", "Infinity", True),
    ("f", "infinity", False),
    ("shade", "GLOOMY", True),
    ("shade", "RED", False),
]


@pytest.mark.parametrize(("field", "text", "right"), TEXTS)
def test_texts_are_allowed_that_are_taken(field: str, text: str, right: bool) -> None:
    assert allows("Texts", {field: text}) is right
    assert takes("POST", "/api/every", {"texts": {field: text}}) is right


@pytest.mark.parametrize(
    ("field", "number", "right"),
    [
        ("f", 3.4028235e38, True),
        ("f", 3.41e38, False),
        ("d", 1.7976931348623157e308, True),
        ("d", 10**309, False),
        ("i64", 2**63, False),
        ("u64", 2**64 - 1, True),
    ],
)
def test_numbers_are_allowed_that_are_taken(field: str, number: float, right: bool) -> None:
    assert allows("Texts", {field: number}) is right
    assert takes("POST", "/api/every", {"texts": {field: number}}) is right


@pytest.mark.parametrize(
    ("field", "key", "right"),
    [
        ("byI32", "-2147483648", True),
        ("byI32", "2147483648", False),
        ("byI32", "-0", False),
        ("byI32", "01", False),
        ("byI64", "-9223372036854775808", True),
        ("byI64", "9223372036854775808", False),
        ("byU64", "18446744073709551615", True),
        ("byU64", "-1", False),
        ("byU32", "4294967295", True),
        ("byU32", "4294967296", False),
    ],
)
def test_keys_of_maps_are_allowed_that_are_taken(field: str, key: str, right: bool) -> None:
    values = {"byI32": 1, "byI64": "AA==", "byU64": {"need": 1}, "byU32": "RED"}
    assert allows("Every", {field: {key: values[field]}}) is right
    assert takes("POST", "/api/every", {field: {key: values[field]}}) is right


class TestOneofs:
    @pytest.mark.parametrize(
        ("members", "right"),
        [
            ({}, True),
            ({"left": "", "first": False}, True),
            ({"left": "", "right": 0}, False),
            ({"first": True, "second": None}, False),
            ({"second": None, "third": {"need": 1}}, False),
            ({"first": True, "second": None, "third": {"need": 1}}, False),
        ],
    )
    def test_bodies_have_one_member(self, members: dict[str, Any], right: bool) -> None:
        assert allows("Every", members) is right
        assert takes("POST", "/api/every", members) is right

    def test_what_the_path_has_leaves_no_room_for_the_others(self) -> None:
        assert not takes("POST", "/api/left/x", {"right": 1})
        body = DOCUMENT["paths"]["/api/left/{left}"]["post"]["requestBody"]["content"]["application/json"]["schema"]
        assert not {"left", "right"} & set(body["properties"])
        assert "texts" in body["properties"]
        assert not {"left", "right"} & set(query("/api/left/{left}"))
        assert "first" in query("/api/left/{left}")


HUGE = 10**400
ANY = "type.googleapis.com/promised.v1.Part"


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/api/left/{left}", {"right": 1}),
        ("POST", "/api/left/{left}", {"left": 1}),
        ("PUT", "/api/asked/{id}", {"shade": "DARK", "whole": {"need": 1}, "userId": 5}),
        ("POST", "/api/every", {"byI32": {}, "by_i32": {}}),
        ("POST", "/api/every", {"by_i32": 5}),
        ("POST", "/api/any", {"any": {"@type": ANY, "need": "x"}}),
        ("POST", "/api/any", {"any": {"@type": "promised.v1.Part", "need": 1}}),
        ("POST", "/api/any", {"any": {"@type": f"{ANY}y"}}),
        ("POST", "/api/every", {"texts": {"at": "2023-02-30T00:00:00Z"}}),
        ("POST", "/api/every", {"texts": {"at": "0001-01-01T00:00:00+01:00"}}),
        ("POST", "/api/every", {"value": HUGE}),
        ("POST", "/api/every", {"list": [HUGE]}),
        ("POST", "/api/every", {"struct": {"a": HUGE}}),
        ("POST", "/api/every", {"value": json.loads("[" * 50 + "1" + "]" * 50)}),
        ("POST", "/api/every", {"other": json.loads("[" * 100 + "1" + "]" * 100)}),
    ],
)
def test_what_no_schema_says_is_refused_all_the_same(method: str, path: str, body: Any) -> None:
    """The list in docs/reference/rest.md; what can be said has no place in it."""
    content = DOCUMENT["paths"][path][method.lower()]["requestBody"]["content"]
    schema = {**content["application/json"]["schema"], "components": DOCUMENT["components"]}
    assert Draft202012Validator(schema).is_valid(body)
    assert not takes(method, re.sub("{.*}", "x", path), body)


def test_null_has_a_name_in_queries() -> None:
    parameters = query("/api/texts")
    assert parameters["null"]["schema"] == {"type": "string", "enum": ["NULL_VALUE"]}
    assert parameters["manyNull"]["schema"] == {"type": "array", "items": {"type": "string", "enum": ["NULL_VALUE"]}}
    assert takes("GET", "/api/texts?null=NULL_VALUE&manyNull=NULL_VALUE")
    assert not takes("GET", "/api/texts?null=null")
    assert SCHEMAS["Texts"]["properties"]["null"] == {"type": "null"}


def test_parameters_have_names_that_the_gateway_knows() -> None:
    assert "dotted" in query("/api/texts")
    # Its JSON name is the proto name of another one, which is what the gateway takes it for.
    assert {"first_name", "thirdName"} <= set(query("/api/odd"))
    assert "second_name" not in query("/api/odd")


def test_bytes_in_a_path_are_not_empty() -> None:
    path = "/api/path/{null}/{at}/{lasts}/{mask}/{i64Value}/{dValue}/{rawValue}"
    found = {each["name"]: each["schema"] for each in DOCUMENT["paths"][path]["get"]["parameters"]}
    assert found["rawValue"]["minLength"] == found["mask"]["minLength"] == 1


def test_an_any_says_what_it_is() -> None:
    assert allows("Free", {"any": {}})
    assert not allows("Free", {"any": {"name": 1}})
    assert allows("Free", {"any": {"@type": "type.googleapis.com/promised.v1.Part", "need": 1}})


def test_members_that_are_no_fields_are_not_allowed_where_they_are_refused() -> None:
    strict = document(FILES, unknown_fields="reject")
    validate(strict)
    for value in ({"other": 1}, {"empty": {"other": 1}}, {"part": {"need": 1, "other": 1}}):
        assert allows("Every", value)
        assert not allows("Every", value, strict)
    assert allows("Every", {"part": {"need": 1}, "struct": {"other": 1}, "byString": {"other": 1}}, strict)
    body = strict["paths"]["/api/left/{left}"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert body["additionalProperties"] is False


def asking(full_name: str) -> FileDescriptorProto:
    """A file with a method for a message of that name, whose one field tells which one it is."""
    package, _, name = full_name.rpartition(".")
    told = full_name.replace(".", "_").lower()
    file = chained(told, 1).file[0]
    file.package = package
    message, service = file.message_type[0], file.service[0]
    message.name, message.field[0].name, message.field[0].json_name = name, told, told
    service.name = f"{name}Service"
    service.method[0].input_type = service.method[0].output_type = f".{full_name}"
    return file


@pytest.mark.parametrize("full_name", ["c.Int64", "Int64", "imgateway.Int64"])
def test_what_is_common_makes_way_for_messages_of_that_name(full_name: str) -> None:
    file = asking(full_name)
    file.message_type[0].field.add(name="many", number=2, type=3, label=1)
    made = document(FileDescriptorSet(file=[file]))
    validate(made)
    schemas = made["components"]["schemas"]
    assert schemas[full_name]["properties"]["many"] == {"$ref": "#/components/schemas/imgateway-Int64"}
    assert schemas["imgateway-Int64"]["format"] == "int64"


@pytest.mark.parametrize(
    ("full_names", "names"),
    [
        (["a.Only"], ["Only"]),
        (["a.Twice", "b.Twice", "Twice"], ["a.Twice", "b.Twice", "Twice"]),
        (["a.Problem", "Problem", "Problem_type"], ["a.Problem", "Problem-type", "Problem_type"]),
        (["Outer.Inner"], ["Inner"]),
        (["Outer.Inner", "b.Inner"], ["Outer.Inner", "b.Inner"]),
    ],
)
def test_every_type_has_a_name_of_its_own(full_names: list[str], names: list[str]) -> None:
    nested = asking("p.Outer")
    outer = nested.message_type[0]
    outer.nested_type.add(name="Inner").field.add(name="nested", number=1, type=9, label=1)
    outer.field.add(name="inner", number=2, type=11, label=1, type_name=".p.Outer.Inner")
    made = document(FileDescriptorSet(file=[nested, *map(asking, full_names)]))
    validate(made)
    schemas = made["components"]["schemas"]
    found = {field: name for name, schema in schemas.items() for field in schema.get("properties", ())}
    assert [found[name.replace(".", "_").lower()] for name in full_names] == names
    assert found["nested"] == ("p.Outer.Inner" if "Outer.Inner" in full_names else "Outer.Inner")
    assert "code" in schemas["Problem"]["properties"]
    assert len(schemas) == len(full_names) + 4


def test_what_is_common_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    def counted(low: int, high: int) -> str:
        made.append((low, high))
        return pattern(low, high)

    monkeypatch.setattr(numerals, "pattern", counted)
    files = chained("c", 2)
    for number in range(10, 60):
        files.file[0].message_type[0].field.add(name=f"n{number}", number=number, type=3, label=1)
    assert len(document(files)["components"]["schemas"]["T0"]["properties"]) == 52
    assert made == [(-(2**63), 2**63 - 1)]


def test_only_what_is_referred_to_is_there() -> None:
    assert "Int64" not in document(chained("c", 2))["components"]["schemas"]


@pytest.mark.parametrize(
    ("low", "high"), [(0, 0), (0, 7), (-5, 13), (-128, 127), (0, 255), (-2048, 2047), (-999, 1000)]
)
def test_numerals(low: int, high: int) -> None:
    matched = re.compile(pattern(low, high))
    near = range(11 * low - 20, 11 * high + 20)
    assert [number for number in near if matched.search(str(number))] == list(range(low, high + 1))
    assert len(pattern(-(2**63), 2**63 - 1)) < 500
    assert not any(matched.search(text) for text in ("", "-", "-0", "00", "01", "-01", "+1", "1 ", "1.0"))
