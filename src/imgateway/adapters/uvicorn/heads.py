"""What is wrong with a request by its head, of what the parser lets pass."""

from collections.abc import Sequence
from http import HTTPStatus

VERSIONS = frozenset({"1.0", "1.1"})


def head_problem(version: str, headers: Sequence[tuple[bytes, bytes]], /) -> tuple[HTTPStatus, str] | None:
    """Why a request must be refused, and its connection end; None where it need not.

    Args:
        version: of HTTP.
        headers: the lines, names in lower case.
    """
    if version not in VERSIONS:  # RFC 9110 section 15.6.6
        return HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, "Only HTTP/1.0 and HTTP/1.1 are spoken here."
    names = [name for name, _ in headers]
    hosts = names.count(b"host")
    if hosts > 1 or (not hosts and version == "1.1"):  # RFC 9112 section 3.2
        return HTTPStatus.BAD_REQUEST, "A request must have one Host header."
    if b"transfer-encoding" in names:  # RFC 9112 section 6.1
        codings = [value.lower() for name, value in headers if name == b"transfer-encoding"]
        if codings != [b"chunked"]:
            return HTTPStatus.NOT_IMPLEMENTED, "The only transfer coding is chunked."
    return None
