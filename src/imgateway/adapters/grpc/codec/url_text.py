"""Fields from text, as query strings and path variables have it."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message_factory import GetMessageClass

from imgateway.adapters.grpc.codec import scalars, well_known
from imgateway.adapters.grpc.codec.field_paths import error_of
from imgateway.adapters.grpc.codec.shapes import holder_of, message_of
from imgateway.adapters.grpc.field_error import FieldError


class UnsupportedFieldError(ValueError):
    """A field that can't be written as text."""


def _checked(path: Sequence[FieldDescriptor]) -> FieldDescriptor:
    if not path:
        raise UnsupportedFieldError("the path is empty")
    for outer, inner in pairwise(path):
        if outer.is_repeated or outer.message_type is None:
            raise UnsupportedFieldError(f"{outer.full_name} is no single message that {inner.name} could be in")
        if well_known.is_special(outer.message_type):
            raise UnsupportedFieldError(f"{outer.full_name} has a form of its own, without {inner.name}")
        if inner.containing_type is not outer.message_type:
            raise UnsupportedFieldError(f"{inner.full_name} is no field of {outer.message_type.full_name}")
    return path[-1]


def _element_writer(field: FieldDescriptor) -> Callable[[Any, str], None]:
    """What fills a message, the value or one element of `field`, from text."""
    descriptor = message_of(field)
    if descriptor.full_name in well_known.TEXTS:
        read = well_known.READERS[descriptor.full_name]
        return lambda message, text: read(text, message)
    wrapped = well_known.wrapped(descriptor)
    if wrapped is None:
        raise UnsupportedFieldError(f"{field.full_name} can't be written as text")
    read_scalar = scalars.text_reader(wrapped)

    def write(message: Any, text: str) -> None:
        message.value = read_scalar(text)

    return write


def _writer(field: FieldDescriptor) -> Callable[[Any, str], None]:
    name = field.name
    if field.message_type is None:
        read = scalars.text_reader(field)
        if field.is_repeated:
            return lambda message, text: getattr(message, name).append(read(text))
        return lambda message, text: setattr(message, name, read(text))
    fill = _element_writer(field)
    if field.is_repeated:
        return lambda message, text: fill(getattr(message, name).add(), text)

    clear = GetMessageClass(holder_of(field)).ClearField

    def write(message: Any, text: str) -> None:
        clear(message, name)
        inner = getattr(message, name)
        inner.SetInParent()  # of a well-known type: none of their fields is called like that
        fill(inner, text)

    return write


def text_setter(path: Sequence[FieldDescriptor], /) -> Callable[[Any, str], None]:
    """What sets the field at the end of `path`, or appends to it if it is repeated.

    Raises:
        UnsupportedFieldError: text can't be a value of that field, or the path leads through something else than
            single messages.
    """
    field = _checked(path)
    write = _writer(field)
    outer = tuple(step.name for step in path[:-1])
    oneofs = tuple(
        (index, step.containing_oneof.name, step.name, GetMessageClass(holder_of(step)).WhichOneof)
        for index, step in enumerate(path)
        if step.containing_oneof is not None and len(step.containing_oneof.fields) > 1
    )

    def refuse_second_member(message: Any) -> None:
        for index, oneof, name, which in oneofs:
            inner = message
            for step in outer[:index]:
                inner = getattr(inner, step)
            if which(inner, oneof) not in (None, name):
                raise error_of(path, f"can't be given together with another field of {oneof}")

    def set_text(message: Any, text: str) -> None:
        if oneofs:
            refuse_second_member(message)
        for step in outer:
            message = getattr(message, step)
        try:
            write(message, text)
        except FieldError as error:
            raise error_of(path, error.why) from None

    return set_text
