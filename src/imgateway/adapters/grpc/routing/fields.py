"""Fields of messages by the names that rules and clients use."""

from collections.abc import Sequence

import attrs
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

FieldPath = tuple[FieldDescriptor, ...]
"""From a field of the request message inwards."""


@attrs.define(eq=False)
class FieldNames:
    """Finds fields by their names in the proto file and in JSON; the former count where they contradict."""

    _known: dict[str, dict[str, FieldDescriptor]] = attrs.field(factory=dict, init=False)

    def field(self, message: Descriptor, name: str, /) -> FieldDescriptor | None:
        """One field of a message."""
        fields = self._known.get(message.full_name)
        if fields is None:
            fields = {field.json_name: field for field in message.fields}
            fields.update((field.name, field) for field in message.fields)
            self._known[message.full_name] = fields
        return fields.get(name)

    def path(self, message: Descriptor, names: Sequence[str], /) -> FieldPath:
        """A field inside of messages inside of `message`.

        Raises:
            ValueError: there is none; the message says why.
        """
        fields: list[FieldDescriptor] = []
        inner: Descriptor | None = message
        for name in names:
            if inner is None:
                raise ValueError(f"{fields[-1].full_name} has no fields")
            if fields and fields[-1].is_repeated:
                raise ValueError(f"{fields[-1].full_name} is repeated")
            field = self.field(inner, name)
            if field is None:
                raise ValueError(f"{inner.full_name} has no field {name}")
            fields.append(field)
            inner = field.message_type
        return tuple(fields)


def json_path(path: FieldPath, /) -> str:
    """How clients name a field: `a.bC`."""
    return ".".join(field.json_name for field in path)


def numbers(path: FieldPath, /) -> tuple[int, ...]:
    """What tells fields of one message apart, whatever they are called."""
    return tuple(field.number for field in path)


def value_at(message: Message, path: FieldPath, /) -> object:
    """The value of a field, its default where it is unset. Changes nothing."""
    value: object = message
    for field in path:
        value = getattr(value, field.name)
    return value
