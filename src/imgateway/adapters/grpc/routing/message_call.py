"""A client's message as a unary call."""

from collections.abc import Callable

import attrs
import msgspec
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from imgateway.adapters.grpc.codec import json_text
from imgateway.adapters.grpc.routing.answers import AnswerBinding
from imgateway.adapters.grpc.routing.binding import Binder, Put, ReadBody, finished

_CLIENT_ID = "client_msg_id"

_decode = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


@attrs.frozen(eq=False)
class MessageCall:
    """What a client's messages of one type go through on their way to a method and back.

    Over a WebSocket there is always a user, so that a public method is a method like others.

    Attributes:
        rpc: `pkg.Service/Method`.
        idempotent: by the method's own word.
    """

    rpc: str
    idempotent: bool
    _new: Callable[[], Message]
    _read: ReadBody
    _drop_client_id: bool
    _identity: Put
    _answer: AnswerBinding

    @classmethod
    def of(cls, rpc: str, method: MethodDescriptor, binder: Binder, idempotent: bool, /) -> "MessageCall":
        """For a unary method.

        Raises:
            ValueError: its messages can't be bound; the message says why.
        """
        request = method.input_type
        return cls(
            rpc=rpc,
            idempotent=idempotent,
            new=GetMessageClass(request),
            read=binder.codec.decoder(request),
            drop_client_id=binder.reject and binder.names.field(request, _CLIENT_ID) is None,
            identity=binder.identity(request),
            answer=AnswerBinding.of(method.output_type, "", binder.names, binder.codec),
        )

    def request(self, data: bytes, user_id: str, /) -> bytes:
        """The serialised request.

        Args:
            data: the message's `data`, a JSON object. Its `client_msg_id` is left out where the request has no such
                field: it is the gateway's own.
            user_id: of the verified user; replaces the identity fields.

        Raises:
            FieldError: something does not fit its field.
            IdentityError: the user's id does not.
        """
        request = self._new()
        if data:
            self._read(_without_client_id(data) if self._drop_client_id else data, request)
        return finished(request, self._identity, user_id)

    def answer(self, message: bytes, /) -> bytes:
        """The answer as JSON without line breaks.

        Raises:
            ValueError: the back end answered garbage.
        """
        return self._answer.answer(message)


def _without_client_id(data: bytes) -> bytes:
    try:
        value, _ = json_text.read(data)  # before a member that is there twice is lost in the dict
    except json_text.TextError:
        return data  # who reads it next knows the fields, and so how to name the place
    if type(value) is not dict or _CLIENT_ID not in value:
        return data
    members = _decode(data)
    del members[_CLIENT_ID]
    return msgspec.json.encode(members)
