"""One way to reach a method over HTTP, with all that a request and its answer go through."""

import attrs
from google.protobuf.descriptor import MethodDescriptor

from imgateway.adapters.grpc.routing.answers import AnswerBinding
from imgateway.adapters.grpc.routing.binding import RequestBinding
from imgateway.adapters.grpc.routing.template import PathTemplate
from imgateway.adapters.grpc.routing.trie import Captures
from imgateway.rpc import RestRoute


@attrs.frozen(eq=False)
class Route:
    """Everything about one binding. Routes are equal only to themselves.

    Attributes:
        rest: what others know of it; its path has the prefix.
        method: the method called.
        template: the path with the prefix; `str()` of it is the rule's text.
        body: empty, `*` or a field of the request as the rule names it.
        response_body: empty, or a field of the answer.
        idempotent: whether calling twice does what calling once does, by the HTTP method or the method's own word.
    """

    rest: RestRoute
    method: MethodDescriptor
    template: PathTemplate
    body: str
    response_body: str
    idempotent: bool
    _request: RequestBinding
    _answer: AnswerBinding

    @property
    def rpc(self) -> str:
        """`pkg.Service/Method`."""
        return self.rest.rpc

    def request(self, captures: Captures, query: str, body: bytes, user_id: str | None, /) -> bytes:
        """The serialised request.

        The body's fields come first, then those of the path, which replace them, then the query's, and last the
        verified user's id in the identity fields of a private method, whatever the client wrote there.

        Args:
            captures: from the table's `find`.
            query: as it came, undecoded, without `?`.
            body: JSON; empty is an empty message.
            user_id: None only where the method is public.

        Raises:
            FieldError: something does not fit its field.
            IdentityError: the user's id does not.
        """
        return self._request.request(captures, query, body, user_id)

    def answer(self, message: bytes, /) -> bytes:
        """An answer, or one of a stream of them, as JSON without line breaks.

        Raises:
            ValueError: the back end answered garbage.
        """
        return self._answer.answer(message)
