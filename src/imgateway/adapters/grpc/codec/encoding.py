"""Messages into JSON: one generated Python function for each message type.

A generic encoder asks at each field of each message what kind it is. Here that is asked once, when the type is first
seen, and the answer is Python source: a function that reads the fields by name and fills a dict, for msgspec to write.
Names out of descriptors go into the source only through `repr`, so any name is safe; functions refer to each other by
their names in one shared namespace, so types may contain themselves.
"""

import keyword
from collections import deque
from collections.abc import Callable
from itertools import count
from threading import Lock
from typing import Any, cast

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass

from imgateway.adapters.grpc.codec import scalars, well_known
from imgateway.adapters.grpc.codec.shapes import holder_of, is_map, key_and_value

Encode = Callable[[Any], Any]
"""A message to what JSON text is made from; raises ValueError."""


class Encoders:
    """The functions of one pool's messages, made when they are first asked for, from any thread."""

    def __init__(self, pool: DescriptorPool, json_names: bool) -> None:
        self._pool = pool
        self._json_names = json_names
        self._functions: dict[Descriptor, str] = {}
        self._presence: dict[Descriptor, str] = {}
        self._scope: dict[str, Any] = {}
        self._numbers = count()
        self._unwritten: deque[Descriptor] = deque()
        self._making = Lock()

    def message(self, descriptor: Descriptor, /) -> Encode:
        """The function that encodes whole messages of a type."""
        with self._making:
            name = self._function(descriptor)
            self._write()
        return cast(Encode, self._scope[name])

    def field(self, field: FieldDescriptor, /) -> Encode:
        """The function that encodes one field of a message: its default where it is unset, None for a message."""
        with self._making:
            name = self._new_name("field")
            value = self._expression(field)
            if field.message_type is not None and not field.is_repeated:
                value = f"{value} if {self._has(field)} else None"
            self._define(name, [f"def {name}(m):", f" v = {self._attribute(field)}", f" return {value}"])
            self._write()
        return cast(Encode, self._scope[name])

    def _new_name(self, kind: str) -> str:
        return f"{kind}{next(self._numbers)}"

    def _define(self, name: str, lines: list[str]) -> None:
        exec("\n".join(lines), self._scope)  # noqa: S102 - our own source: foreign names are only in it as literals
        self._scope[name].__qualname__ = name

    def _bound(self, kind: str, value: object) -> str:
        name = self._new_name(kind)
        self._scope[name] = value
        return name

    def _function(self, descriptor: Descriptor) -> str:
        name = self._functions.get(descriptor)
        if name is not None:
            return name
        wrapped = well_known.wrapped(descriptor)
        special = well_known.WRITERS.get(descriptor.full_name)
        if special is not None:
            name = self._bound("special", special)
        elif descriptor.full_name == well_known.ANY:
            name = self._bound("any", self._any)
        elif wrapped is not None:
            name = self._new_name("wrapper")
            self._define(name, [f"def {name}(m):", " v = m.value", f" return {self._scalar(wrapped, 'v')}"])
        else:
            name = self._new_name("message")
            self._unwritten.append(descriptor)
        self._functions[descriptor] = name
        return name

    def _write(self) -> None:
        """Write the functions that have only a name yet. Not by recursion: a chain of types may be a long one."""
        while self._unwritten:
            descriptor = self._unwritten[0]
            name = self._functions[descriptor]
            lines = [f"def {name}(m):", " o = {}"]
            for field in descriptor.fields:
                lines += self._statements(field)
            self._define(name, [*lines, " return o"])
            self._unwritten.popleft()  # only now: what could not be written is tried again, and never left out

    def _has(self, field: FieldDescriptor) -> str:
        owner = holder_of(field)
        name = self._presence.get(owner)
        if name is None:
            name = self._presence[owner] = self._bound("has", GetMessageClass(owner).HasField)
        return f"{name}(m, {field.name!r})"

    @staticmethod
    def _attribute(field: FieldDescriptor) -> str:
        plain = field.name.isidentifier() and not keyword.iskeyword(field.name)
        return f"m.{field.name}" if plain else f"getattr(m, {field.name!r})"

    def _statements(self, field: FieldDescriptor) -> list[str]:
        target = f"o[{(field.json_name if self._json_names else field.name)!r}]"
        attribute, value = self._attribute(field), self._expression(field)
        if field.has_presence:
            return [f" if {self._has(field)}:", f"  v = {attribute}", f"  {target} = {value}"]
        return [f" v = {attribute}", f" if {self._is_set(field)}:", f"  {target} = {value}"]

    @staticmethod
    def _is_set(field: FieldDescriptor) -> str:
        if field.is_repeated or field.type not in (FieldDescriptor.TYPE_DOUBLE, FieldDescriptor.TYPE_FLOAT):
            return "v"
        return "v or str(v) == '-0.0'"  # minus zero is not the default

    def _scalar(self, field: FieldDescriptor, variable: str) -> str:
        if field.message_type is not None:
            return f"{self._function(field.message_type)}({variable})"
        write = scalars.writer(field)
        if write is None:
            return variable
        return f"str({variable})" if write is str else f"{self._bound('write', write)}({variable})"

    def _expression(self, field: FieldDescriptor) -> str:
        """An expression for the value of `field`, which the variable `v` holds."""
        if is_map(field):
            key, content = key_and_value(field)
            text = {FieldDescriptor.TYPE_STRING: "k", FieldDescriptor.TYPE_BOOL: "'true' if k else 'false'"}
            value = self._scalar(content, "x")
            return f"{{{text.get(key.type, 'str(k)')}: {value} for k, x in v.items()}}"
        if field.is_repeated:
            element = self._scalar(field, "x")
            return "list(v)" if element == "x" else f"[{element} for x in v]"
        return self._scalar(field, "v")

    def _any(self, message: Any) -> object:
        if not message.type_url and not message.value:
            return {}
        try:
            descriptor = self._pool.FindMessageTypeByName(message.type_url.rpartition("/")[2])
            content = GetMessageClass(descriptor).FromString(message.value)
        except KeyError:
            raise ValueError("an Any is of a type that is not known") from None
        except DecodeError:
            raise ValueError("an Any does not hold what its type says") from None
        encoded = self.message(descriptor)(content)
        if well_known.is_special(descriptor):
            return {"@type": message.type_url, "value": encoded}
        return {"@type": message.type_url, **encoded}
