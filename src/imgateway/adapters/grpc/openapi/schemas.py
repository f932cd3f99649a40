"""Messages and enums as schemas, each once, by reference."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from typing import Literal

from google.api import field_behavior_pb2
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

from imgateway.adapters.grpc.codec.scalars import NULL_VALUE
from imgateway.adapters.grpc.openapi.comments import Comments
from imgateway.adapters.grpc.openapi.values import (
    COMMON,
    OWN,
    Schema,
    common_key,
    common_message,
    common_scalar,
    enumeration,
    has_own_form,
    map_keys,
    scalar,
    well_known,
)


class Schemas:
    """The schemas under `components`: of every message and enum that can be reached from the methods.

    Args:
        roots: the messages of all methods. A type is called by its name without the package where nothing else here
            is called so, else by its full name.
        taken: names that are not free.
        closed: whether members that are no fields are refused.
    """

    def __init__(
        self,
        roots: Iterable[Descriptor],
        comments: Comments,
        field_names: Literal["json", "proto"],
        taken: Collection[str] = (),
        *,
        closed: bool = False,
    ) -> None:
        self._comments = comments
        self._json = field_names == "json"
        self._closed = closed
        self._names = _named(_reachable(roots), taken)
        self._made: dict[str, Schema] = {}
        self._referred: list[tuple[str, Descriptor]] = []

    @property
    def components(self) -> dict[str, Schema]:
        """Every schema that was referred to, in the order of their names."""
        # Not by recursion: a chain of messages may be a long one.
        while self._referred:
            name, message = self._referred.pop()
            self._made[name] = self.members(message)
        return dict(sorted(self._made.items()))

    def name(self, field: FieldDescriptor, /) -> str:
        """A field as the document calls it."""
        return field.json_name if self._json else field.name

    def message(self, message: Descriptor, /) -> Schema:
        """A message: a reference, or what stands for a well-known type."""
        common = common_message(message.full_name)
        if common is not None:
            return self._common(common)
        known = well_known(message.full_name)
        if known is not None:
            return self._shut(known) if message.full_name == "google.protobuf.Empty" else known
        name = self._names[message.full_name]
        if name not in self._made:
            self._made[name] = {}
            self._referred.append((name, message))
        return {"$ref": f"#/components/schemas/{name}"}

    def members(self, message: Descriptor, /, *, without: Collection[str] = ()) -> Schema:
        """A message's members in place, but for the fields named (as in the proto)."""
        fields = [field for field in message.fields if field.name not in without]
        choices = list(self._choices(message, without))
        sentences = [f"At most one of {', '.join(f'`{name}`' for name in names)}." for names in choices]
        schema: Schema = {"type": "object"}
        if text := "\n\n".join(filter(None, (self._comments.of(message.full_name), *sentences))):
            schema["description"] = text
        if choices:
            schema["x-at-most-one"] = choices
            refused = [_two_of(names) for names in choices]
            schema["not"] = refused[0] if len(refused) == 1 else {"anyOf": refused}
        if fields:
            schema["properties"] = {self.name(field): self.field(field) for field in fields}
        if required := [self.name(field) for field in fields if field.is_required]:
            schema["required"] = required
        return _marked(self._shut(schema), message.GetOptions().deprecated)

    def field(self, field: FieldDescriptor, /) -> Schema:
        """A field's value with what is said about it."""
        schema = self.value(field)
        behaviors = field.GetOptions().Extensions[field_behavior_pb2.field_behavior]
        notes = [self._comments.of(field.full_name)]
        if field_behavior_pb2.REQUIRED in behaviors:
            notes.append("Required.")
        if text := "\n\n".join(filter(None, (*notes, schema.get("description")))):
            schema["description"] = text
        if field_behavior_pb2.OUTPUT_ONLY in behaviors:
            schema["readOnly"] = True
        if field_behavior_pb2.INPUT_ONLY in behaviors:
            schema["writeOnly"] = True
        return _marked(schema, field.GetOptions().deprecated)

    def value(self, field: FieldDescriptor, /) -> Schema:
        """A field's value alone: an array for a repeated field, an object for a map."""
        if not field.is_repeated:
            return self.single(field)
        entry = field.message_type
        if entry is None or not entry.GetOptions().map_entry:
            return {"type": "array", "items": self.single(field)}
        key_type = entry.fields_by_number[1].type
        schema: Schema = {"type": "object", "additionalProperties": self.single(entry.fields_by_number[2])}
        common = common_key(key_type)
        keys = map_keys(key_type) if common is None else self._common(common)
        return schema if keys is None else schema | {"propertyNames": keys}

    def single(self, field: FieldDescriptor, /) -> Schema:
        """One value of a field."""
        if field.message_type is not None:
            return self.message(field.message_type)
        if field.enum_type is not None:
            return self._enum(field.enum_type)
        common = common_scalar(field.type)
        return scalar(field.type) if common is None else self._common(common)

    def _common(self, full_name: str) -> Schema:
        name = self._names[full_name]
        if name not in self._made:
            self._made[name] = COMMON[full_name]()
        return {"$ref": f"#/components/schemas/{name}"}

    def _shut(self, schema: Schema) -> Schema:
        return {**schema, "additionalProperties": False} if self._closed else schema

    def _enum(self, enum: EnumDescriptor) -> Schema:
        if enum.full_name == NULL_VALUE:
            return {"type": "null"}
        name = self._names[enum.full_name]
        if name not in self._made:
            schema = enumeration(enum)
            said = [(value.name, self._comments.of(f"{enum.full_name}.{value.name}")) for value in enum.values]
            values = "\n".join(f"- `{value}`: {' '.join(text.split())}" for value, text in said if text)
            if text := "\n\n".join(filter(None, (self._comments.of(enum.full_name), values))):
                schema = {"description": text, **schema}
            self._made[name] = _marked(schema, enum.GetOptions().deprecated)
        return {"$ref": f"#/components/schemas/{name}"}

    def _choices(self, message: Descriptor, without: Collection[str]) -> Iterator[list[str]]:
        """The oneofs; a field marked `optional` is one of its own, and no choice."""
        for oneof in message.oneofs:
            names = [self.name(field) for field in oneof.fields if field.name not in without]
            if len(names) > 1:
                yield names


def _marked(schema: Schema, deprecated: bool) -> Schema:
    return schema | {"deprecated": True} if deprecated else schema


def _two_of(names: list[str]) -> Schema:
    """Matches objects with two or more of these members, which must be at least two. Grows no faster than they do."""
    if len(names) == 2:
        return {"required": names}
    each = [{"required": [name]} for name in names]
    return {"anyOf": each, "not": {"oneOf": each}}


def _reachable(roots: Iterable[Descriptor]) -> dict[str, str]:
    """How all types, and what is common, are called without their packages, by their full names."""
    found: dict[str, str] = {}
    waiting = list(roots)

    def add(full_name: str, package: str) -> None:
        found[full_name] = full_name.removeprefix(f"{package}.") if package else full_name

    def add_common(name: str | None) -> None:
        if name is not None:
            found[name] = name.removeprefix(OWN).rpartition(".")[2]

    while waiting:
        message = waiting.pop()
        add_common(common_message(message.full_name))
        if message.full_name in found or has_own_form(message.full_name):
            continue
        add(message.full_name, message.file.package)
        for field in message.fields:
            add_common(common_scalar(field.type))
            if field.message_type is not None:
                waiting.append(field.message_type)
            elif field.enum_type is not None:
                add(field.enum_type.full_name, field.enum_type.file.package)
        if message.GetOptions().map_entry:
            add_common(common_key(message.fields_by_number[1].type))
    return found


def _named(types: dict[str, str], taken: Collection[str]) -> dict[str, str]:
    """How components are called, each otherwise: short, unless others have that as their short or full name."""
    counts = Counter([*types.values(), *taken])

    def named(full_name: str, short: str) -> str:
        if counts[short] == 1 and (short == full_name or short not in types):
            return short
        # A type outside any package has no other name; with the hyphen it is none of a type.
        return f"{full_name}-type" if full_name in taken else full_name

    return {full_name: named(full_name, short) for full_name, short in types.items()}
