"""Messages as bytes, and which field it is that keeps a message from being sent.

Protobuf refuses a message as a whole. What it refuses is looked through a second time, field by field: in time that is
linear in the message, and no further than the first field that is wrong.
"""

from collections.abc import Callable, Iterator
from typing import Any, Final

import attrs
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import DecodeError, EncodeError
from google.protobuf.message_factory import GetMessageClass

from imgateway.adapters.grpc.codec import well_known
from imgateway.adapters.grpc.codec.field_paths import FREE
from imgateway.adapters.grpc.codec.shapes import is_map, key_and_value, method
from imgateway.adapters.grpc.codec.structs import key_path
from imgateway.adapters.grpc.field_error import FieldError, NestingError

MAX_MESSAGES: Final = 100
"""Messages within a message, each in the one before, that protobuf's parsers follow. A map's entry is one as well."""

_Steps = tuple[str, ...]


def serialised(message: Any, descriptor: Descriptor, /) -> bytes:
    """A message as bytes.

    Raises:
        FieldError: a required field is missing, of which the path is.
    """
    try:
        data: bytes = method(descriptor, "SerializeToString")(message)
    except EncodeError:
        raise refusal(message) from None
    return data


def refusal(message: Any, /) -> FieldError:
    """Why a message could not be serialised: a required field is missing, or else it nests too deep."""
    descriptor = type(message).DESCRIPTOR
    missing = _Search().missing(message, descriptor)
    return _too_deep(message, descriptor) if missing is None else FieldError.at(missing, "is required, but missing")


def check_depth(message: Any, descriptor: Descriptor, /, data: bytes | None = None) -> None:
    """Raises NestingError where a message, of which `data` is the serialised form, nests deeper than receivers follow.

    Required fields may be missing.
    """
    try:
        if data is None:
            data = method(descriptor, "SerializePartialToString")(message)
        method(descriptor, "MergeFromString")(GetMessageClass(descriptor)(), data)
    except (EncodeError, DecodeError):
        raise _too_deep(message, descriptor) from None


def _too_deep(message: Any, descriptor: Descriptor) -> NestingError:
    return NestingError(_Search().too_deep(message, descriptor, MAX_MESSAGES) or ())


@attrs.frozen
class _Kind:
    """What a search asks of a type once.

    Attributes:
        required: its own fields that are.
        names: for each field that holds messages the step of a path, which there is none of within a `Value`; and for
            a map the field of its values.
    """

    has: Callable[[Any, str], bool]
    list_fields: Callable[[Any], list[tuple[FieldDescriptor, Any]]]
    required: tuple[FieldDescriptor, ...]
    names: dict[int, tuple[_Steps, FieldDescriptor | None]]

    @classmethod
    def of(cls, descriptor: Descriptor) -> "_Kind":
        free = descriptor.full_name in FREE
        return cls(
            has=method(descriptor, "HasField"),
            list_fields=method(descriptor, "ListFields"),
            required=tuple(field for field in descriptor.fields if field.is_required),
            names={
                field.number: (
                    () if free else (field.json_name,),
                    key_and_value(field)[1] if is_map(field) else None,
                )
                for field in descriptor.fields
                if field.message_type is not None
            },
        )


def _key(key: object) -> _Steps:
    return (key_path(str(key).lower() if isinstance(key, bool) else str(key)),)


def _index(index: int) -> _Steps:
    return (f"[{index}]",)


def _nothing(_: None) -> _Steps:
    return ()


_Way = tuple[_Steps, Callable[[Any], _Steps], Any]
"""Steps of a path that are only made once it is known that something is wrong there."""

_Inner = tuple[_Way, int, Any, Descriptor | None]
"""The way to a message directly within another; how many messages further inside it is, two in a map; itself and its
type, or no type for what is no message, in the entry of a map."""


def _told(way: _Way, further: _Steps = ()) -> _Steps:
    name, step, which = way
    return (*name, *step(which), *further)


class _Search:
    """One look through a message."""

    def __init__(self) -> None:
        self._kinds: dict[Descriptor, _Kind] = {}

    def missing(self, message: Any, descriptor: Descriptor) -> _Steps | None:
        """The steps to the first required field that is not there."""
        kind = self._kind(descriptor)
        for field in kind.required:
            if not kind.has(message, field.name):
                return (field.json_name,)
        for way, _, inner, type_of_inner in self._inner(message, kind):
            if type_of_inner is not None and not well_known.is_special(type_of_inner):  # these require nothing
                found = self.missing(inner, type_of_inner)
                if found is not None:
                    return _told(way, found)
        return None

    def too_deep(self, message: Any, descriptor: Descriptor, left: int) -> _Steps | None:
        """The steps to the first message that is more than `left` messages within this one."""
        for way, levels, inner, type_of_inner in self._inner(message, self._kind(descriptor)):
            if levels > left:
                return _told(way)
            if type_of_inner is not None:
                found = self.too_deep(inner, type_of_inner, left - levels)
                if found is not None:
                    return _told(way, found)
        return None

    def _kind(self, descriptor: Descriptor) -> _Kind:
        kind = self._kinds.get(descriptor)
        if kind is None:
            kind = self._kinds[descriptor] = _Kind.of(descriptor)
        return kind

    @staticmethod
    def _inner(message: Any, kind: _Kind) -> Iterator[_Inner]:
        for field, value in kind.list_fields(message):
            if field.number not in kind.names:
                continue
            name, content = kind.names[field.number]
            if content is not None:
                levels = 1 if content.message_type is None else 2
                for key in value:
                    yield (name, _key, key), levels, value[key], content.message_type
            elif field.is_repeated:
                for index, element in enumerate(value):
                    yield (name, _index, index), 1, element, field.message_type
            else:
                yield (name, _nothing, None), 1, value, field.message_type
