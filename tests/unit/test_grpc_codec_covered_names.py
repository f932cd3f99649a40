"""Whatever a type calls its fields, nested types and enum values: the methods of its messages are found."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from tests.grpc_protos import pool_of

from imgateway.adapters.grpc.codec import MessageCodec, serialised
from imgateway.adapters.grpc.codec.wire_form import check_depth
from imgateway.adapters.grpc.field_error import FieldError, NestingError

METHODS = (
    "ClearField",
    "FromString",
    "HasField",
    "ListFields",
    "MergeFromString",
    "SerializePartialToString",
    "SerializeToString",
    "SetInParent",
    "WhichOneof",
    "DESCRIPTOR",  # an attribute of the class that is asked for as well
)


def _fields(message: DescriptorProto) -> None:
    for number, name in enumerate(METHODS, 11):
        message.field.add(name=name, number=number, type=5, label=1)


def _extensions(message: DescriptorProto) -> None:
    message.extension_range.add(start=100, end=200)
    for number, name in enumerate(METHODS, 100):
        message.extension.add(name=name, number=number, type=5, label=1, extendee=".t.Covered")


def _types(message: DescriptorProto) -> None:
    for name in METHODS:
        message.nested_type.add(name=name)


def _enums(message: DescriptorProto) -> None:
    for name in METHODS:
        message.enum_type.add(name=name).value.add(name=f"OF_{name}", number=0)


def _enum_values(message: DescriptorProto) -> None:
    enum = message.enum_type.add(name="Enum")
    for number, name in enumerate(METHODS):
        enum.value.add(name=name, number=number)


@pytest.mark.parametrize("cover", [_fields, _extensions, _types, _enums, _enum_values])
def test_names_of_methods_may_be_anything(cover: Callable[[DescriptorProto], None]) -> None:
    file = FileDescriptorProto(name="covered.proto", package="t", syntax="proto2")
    file.dependency.append("google/protobuf/any.proto")
    message = file.message_type.add(name="Covered")
    message.oneof_decl.add(name="choice")
    message.field.add(name="needed", number=1, type=9, label=2)
    message.field.add(name="inner", number=2, type=11, label=1, type_name=".t.Covered")
    message.field.add(name="one", number=3, type=9, label=1, oneof_index=0)
    message.field.add(name="other", number=4, type=9, label=1, oneof_index=0)
    message.field.add(name="any", number=5, type=11, label=1, type_name=".google.protobuf.Any")
    cover(message)
    pool = pool_of("kinds.proto")
    pool.Add(file)
    _check(pool, pool.FindMessageTypeByName("t.Covered").fields_by_name)


def _check(pool: DescriptorPool, fields: Any) -> None:
    descriptor = fields["needed"].containing_type
    codec = MessageCodec(pool)
    new: Any = GetMessageClass(descriptor)
    inner = {"needed": "b", "other": "o"}
    whole: dict[str, Any] = {"needed": "a", "inner": inner, "any": {"@type": "x/t.Covered", **inner}}
    if "HasField" in fields:
        whole.update(dict.fromkeys(METHODS, 7))

    def read(value: Any) -> Any:
        message = new()
        codec.decoder(descriptor)(json.dumps(value).encode(), message)
        return message

    def refused(call: Callable[[], object]) -> tuple[type[FieldError], str]:
        with pytest.raises(FieldError) as caught:
            call()
        return type(caught.value), caught.value.path

    message = read(whole)
    assert json.loads(codec.encoder(descriptor)(message)) == whole
    assert new.FromString(serialised(message)) == message
    assert refused(lambda: serialised(read({"needed": "a", "inner": {"inner": inner}}))) == (FieldError, "inner.needed")
    assert refused(lambda: read({"one": "", "other": ""})) == (FieldError, "other")
    codec.field_decoder(fields["inner"])(b"null", message)
    assert codec.field_encoder(fields["inner"])(message) == b"null"
    codec.text_setter([fields["one"]])(message, "x")
    assert refused(lambda: codec.text_setter([fields["other"]])(message, "y")) == (FieldError, "other")
    deep = innermost = new(needed="")
    for _ in range(101):
        innermost = innermost.inner
        innermost.needed = ""
    assert refused(lambda: check_depth(deep)) == (NestingError, "inner.inner.inner")
