"""A back end's metadata as header lines of an answer."""

import re
from base64 import b64encode

from imgateway.rpc import Metadata

Lines = tuple[tuple[bytes, bytes], ...]

_NAME = re.compile(r"[a-z0-9_.-]{1,128}")
_VALUE = re.compile(r"[\x20-\x7e]*")


def shown(headers: Metadata, trailers: Metadata, /) -> Lines:
    """`grpc-metadata-…` and `grpc-trailer-…` lines, for an answer that has one head only.

    What is binary is written as base64; a text that is not printable ASCII is left out.
    """
    if not headers and not trailers:
        return ()
    return (*_lines(b"grpc-metadata-", headers), *_lines(b"grpc-trailer-", trailers))


def _lines(prefix: bytes, metadata: Metadata) -> Lines:
    return tuple(
        (prefix + name.encode(), b64encode(value) if isinstance(value, bytes) else value.encode())
        for name, value in metadata
        if _NAME.fullmatch(name) and (isinstance(value, bytes) or _VALUE.fullmatch(value))
    )
