"""Query parameters become fields."""

from collections.abc import Callable, Sequence
from typing import Final

import attrs
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from imgateway.adapters.grpc.codec import MessageCodec, UnsupportedFieldError
from imgateway.adapters.grpc.codec.field_paths import error_at, error_of
from imgateway.adapters.grpc.field_error import FieldError
from imgateway.adapters.grpc.routing.fields import FieldNames, FieldPath, numbers, value_at
from imgateway.adapters.grpc.routing.percent import decoded_parameter

MAX_PARAMETERS: Final = 1000
"""Most parameters of a request."""

MAX_DEPTH: Final = 32
"""Most names in a parameter's name: `a.b.c` has three."""

MAX_KNOWN: Final = 256
"""Parameters that a route remembers the fields of; in a message that contains itself there is no end of them."""

_TOO_MANY: Final = f"more than {MAX_PARAMETERS} parameters"


@attrs.frozen(eq=False)
class _Parameter:
    """A field that a parameter may name.

    Attributes:
        path: from the request inwards; errors name it by that, whatever the client does.
        key: tells fields apart, whatever they are called.
        refusal: why it can't be given, or None.
        in_path: the field, where a variable of the path binds it as well.
    """

    path: FieldPath
    key: tuple[int, ...]
    repeated: bool
    put: Callable[[Message, str], None]
    refusal: str | None = None
    in_path: FieldPath | None = None


@attrs.define(eq=False)
class QueryBinding:
    """Puts the parameters of one route's requests into its message.

    Attributes:
        message: the request's type.
        scratch: makes an empty request.
        in_path: the fields that the path binds.
        body: "" or the field that the body is.
        reject: whether a parameter that is no field is refused; it is ignored otherwise.
    """

    message: Descriptor
    scratch: Callable[[], Message]
    names: FieldNames
    codec: MessageCodec
    in_path: Sequence[FieldPath]
    body: FieldDescriptor | None
    reject: bool
    _known: dict[str, _Parameter] = attrs.field(factory=dict, init=False)

    def apply(self, request: Message, query: str, /) -> None:
        """Set what an undecoded query gives, after path and body were.

        A field that is not repeated may be given once. One that the path binds may be given only as the same value.

        Raises:
            FieldError: as above; for what can't be decoded or does not fit its field; for a field of the body; for
                two members of a oneof; for too many parameters.
        """
        if query.count("&") >= MAX_PARAMETERS:
            raise FieldError("", _TOO_MANY)
        given: set[tuple[int, ...]] = set()
        for piece in query.split("&"):
            if not piece:
                continue
            name, _, text = piece.partition("=")
            parameter = self._known.get(name)
            if parameter is None:
                name = _decoded_name(name)
                parameter = self._known.get(name) or self._found(name)
                if parameter is None:
                    continue
            if parameter.refusal is not None:
                raise error_of(parameter.path, parameter.refusal)
            if "%" in text or "+" in text or not text.isascii():
                text = _decoded_value(parameter.path, text)
            if not parameter.repeated:
                if parameter.key in given:
                    raise error_of(parameter.path, "is given more than once")
                given.add(parameter.key)
            if parameter.in_path is not None:
                self._compare(request, parameter, parameter.in_path, text)
            else:
                parameter.put(request, text)

    def _found(self, name: str) -> _Parameter | None:
        names = name.split(".", MAX_DEPTH)
        if len(names) > MAX_DEPTH:
            raise error_at(tuple(names), f"leads deeper than {MAX_DEPTH} levels", self.message)
        try:
            path = self.names.path(self.message, names)
        except ValueError:
            if self.reject:
                raise error_at(tuple(names), "is no field of the request", self.message) from None
            return None
        parameter = self._parameter(path)
        if len(self._known) >= MAX_KNOWN:
            self._known.clear()
        self._known[name] = parameter
        return parameter

    def _parameter(self, path: FieldPath) -> _Parameter:
        key = numbers(path)
        if self.body is not None and path[0].number == self.body.number:
            return _refused(path, key, "belongs into the body")
        in_path = next((bound for bound in self.in_path if numbers(bound) == key), None)
        try:
            put = self.codec.text_setter(path)
        except UnsupportedFieldError:
            return _refused(path, key, "can't be given as a parameter")
        return _Parameter(path, key, path[-1].is_repeated, put, None, in_path)

    def _compare(self, request: Message, parameter: _Parameter, path: FieldPath, text: str) -> None:
        other = self.scratch()
        parameter.put(other, text)
        if value_at(other, path) != value_at(request, path):
            raise error_of(parameter.path, "conflicts with the path")


@attrs.frozen
class NoQuery:
    """The binding of a route whose body is the whole request: no parameter is a field (google/api/http.proto)."""

    message: Descriptor
    reject: bool

    def apply(self, request: Message, query: str, /) -> None:
        """Refuse or ignore every parameter.

        Raises:
            FieldError: parameters are refused.
        """
        if not self.reject:
            return
        if query.count("&") >= MAX_PARAMETERS:
            raise FieldError("", _TOO_MANY)
        for piece in query.split("&"):
            if piece:
                names = _decoded_name(piece.partition("=")[0]).split(".", MAX_DEPTH)
                raise error_at(tuple(names), "is no parameter: the body is the whole request", self.message)


def _refused(path: FieldPath, key: tuple[int, ...], why: str) -> _Parameter:
    return _Parameter(path, key, False, lambda _request, _text: None, why)


def _decoded_name(name: str) -> str:
    try:
        return decoded_parameter(name)
    except ValueError as error:
        raise FieldError("", f"a parameter's name {error}") from None


def _decoded_value(path: FieldPath, text: str) -> str:
    try:
        return decoded_parameter(text)
    except ValueError as error:
        raise error_of(path, str(error)) from None
