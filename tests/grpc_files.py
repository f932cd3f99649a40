"""Descriptors that no proto file of the tests has: of any size."""

from google.api import annotations_pb2
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet


def offering(package: str, *, methods: int = 1) -> FileDescriptorSet:
    """A service `S` of methods `M0`, `M1` and so on, with the routes `GET /api/{package}/0` and so on."""
    file = _file(package)
    file.message_type.add(name="Message").field.add(name="text", number=1, type=9, label=1)
    service = file.service.add(name="S")
    for number in range(methods):
        method = service.method.add(
            name=f"M{number}", input_type=f".{package}.Message", output_type=f".{package}.Message"
        )
        method.options.Extensions[annotations_pb2.http].get = f"/{package}/{number}"
    return FileDescriptorSet(file=[file])


def chained(package: str, length: int) -> FileDescriptorSet:
    """A service `S` whose one method, `POST /api/{package}/0`, takes messages `T0`; each has the next as its field."""
    file = _file(package)
    for number in range(length):
        message = file.message_type.add(name=f"T{number}")
        message.field.add(name="text", number=1, type=9, label=1)
        if number + 1 < length:
            message.field.add(name="next", number=2, type=11, label=1, type_name=f".{package}.T{number + 1}")
    service = file.service.add(name="S")
    method = service.method.add(name="M0", input_type=f".{package}.T0", output_type=f".{package}.T0")
    method.options.Extensions[annotations_pb2.http].post = f"/{package}/0"
    method.options.Extensions[annotations_pb2.http].body = "*"
    return FileDescriptorSet(file=[file])


def ruled(package: str, *rules: tuple[str, str]) -> FileDescriptorSet:
    """A service `S` of methods `M0`, `M1` and so on with these rules, each an HTTP method and a path."""
    file = _file(package)
    file.message_type.add(name="Message").field.add(name="text", number=1, type=9, label=1)
    service = file.service.add(name="S")
    for number, (kind, path) in enumerate(rules):
        method = service.method.add(
            name=f"M{number}", input_type=f".{package}.Message", output_type=f".{package}.Message"
        )
        custom = method.options.Extensions[annotations_pb2.http].custom
        custom.kind, custom.path = kind, path
    return FileDescriptorSet(file=[file])


def _file(package: str) -> FileDescriptorProto:
    return FileDescriptorProto(
        name=f"{package}.proto", package=package, syntax="proto3", dependency=["google/api/annotations.proto"]
    )
