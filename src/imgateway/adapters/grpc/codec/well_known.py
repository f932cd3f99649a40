"""Which messages have a JSON form of their own."""

from collections.abc import Callable
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from imgateway.adapters.grpc.codec import structs, times

ANY = "google.protobuf.Any"
VALUE = "google.protobuf.Value"

WRITERS: dict[str, Callable[[Any], object]] = {
    "google.protobuf.Timestamp": times.write_timestamp,
    "google.protobuf.Duration": times.write_duration,
    "google.protobuf.FieldMask": times.write_field_mask,
    "google.protobuf.Struct": structs.write_struct,
    "google.protobuf.ListValue": structs.write_list,
    VALUE: structs.write_value,
}

READERS: dict[str, Callable[[Any, Any], None]] = {
    "google.protobuf.Timestamp": times.read_timestamp,
    "google.protobuf.Duration": times.read_duration,
    "google.protobuf.FieldMask": times.read_field_mask,
    "google.protobuf.Struct": structs.read_struct,
    "google.protobuf.ListValue": structs.read_list,
    VALUE: structs.read_value,
}

TEXTS = ("google.protobuf.Timestamp", "google.protobuf.Duration", "google.protobuf.FieldMask")
"""Those whose form is a string."""

_WRAPPERS = "google/protobuf/wrappers.proto"


def wrapped(descriptor: Descriptor, /) -> FieldDescriptor | None:
    """The field within a wrapper such as `Int32Value`."""
    return descriptor.fields_by_name["value"] if descriptor.file.name == _WRAPPERS else None


def is_special(descriptor: Descriptor, /) -> bool:
    """Whether JSON has this message in another form than an object of its fields; within `Any` it is its `value`."""
    return descriptor.full_name in WRITERS or descriptor.full_name == ANY or wrapped(descriptor) is not None
