"""JSON values into messages: for each message type a table of what to do with each member's name."""

from collections import deque
from collections.abc import Callable
from threading import Lock
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

from imgateway.adapters.grpc.codec import scalars, well_known
from imgateway.adapters.grpc.codec.field_paths import shown
from imgateway.adapters.grpc.codec.shapes import holder_of, is_map, key_and_value, message_of
from imgateway.adapters.grpc.codec.structs import key_path
from imgateway.adapters.grpc.codec.wire_form import check_depth, serialised
from imgateway.adapters.grpc.field_error import FieldError

Decode = Callable[[Any, Any], None]
"""A JSON value into a message, or into one field of a message; raises FieldError."""


def takes_null(field: FieldDescriptor, /) -> bool:
    """Whether null is a value of the field rather than its absence."""
    if field.message_type is not None:
        return field.message_type.full_name == well_known.VALUE
    return field.enum_type is not None and field.enum_type.full_name == scalars.NULL_VALUE


class Decoders:
    """The functions of one pool's messages, made when they are first asked for, from any thread."""

    def __init__(self, pool: DescriptorPool, ignore_unknown: bool) -> None:
        self._pool = pool
        self._ignore_unknown = ignore_unknown
        self._messages: dict[Descriptor, Decode] = {}
        self._unfilled: deque[Callable[[], None]] = deque()
        self._making = Lock()

    def message(self, descriptor: Descriptor, /) -> Decode:
        """The function that fills an empty message of a type from a JSON value."""
        with self._making:
            decode = self._message(descriptor)
            self._fill()
        return decode

    def field(self, field: FieldDescriptor, /) -> Decode:
        """The function that sets one field of a message from a JSON value; paths begin with the field's name."""
        with self._making:
            decode = self._field(field)
            self._fill()
        return decode

    def _fill(self) -> None:
        """Fill the tables that are empty yet. Not by recursion: a chain of types may be a long one."""
        while self._unfilled:
            self._unfilled[0]()
            self._unfilled.popleft()  # only now: a table that could not be filled is tried again, and never half used

    def _message(self, descriptor: Descriptor) -> Decode:
        decode = self._messages.get(descriptor)
        if decode is not None:
            return decode
        wrapped = well_known.wrapped(descriptor)
        if descriptor.full_name in well_known.READERS:
            decode = well_known.READERS[descriptor.full_name]
        elif descriptor.full_name == well_known.ANY:
            decode = self._any
        elif wrapped is not None:
            decode = _wrapper(scalars.reader(wrapped))
        else:
            return self._regular(descriptor)
        self._messages[descriptor] = decode
        return decode

    def _field(self, field: FieldDescriptor) -> Decode:
        if is_map(field):
            write = self._map(field)
        elif field.is_repeated:
            write = self._repeated(field)
        elif field.message_type is not None:
            write = self._singular_message(field)
        else:
            write = self._singular(field)
        oneof = field.containing_oneof
        name, json_name, null = field.name, field.json_name, takes_null(field) and not field.is_repeated
        clear = GetMessageClass(holder_of(field)).ClearField

        def decode(value: Any, message: Any) -> None:
            if value is None and not null:
                clear(message, name)
                return
            try:
                write(value, message)
            except FieldError as error:
                raise error.within(json_name) from None

        if oneof is None or len(oneof.fields) < 2:
            return decode
        oneof_name, which = oneof.name, GetMessageClass(holder_of(field)).WhichOneof

        def decode_member(value: Any, message: Any) -> None:
            if (value is not None or null) and which(message, oneof_name) not in (None, name):
                raise FieldError(json_name, f"can't be given together with another field of {oneof_name}")
            decode(value, message)

        return decode_member

    def _regular(self, descriptor: Descriptor) -> Decode:
        by_json_name: dict[str, Decode] = {}
        by_proto_name: dict[str, tuple[str, Decode]] = {}
        ignore_unknown = self._ignore_unknown

        def decode(value: Any, message: Any) -> None:
            if type(value) is not dict:
                raise FieldError("", "must be an object")
            for name, member in value.items():
                write = by_json_name.get(name)
                if write is None:
                    renamed = by_proto_name.get(name)
                    if renamed is None:
                        if ignore_unknown:
                            continue
                        raise FieldError(shown(name), "is no field of this message")
                    json_name, write = renamed
                    if json_name in value:
                        raise FieldError(json_name, f"is given twice, also as {name}")
                write(member, message)

        def fill() -> None:
            for field in descriptor.fields:
                write = self._field(field)
                by_json_name[field.json_name] = write
                if field.name != field.json_name:
                    by_proto_name[field.name] = (field.json_name, write)

        self._messages[descriptor] = decode
        self._unfilled.append(fill)
        return decode

    def _singular(self, field: FieldDescriptor) -> Decode:
        name, read = field.name, scalars.reader(field)
        return lambda value, message: setattr(message, name, read(value))

    def _singular_message(self, field: FieldDescriptor) -> Decode:
        name, descriptor = field.name, message_of(field)
        decode, set_in_parent = self._message(descriptor), GetMessageClass(descriptor).SetInParent

        def write(value: Any, message: Any) -> None:
            inner = getattr(message, name)
            set_in_parent(inner)
            decode(value, inner)

        return write

    def _repeated(self, field: FieldDescriptor) -> Decode:
        name = field.name
        if field.message_type is not None:
            decode, null = self._message(field.message_type), takes_null(field)

            def write_messages(value: Any, message: Any) -> None:
                if type(value) is not list:
                    raise FieldError("", "must be an array")
                elements = getattr(message, name)
                del elements[:]
                for index, element in enumerate(value):
                    try:
                        if element is None and not null:
                            raise FieldError("", "can't be null")
                        decode(element, elements.add())
                    except FieldError as error:
                        raise error.within(f"[{index}]") from None

            return write_messages
        read = scalars.reader(field)

        def write(value: Any, message: Any) -> None:
            if type(value) is not list:
                raise FieldError("", "must be an array")
            elements = []
            for index, element in enumerate(value):
                try:
                    elements.append(read(element))
                except FieldError as error:
                    raise error.within(f"[{index}]") from None
            getattr(message, name)[:] = elements

        return write

    def _map(self, field: FieldDescriptor) -> Decode:
        name = field.name
        key_field, content = key_and_value(field)
        read_key = scalars.key_reader(key_field)
        null = takes_null(content)
        write = self._map_messages(content) if content.message_type is not None else _map_scalars(content)

        def write_map(value: Any, message: Any) -> None:
            if type(value) is not dict:
                raise FieldError("", "must be an object")
            entries = getattr(message, name)
            entries.clear()
            for key, member in value.items():
                try:
                    if member is None and not null:
                        raise FieldError("", "can't be null")
                    write(entries, read_key(key), member)
                except FieldError as error:
                    raise error.within(key_path(key)) from None

        return write_map

    def _map_messages(self, content: FieldDescriptor) -> Callable[[Any, Any, Any], None]:
        decode = self._message(message_of(content))
        return lambda entries, key, member: decode(member, entries[key])

    def _any(self, value: Any, message: Any) -> None:
        if type(value) is not dict:
            raise FieldError("", "must be an object")
        if not value:
            return
        url = value.get("@type")
        if type(url) is not str:
            raise FieldError("@type", "must be the URL of a type")
        _, slash, name = url.rpartition("/")
        try:
            if not slash or not name:
                raise KeyError
            descriptor = self._pool.FindMessageTypeByName(name)
        except KeyError:
            raise FieldError("@type", "is no type that is known here") from None
        content = GetMessageClass(descriptor)()
        members = {name: member for name, member in value.items() if name != "@type"}
        special = well_known.is_special(descriptor)
        if special:
            if "value" not in members:
                raise FieldError("value", "is missing")
            if len(members) > 1 and not self._ignore_unknown:
                raise FieldError(shown(next(name for name in members if name != "value")), "is no field of this type")
        try:
            self.message(descriptor)(members["value"] if special else members, content)
            data = serialised(content)
            check_depth(content, data)
        except FieldError as error:
            raise error.within("value") if special else error from None
        message.value = data
        message.type_url = url


def _wrapper(read: scalars.Read) -> Decode:
    def decode(value: Any, message: Any) -> None:
        message.value = read(value)

    return decode


def _map_scalars(content: FieldDescriptor) -> Callable[[Any, Any, Any], None]:
    read = scalars.reader(content)

    def write(entries: Any, key: Any, member: Any) -> None:
        entries[key] = read(member)

    return write
