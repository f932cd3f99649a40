"""What a field holds, where the descriptors' own types leave it open."""

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor


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
