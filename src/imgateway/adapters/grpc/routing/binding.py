"""From path, query, body and user to a serialised request."""

from collections.abc import Callable
from typing import Protocol

import attrs
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from imgateway.adapters.grpc.codec import MessageCodec, UnsupportedFieldError, serialised
from imgateway.adapters.grpc.codec.field_paths import error_of
from imgateway.adapters.grpc.routing.fields import (
    FieldNames,
    FieldPath,
    json_path,
    numbers,
)
from imgateway.adapters.grpc.routing.identity import IdentityError, identity_setter
from imgateway.adapters.grpc.routing.percent import decoded, decoded_but_slashes
from imgateway.adapters.grpc.routing.query import NoQuery, QueryBinding
from imgateway.adapters.grpc.routing.template import PathTemplate, Variable
from imgateway.adapters.grpc.routing.trie import Captures

WHOLE_BODY = "*"
"""A rule's body that is the whole request."""

Put = Callable[[Message, str], None]
ReadBody = Callable[[bytes, Message], None]


class _Query(Protocol):
    def apply(self, request: Message, query: str, /) -> None: ...


@attrs.frozen
class Binder:
    """Binds requests by the settings that all routes share."""

    names: FieldNames
    codec: MessageCodec
    identity_fields: tuple[str, ...]
    reject: bool

    def identity(self, message: Descriptor, /) -> Put:
        """What puts the verified user in.

        Raises:
            ValueError: a field that should hold the user's id can't.
        """
        setter = identity_setter(message, self.identity_fields)
        return _nobody if setter is None else setter

    def bind(self, message: Descriptor, template: PathTemplate, body: str, public: bool, /) -> "RequestBinding":
        """Everything about a rule's requests.

        Raises:
            ValueError: the rule can't be served; the message says why.
        """
        variables = [self._variable(message, variable) for variable in template.variables]
        paths = [variable.path for variable in variables]
        for index, path in enumerate(paths):
            if any(numbers(path) == numbers(other) for other in paths[:index]):
                raise ValueError(f"the path has the variable {json_path(path)} twice")
        new: Callable[[], Message] = GetMessageClass(message)
        if body == WHOLE_BODY:
            query: _Query = NoQuery(message, self.reject)
            read: ReadBody | None = self.codec.decoder(message)
        else:
            field = self._body_field(message, body, paths)
            query = QueryBinding(message, new, self.names, self.codec, paths, field, self.reject)
            read = None if field is None else self.codec.field_decoder(field)
        return RequestBinding(
            new=new,
            read_body=read,
            variables=tuple(variables),
            query=query,
            identity=None if public else self.identity(message),
        )

    def _variable(self, message: Descriptor, variable: Variable) -> "_PathVariable":
        try:
            path = self.names.path(message, variable.field_path)
        except ValueError as error:
            raise ValueError(f"the variable {variable.name}: {error}") from None
        if path[-1].is_repeated:
            raise ValueError(f"the variable {variable.name}: {path[-1].full_name} is repeated")
        try:
            put = self.codec.text_setter(path)
        except UnsupportedFieldError as error:
            raise ValueError(f"the variable {variable.name}: {error}") from None
        decode = decoded_but_slashes if variable.several else decoded
        return _PathVariable(path, put, decode)

    def _body_field(self, message: Descriptor, body: str, paths: list[FieldPath]) -> FieldDescriptor | None:
        if not body:
            return None
        field = self.names.field(message, body)
        if field is None:
            raise ValueError(f"the body {body}: {message.full_name} has no such field")
        if any(numbers(path) == (field.number,) for path in paths):
            raise ValueError(f"the body {body} is bound by the path as well")
        return field


@attrs.frozen(eq=False)
class _PathVariable:
    """Puts one capture into its field, whatever the body wrote there."""

    path: FieldPath
    put: Put
    decode: Callable[[str], str]

    def __call__(self, request: Message, text: str) -> None:
        if "%" in text or not text.isascii():
            try:
                text = self.decode(text)
            except ValueError as error:
                raise error_of(self.path, str(error)) from None
        self.put(request, text)


@attrs.frozen(eq=False)
class RequestBinding:
    """Makes requests of one rule.

    Attributes:
        read_body: None where no body is read.
        identity: puts the user in, whom there always is; None where nobody asks who it is.
    """

    new: Callable[[], Message]
    read_body: ReadBody | None
    variables: tuple[_PathVariable, ...]
    query: _Query
    identity: Put | None

    def request(self, captures: Captures, query: str, body: bytes, user_id: str | None, /) -> bytes:
        """The serialised request: the body's fields, then the path's, which count more, the query's, last the user's.

        Raises:
            FieldError: something does not fit its field.
            IdentityError: the user's id does not.
        """
        request = self.new()
        if body and self.read_body is not None:
            self.read_body(body, request)
        if captures:
            for variable, text in zip(self.variables, captures, strict=True):
                variable(request, text)
        if query:
            self.query.apply(request, query)
        return finished(request, self.identity, user_id)


def finished(request: Message, identity: Put | None, user_id: str | None, /) -> bytes:
    """Put the user in and serialise.

    Raises:
        IdentityError: there is no user, or the id does not fit.
        FieldError: a field that is required is not there, or messages nest too deep.
    """
    if identity is not None:
        if user_id is None:
            raise IdentityError("the method needs a user")
        identity(request, user_id)
    return serialised(request)


def _nobody(_request: Message, _user_id: str) -> None:
    pass
