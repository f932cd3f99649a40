"""What of a request's head goes along with the call: an allow-list."""

import re
from collections.abc import Iterable
from random import getrandbits

from imgateway.adapters.starlette.rest.exchange import Exchange
from imgateway.adapters.starlette.rest.refusals import invalid
from imgateway.core.settings_forwarding import unforwardable
from imgateway.rpc import Metadata, RestProblem
from imgateway.wire.records import traceparent

MAX_BYTES = 8192
"""Names and values of the headers that are passed on, together."""
MAX_TRACESTATE = 512

_PRINTABLE = re.compile(r"[\x20-\x7e]*")
# W3C Trace Context section 3.2.2: version ff and ids of zeros only are invalid.
_TRACEPARENT = re.compile(rb"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
# Section 3.3.1.3, "list-member".
_KEY = rb"(?:[a-z][_0-9a-z*/-]{0,255}|[a-z0-9][_0-9a-z*/-]{0,240}@[a-z][_0-9a-z*/-]{0,13})"
_MEMBER = _KEY + rb"=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]"
# Blanks can be matched in one way only: in several, a refusal would take time without end.
_TRACESTATE = re.compile(rb"[ \t]*" + _MEMBER + rb"[ \t]*(?:,[ \t]*(?:" + _MEMBER + rb"[ \t]*)?){0,31}")


class Forwarding:
    """Makes the metadata of calls.

    Args:
        names: headers that are passed on by their own name; those that never may be are left out.
    """

    def __init__(self, names: Iterable[str]) -> None:
        wanted = dict.fromkeys(name.lower() for name in names if not unforwardable(name))
        self.names = tuple(wanted)
        self._names = tuple((name.encode(), name) for name in wanted)

    def metadata(self, exchange: Exchange, /) -> Metadata | RestProblem:
        """`x-request-id`, `traceparent`, `tracestate` where it is well formed, and the headers of the list.

        Where a client sends no `traceparent` that is well formed, a trace begins here. The lines of a repeated header
        are one value, joined by a comma.
        """
        request_id = exchange.request_id.decode()
        sent = exchange.headers.get(b"traceparent")
        if sent is not None and (_TRACEPARENT.fullmatch(sent) is None or b"traceparent" in exchange.repeated):
            sent = None
        if sent is None:
            begun = traceparent(request_id if exchange.made_request_id else f"{getrandbits(128):032x}")
            metadata: list[tuple[str, str | bytes]] = [("x-request-id", request_id), ("traceparent", begun)]
        else:
            metadata = [("x-request-id", request_id), ("traceparent", sent.decode())]
            state = exchange.joined(b"tracestate")
            if state is not None and len(state) <= MAX_TRACESTATE and _TRACESTATE.fullmatch(state):
                metadata.append(("tracestate", state.decode()))
        size = 0
        for name, text in self._names:
            value = exchange.joined(name)
            if value is not None:
                decoded = value.decode("latin-1")
                if _PRINTABLE.fullmatch(decoded) is None:
                    return invalid(f"The header {text} must be printable ASCII.")
                size += len(name) + len(value)
                metadata.append((text, decoded))
        if size > MAX_BYTES:
            return invalid(f"The headers that are passed on may have at most {MAX_BYTES} bytes.")
        return tuple(metadata)
