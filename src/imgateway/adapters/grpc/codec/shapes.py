"""What a field holds, where the descriptors' own types leave it open."""

from typing import Any

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass


def holder_of(field: FieldDescriptor, /) -> Descriptor:
    """The message type that a field belongs to."""
    if field.containing_type is None:
        raise TypeError(f"{field.full_name} belongs to no message")
    return field.containing_type


def message_of(field: FieldDescriptor, /) -> Descriptor:
    """The message type of a field that has one."""
    if field.message_type is None:
        raise TypeError(f"{field.full_name} holds no messages")
    return field.message_type


def enum_of(field: FieldDescriptor, /) -> EnumDescriptor:
    """The enum of a field that has one."""
    if field.enum_type is None:
        raise TypeError(f"{field.full_name} holds no enum")
    return field.enum_type


def is_map(field: FieldDescriptor, /) -> bool:
    """Whether a field is a map."""
    return field.type == FieldDescriptor.TYPE_MESSAGE and message_of(field).GetOptions().map_entry


def key_and_value(field: FieldDescriptor, /) -> tuple[FieldDescriptor, FieldDescriptor]:
    """The two fields in the entries of a map."""
    entry = message_of(field).fields_by_name
    return entry["key"], entry["value"]


def may_hold_bytes(field: FieldDescriptor, /) -> bool:
    """Whether messages may have bytes in this string field that are no UTF-8: proto2, or `utf8_validation = NONE`.

    Protobuf has no public word for it, so it is asked to read some.
    """
    kind = GetMessageClass(holder_of(field))
    message: Any = kind()
    if field.is_repeated:
        getattr(message, field.name).append("a")
    else:
        setattr(message, field.name, "a")
    data = kind.SerializePartialToString(message)
    try:
        kind.MergeFromString(message, data.removesuffix(b"a") + b"\xff")
    except (DecodeError, ValueError):
        return False
    return True
