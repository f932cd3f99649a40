"""What answers are and what requests may be fits the schemas of the OpenAPI document."""

import json
from contextlib import suppress
from typing import Any, Literal

import pytest
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from tests.properties.grpc_messages import KINDS, POOL, messages

from imgateway.adapters.grpc.codec import MessageCodec
from imgateway.adapters.grpc.field_error import FieldError
from imgateway.adapters.grpc.openapi.comments import Comments
from imgateway.adapters.grpc.openapi.schemas import Schemas

thorough = settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large], deadline=None)

Names = Literal["json", "proto"]


def schema_of(field_names: Names) -> dict[str, Any]:
    """Of a message with every kind of field; strict, so that a member that is called otherwise is found."""
    schemas = Schemas([KINDS], Comments(()), field_names)
    root = schemas.message(KINDS)
    components = {
        name: {**schema, "additionalProperties": False} if "properties" in schema else schema
        for name, schema in schemas.components.items()
    }
    return {**root, "components": {"schemas": components}}


SCHEMAS = {"json": schema_of("json"), "proto": schema_of("proto")}
VALIDATORS = {names: Draft202012Validator(schema) for names, schema in SCHEMAS.items()}
CODECS = {names: MessageCodec(POOL, field_names=names) for names in ("json", "proto")}


def flaws(field_names: str, value: Any) -> list[str]:
    return [f"{error.json_path}: {error.message}" for error in VALIDATORS[field_names].iter_errors(value)]


@pytest.mark.parametrize("field_names", ["json", "proto"])
@thorough
@given(data=st.data())
def test_answers_are_as_described(field_names: str, data: st.DataObject) -> None:
    message = data.draw(messages(KINDS))
    try:
        text = CODECS[field_names].encoder(KINDS)(message)
    except ValueError:
        return  # what has no JSON form is no answer
    assert flaws(field_names, json.loads(text)) == []


@thorough
@given(messages(KINDS), st.data())
def test_a_value_of_another_type_is_told(message: Message, data: st.DataObject) -> None:
    with suppress(ValueError):
        value = json.loads(CODECS["json"].encoder(KINDS)(message))
        plain = {field.json_name for field in KINDS.fields if field.message_type is None}
        if names := sorted(plain & set(value)):
            value[data.draw(st.sampled_from(names))] = {"no": "such thing"}
            assert flaws("json", value)


@thorough
@given(st.data())
def test_described_numbers_are_taken(data: st.DataObject) -> None:
    """Of every numeric field what its schema allows is read: the bounds are the codec's own."""
    components = SCHEMAS["json"]["components"]["schemas"]
    schemas = {
        name: components[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
        for name, schema in components["Kinds"]["properties"].items()
    }
    field = data.draw(st.sampled_from([f for f in KINDS.fields if "minimum" in schemas[f.json_name]]))
    schema = schemas[field.json_name]
    number = data.draw(st.integers(schema["minimum"], schema["maximum"]))
    for value in (number, schema["minimum"], schema["maximum"]):
        assert not flaws("json", {field.json_name: str(value) if "pattern" in schema else value})
        CODECS["json"].decoder(KINDS)(json.dumps({field.json_name: value}).encode(), GetMessageClass(KINDS)())
    for value in (schema["minimum"] - 1, schema["maximum"] + 1):
        assert flaws("json", {field.json_name: value})
        with pytest.raises(FieldError):
            CODECS["json"].decoder(KINDS)(json.dumps({field.json_name: value}).encode(), GetMessageClass(KINDS)())
        if "pattern" in schema:
            assert flaws("json", {field.json_name: str(value)})
