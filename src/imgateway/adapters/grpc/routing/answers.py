"""From a serialised answer to JSON."""

from collections.abc import Callable

import attrs
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from imgateway.adapters.grpc.codec import MessageCodec
from imgateway.adapters.grpc.routing.fields import FieldNames


@attrs.frozen(eq=False)
class AnswerBinding:
    """Reads answers of one type and writes them, or one field of them, as JSON."""

    parse: Callable[[bytes], Message]
    encode: Callable[[Message], bytes]

    @classmethod
    def of(cls, message: Descriptor, response_body: str, names: FieldNames, codec: MessageCodec, /) -> "AnswerBinding":
        """For a method's answers; `response_body` is a field or empty.

        Raises:
            ValueError: there is no such field.
        """
        parse = GetMessageClass(message).FromString
        if not response_body:
            return cls(parse, codec.encoder(message))
        field = names.field(message, response_body)
        if field is None:
            raise ValueError(f"the response body {response_body}: {message.full_name} has no such field")
        return cls(parse, codec.field_encoder(field))

    def answer(self, raw: bytes, /) -> bytes:
        """JSON without line breaks.

        Raises:
            ValueError: the bytes are no such message, or hold what JSON can't.
        """
        try:
            message = self.parse(raw)
        except DecodeError:
            raise ValueError("the answer is no message of its type") from None
        return self.encode(message)
