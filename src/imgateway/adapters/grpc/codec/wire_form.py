"""Messages as bytes, and which field it is that keeps a message from being sent.

Protobuf refuses a message as a whole, so what it refuses is looked through a second time, field by field: in time that
is linear in the message, and no further than the first field that is wrong.
"""

from collections.abc import Iterator
from typing import Any, Final

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, EncodeError

from imgateway.adapters.grpc.codec import well_known
from imgateway.adapters.grpc.codec.field_paths import FREE
from imgateway.adapters.grpc.codec.shapes import is_map, key_and_value
from imgateway.adapters.grpc.codec.structs import key_path
from imgateway.adapters.grpc.field_error import FieldError, NestingError

MAX_MESSAGES: Final = 100
"""Messages within a message, each in the one before, that protobuf's parsers follow. A map's entry is one as well."""

_Steps = tuple[str, ...]


def serialised(message: Any, /) -> bytes:
    """A message as bytes.

    Raises:
        FieldError: a required field is missing, of which the path is; or NestingError.
    """
    try:
        data: bytes = type(message).SerializeToString(message)
    except EncodeError:
        missing = _missing(message, {})
        raise _too_deep(message) if missing is None else FieldError.at(missing, "is required, but missing") from None
    return data


def check_depth(message: Any, /, data: bytes | None = None) -> None:
    """Raises NestingError where a message, of which `data` is the serialised form, nests deeper than receivers follow.

    Required fields may be missing.
    """
    kind = type(message)
    try:
        kind.MergeFromString(kind(), kind.SerializePartialToString(message) if data is None else data)
    except (EncodeError, DecodeError):
        raise _too_deep(message) from None


def _too_deep(message: Any) -> NestingError:
    return NestingError(_deeper(message, MAX_MESSAGES) or ())


def _missing(message: Any, required: dict[type, tuple[FieldDescriptor, ...] | None]) -> _Steps | None:
    """The steps to the first required field that is not there.

    `IsInitialized` would say which message to look into, but it reads all that is in there: asked at each of a hundred
    levels, the same megabytes a hundred times.

    Args:
        message: what to look through.
        required: what is known of each type so far; None: it requires nothing, nor does what is in it.
    """
    kind = type(message)
    if kind not in required:
        of = kind.DESCRIPTOR
        required[kind] = None if well_known.is_special(of) else tuple(field for field in of.fields if field.is_required)
    own = required[kind]
    if own is None:
        return None
    for field in own:
        if not kind.HasField(message, field.name):
            return (field.json_name,)
    for steps, _, inner in _messages_in(message):
        further = None if inner is None else _missing(inner, required)
        if further is not None:
            return (*steps, *further)
    return None


def _deeper(message: Any, left: int) -> _Steps | None:
    """The steps to the first message that is more than `left` messages within this one."""
    for steps, levels, inner in _messages_in(message):
        further = () if levels > left else None if inner is None else _deeper(inner, left - levels)
        if further is not None:
            return (*steps, *further)
    return None


def _messages_in(message: Any) -> Iterator[tuple[_Steps, int, Any]]:
    """For each message directly within: the steps there, how many messages further inside, and itself.

    In a map it is two: its entry is one as well, and there is no other where the values are no messages.
    """
    free = type(message).DESCRIPTOR.full_name in FREE
    for field, value in type(message).ListFields(message):
        if field.message_type is None:
            continue
        name = () if free else (field.json_name,)
        if is_map(field):
            holds = key_and_value(field)[1].message_type is not None
            for key in value:
                yield (
                    (*name, key_path(str(key).lower() if isinstance(key, bool) else str(key))),
                    1 + holds,
                    (value[key] if holds else None),
                )
        elif field.is_repeated:
            yield from (((*name, f"[{index}]"), 1, element) for index, element in enumerate(value))
        else:
            yield name, 1, value
