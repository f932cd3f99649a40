"""The ProtoJSON format (https://protobuf.dev/programming-guides/json/), compiled from descriptors.

Methods of messages are asked of their class: `message.HasField` is a field's value where a field has that name.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import msgspec
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message

from imgateway.adapters.grpc.codec import json_places, json_text, url_text
from imgateway.adapters.grpc.codec.decoding import Decode, Decoders
from imgateway.adapters.grpc.codec.encoding import Encode, Encoders
from imgateway.adapters.grpc.codec.field_paths import error_at
from imgateway.adapters.grpc.codec.json_text import MAX_DEPTH, WIRE_SAFE_DEPTH
from imgateway.adapters.grpc.codec.url_text import UnsupportedFieldError
from imgateway.adapters.grpc.codec.wire_form import check_depth, serialised
from imgateway.adapters.grpc.field_error import TOO_DEEP, FieldError

__all__ = ["MAX_DEPTH", "MessageCodec", "UnsupportedFieldError", "serialised"]

_encode = msgspec.json.Encoder().encode


def _writing(encode: Encode) -> Callable[[Message], bytes]:
    def write(message: Message, /) -> bytes:
        try:
            return _encode(encode(message))
        except RecursionError:
            raise ValueError(f"a message {TOO_DEEP}") from None

    return write


def _reading(decode: Decode, of: Descriptor | FieldDescriptor) -> Callable[[bytes, Message], None]:
    def read(text: bytes, message: Message, /) -> None:
        try:
            value, deep = json_text.read(text)
        except json_text.TextError as error:
            raise error_at(error.steps, error.why, of) from None
        try:
            decode(value, message)
            if deep:
                check_depth(message)
        except RecursionError:
            raise error_at(json_places.of_depth(text, WIRE_SAFE_DEPTH) or (), TOO_DEEP, of) from None

    return read


class MessageCodec:
    """Makes functions that encode and decode the messages of one descriptor pool.

    They are made once for each message or field, and then fast; they keep no state, and may be called from any thread.
    Extensions are unknown fields, in both directions.

    Args:
        pool: where the types in `google.protobuf.Any` are looked up. The descriptors given to the methods, and the
            messages given to the functions, must be of this pool, the messages' classes made by `message_factory`.
        unknown_fields: what to do with members that are no fields. A name that an enum doesn't have is an error always:
            a message without it would be another one.
        field_names: the names written; both are read.
    """

    def __init__(
        self,
        pool: DescriptorPool,
        *,
        unknown_fields: Literal["ignore", "reject"] = "ignore",
        field_names: Literal["json", "proto"] = "json",
    ) -> None:
        self._encoders = Encoders(pool, field_names == "json")
        self._decoders = Decoders(pool, unknown_fields == "ignore")
        self._made: dict[tuple[str, Descriptor | FieldDescriptor], Any] = {}

    def _once(self, kind: str, descriptor: Descriptor | FieldDescriptor, make: Callable[[], Any]) -> Any:
        made = self._made.get((kind, descriptor))
        if made is None:
            made = self._made[kind, descriptor] = make()
        return made

    def encoder(self, descriptor: Descriptor, /) -> Callable[[Message], bytes]:
        """What writes a message of this type as compact JSON, without fields that are not set.

        The function raises ValueError for what JSON can't have: an `Any` of an unknown type, a `Timestamp` out of
        range, more nesting than Python can follow.
        """
        encode: Callable[[Message], bytes] = self._once(
            "encode", descriptor, lambda: _writing(self._encoders.message(descriptor))
        )
        return encode

    def field_encoder(self, field: FieldDescriptor, /) -> Callable[[Message], bytes]:
        """What writes the value of one field of a message: the default where it is not set, and null for a message.

        The function raises ValueError as that of `encoder` does.
        """
        encode: Callable[[Message], bytes] = self._once("encode", field, lambda: _writing(self._encoders.field(field)))
        return encode

    def decoder(self, descriptor: Descriptor, /) -> Callable[[bytes, Message], None]:
        """What reads JSON text into an empty message of this type.

        The function raises FieldError, which names the field by its JSON names, and may leave the message half filled.
        Only text that every reader understands the same is accepted: no name twice, neither literally nor once in
        each spelling, no more than `MAX_DEPTH` levels, no number that is rounded into another kind.
        What it accepts can be parsed from the wire format as well, except for required fields that are missing: path
        and query may bring them yet. Within an `Any` they are refused like anything else that is wrong.
        """
        decode: Callable[[bytes, Message], None] = self._once(
            "decode", descriptor, lambda: _reading(self._decoders.message(descriptor), descriptor)
        )
        return decode

    def field_decoder(self, field: FieldDescriptor, /) -> Callable[[bytes, Message], None]:
        """What reads JSON text as the value of one field of a message; paths in FieldError begin with its name."""
        name = field.json_name

        def make() -> Callable[[bytes, Message], None]:
            read = _reading(self._decoders.field(field), field)

            def decode(text: bytes, message: Message, /) -> None:
                try:
                    read(text, message)
                except FieldError as error:
                    raise error if error.path else error.within(name) from None

            return decode

        decode: Callable[[bytes, Message], None] = self._once("decode", field, make)
        return decode

    def text_setter(self, path: Sequence[FieldDescriptor], /) -> Callable[[Message, str], None]:
        """What sets the field at the end of `path` from text as URLs have it, or appends to it if it is repeated.

        Text can be scalars, enums by name or number, wrappers, `Timestamp`, `Duration` and `FieldMask`. The function
        raises FieldError.

        Raises:
            UnsupportedFieldError: the field at the end can't be written as text, or another one is no single message.
        """
        return url_text.text_setter(path)
