"""What a client says before the upgrade: token, device, wishes."""

import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl

import attrs
from starlette.types import Scope

from imgateway.codes import Code
from imgateway.model import Credentials, DeviceId, Refusal
from imgateway.wire.json_codec import JSON_V1

MAX_LABEL_CHARS = 128
MAX_QUERY_FIELDS = 32

_BEARER = "bearer."
_TOKEN_IN_QUERY = re.compile(rb"(^|&)(t|%74)(o|%6f)(k|%6b)(e|%65)(n|%6e)(=[^&]*)?(?=&|\Z)", re.IGNORECASE)


@attrs.frozen
class Handshake:
    """An upgrade request, read.

    Attributes:
        headers: by lower-case name; the last one where a name is repeated.
        subprotocol: the one to echo, or None.
        error_frame: whether a refusal shall come as a frame, for clients that can't read an HTTP response.
        malformed: why the request can't be served at all, or None.
    """

    headers: Mapping[str, str] = attrs.field(repr=False)
    token: str | None = attrs.field(repr=False)
    subprotocol: str | None
    device_id: DeviceId | None
    platform: str | None
    error_frame: bool
    malformed: Refusal | None

    def credentials(self, client_ip: str | None, /) -> Credentials:
        """For the authenticator."""
        return Credentials(self.token, self.headers, client_ip)


def read_handshake(scope: Mapping[str, Any], /) -> Handshake:
    """Read the request of an ASGI WebSocket scope. Never raises; what is wrong stands in `malformed`.

    The token is taken from `Authorization: Bearer`, else from the subprotocol list, else from the query.
    """
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    offered: Sequence[str] = scope.get("subprotocols") or ()
    query, malformed = _query(scope.get("query_string", b""))
    subprotocol = JSON_V1 if JSON_V1 in offered else None
    in_list = next((name[len(_BEARER) :] for name in offered if name.startswith(_BEARER)), None)
    if in_list is not None and subprotocol is None:
        malformed = _refuse(f"A bearer. subprotocol needs {JSON_V1} beside it.", "missing_subprotocol")
    device_id, platform = query.get("device_id") or None, query.get("platform") or None
    for name, value in (("device_id", device_id), ("platform", platform)):
        if value is not None and (len(value) > MAX_LABEL_CHARS or not value.isprintable()):
            malformed = _refuse(f"{name} must have 1 to {MAX_LABEL_CHARS} printable characters.", "invalid_query")
    if query.get("acks", "0") != "0":
        malformed = _refuse("acks: client acknowledgements are not available in this version.", "acks_unavailable")
    token = bearer(headers.get("authorization"))
    if token is None:
        token = in_list if in_list is not None else query.get("token")
    return Handshake(
        headers=headers,
        token=token,
        subprotocol=subprotocol,
        device_id=None if device_id is None else DeviceId(device_id),
        platform=platform,
        error_frame=query.get("errors") == "frame",
        malformed=malformed,
    )


def redact_token(scope: Scope, /) -> None:
    """Take the token out of the scope's query string, which servers log when they answer."""
    scope["query_string"] = _TOKEN_IN_QUERY.sub(rb"\1token=redacted", scope.get("query_string", b""))


def _query(raw: bytes) -> tuple[dict[str, str], Refusal | None]:
    try:
        pairs = parse_qsl(raw.decode("latin-1"), keep_blank_values=True, max_num_fields=MAX_QUERY_FIELDS)
    except ValueError:
        return {}, _refuse("The query has too many fields.", "invalid_query")
    query: dict[str, str] = {}
    for name, value in pairs:
        query.setdefault(name, value)
    return query, None


def bearer(header: str | None, /) -> str | None:
    """The token of an `Authorization` header (RFC 6750 section 2.1); None for other schemes."""
    scheme, _, token = (header or "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def _refuse(message: str, details: str) -> Refusal:
    return Refusal(Code.INVALID_MESSAGE, message, details)
