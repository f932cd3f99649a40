"""How errors name fields, elements and entries: `members[2].labels["x"]`."""

from collections.abc import Sequence

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from imgateway.adapters.grpc.codec import well_known
from imgateway.adapters.grpc.codec.json_places import Steps
from imgateway.adapters.grpc.codec.shapes import is_map, key_and_value
from imgateway.adapters.grpc.codec.structs import key_path
from imgateway.adapters.grpc.field_error import FieldError

_NAME_LENGTH = 60

FREE = ("google.protobuf.Struct", "google.protobuf.ListValue", well_known.VALUE)
"""Those whose members are no fields."""


def shown(name: str, /) -> str:
    """A member's name that is not ours, fit to stand in a message."""
    name = name if len(name) <= _NAME_LENGTH else name[:_NAME_LENGTH] + "…"
    return "".join(c if c.isprintable() else "?" for c in name)


def _step(step: str | int, at: Descriptor | FieldDescriptor | None) -> tuple[str, Descriptor | FieldDescriptor | None]:
    """A step from what is at a place, as a path has it, and what is there; None where no message's type says."""
    if isinstance(at, FieldDescriptor):
        if is_map(at) and isinstance(step, str):
            return key_path(step), key_and_value(at)[1]
        if at.is_repeated and isinstance(step, int):
            return f"[{step}]", at.message_type
        at = None if at.is_repeated else at.message_type
    free = at is not None and at.full_name in FREE
    if isinstance(step, int):
        return f"[{step}]", at if free else None
    if free:
        return key_path(step), at
    if at is not None and not well_known.is_special(at):
        for field in at.fields:
            if step == field.json_name:
                return step, field
        named = at.fields_by_name.get(step)
        if named is not None:
            return named.json_name, named
    return shown(step) or key_path(step), None


def error_of(path: Sequence[FieldDescriptor], why: str, /) -> FieldError:
    """An error of a field, by the fields that lead to it and itself."""
    return FieldError.at((field.json_name for field in path), why)


def error_at(steps: Steps, why: str, at: Descriptor | FieldDescriptor, /) -> FieldError:
    """An error of a text of JSON, for a message or one of its fields, with the path that an error of values has.

    What is within an `Any`, or is no field, is named as the text does.
    """
    path = [at.json_name] if isinstance(at, FieldDescriptor) else []
    there: Descriptor | FieldDescriptor | None = at
    for step in steps:
        name, there = _step(step, there)
        path.append(name)
    return FieldError.at(path, why)
