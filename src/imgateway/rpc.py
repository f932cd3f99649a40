"""What passes between REST, WebSocket calls and a back end's services, as values. No protobuf, no HTTP."""

from collections.abc import Mapping
from typing import Any, Final, Self

import attrs

from imgateway.codes import RPC_HTTP_STATUS, TABLE, Code, RpcCode
from imgateway.model import Identity

Metadata = tuple[tuple[str, str | bytes], ...]
"""gRPC metadata: lower-case names; a name ending in `-bin` has bytes."""

RETRY_AFTER_SECONDS: Final = 1
"""What the gateway tells clients of its own accord, where it can't know better."""


@attrs.frozen
class RpcFailure:
    """A call that did not succeed: what the back end, or the way to it, said.

    Attributes:
        code: never `OK`.
        message: the back end's words; empty where it had none.
        details: a serialised `google.rpc.Status` (`grpc-status-details-bin`), or None.
        retry_after: seconds after which another attempt makes sense, where the gateway itself knows.
        reached: False where the words are the gateway's own: no back end has said so.
    """

    code: RpcCode
    message: str
    trailers: Metadata = ()
    details: bytes | None = None
    retry_after: int | None = None
    reached: bool = True


@attrs.frozen
class RpcAnswer:
    """What a unary call returned: the serialised message, and the metadata around it."""

    message: bytes
    headers: Metadata = ()
    trailers: Metadata = ()


@attrs.frozen
class RestRoute:
    """One way to reach a method over HTTP.

    Attributes:
        http_method: in upper case.
        path: the template, with the prefix it is served under.
        rpc: `pkg.Service/Method`.
        public: whether it needs no token.
        client_streaming: it is there to be refused.
        takes_body: whether a request's body is read.
    """

    http_method: str
    path: str
    rpc: str
    public: bool
    server_streaming: bool = False
    client_streaming: bool = False
    takes_body: bool = False


@attrs.frozen
class RestRequest:
    """One request, read and authenticated.

    Attributes:
        query: as it came, undecoded, without `?`.
        body: JSON, or empty.
        identity: who asks; None only on a public route.
        metadata: what goes along, already an allow-list.
        seconds: for the whole call.
    """

    query: str
    body: bytes
    identity: Identity | None
    metadata: Metadata
    seconds: float


@attrs.frozen
class RestAnswer:
    """What a unary call answered: a JSON text, and the metadata that may be shown."""

    body: bytes
    headers: Metadata = ()
    trailers: Metadata = ()


@attrs.frozen
class RestProblem:
    """Why a request or a client's call has no answer, in words for the outside.

    Attributes:
        status: the HTTP status.
        code: the name for programs: gRPC's where the back end refused.
        detail: for people; tells nothing of the inside.
        details: JSON objects with an `@type` each (google.rpc's error details).
        retry_after: seconds.
        trailers: the trailing metadata that may be shown.
    """

    status: int
    code: str
    detail: str
    details: tuple[Mapping[str, Any], ...] = ()
    retry_after: int | None = None
    trailers: Metadata = ()

    @classmethod
    def of(
        cls,
        code: RpcCode | Code,
        detail: str,
        /,
        details: tuple[Mapping[str, Any], ...] = (),
        *,
        retry_after: int | None = None,
    ) -> Self:
        """With the code's name and the HTTP status that the tables have for it."""
        status = RPC_HTTP_STATUS[code] if isinstance(code, RpcCode) else TABLE[code].http_status
        return cls(status or 500, code.name, detail, details, retry_after)


NOT_KNOWN_YET: Final = RestProblem.of(
    RpcCode.UNAVAILABLE, "What the services offer is not known yet.", retry_after=RETRY_AFTER_SECONDS
)
"""Nobody has told yet which methods there are."""
