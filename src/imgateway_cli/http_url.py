"""The argument that says what to ask over HTTP."""

from urllib.parse import urlsplit, urlunsplit

import click


def http_url(_: click.Context, __: click.Parameter, value: str) -> str:
    """A click callback: the address with its path and query, which must be written as they go over the wire."""
    try:
        parts = urlsplit(value)
        host, _port = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host or parts.scheme not in ("http", "https") or parts.username is not None:
        raise click.BadParameter('expected an address like "http://127.0.0.1:8080/api/v1/conversations"')
    if not is_request_path(parts.path or "/") or not is_request_path(f"/?{parts.query}"):
        raise click.BadParameter("expected visible ASCII; percent-encode the rest")
    return urlunsplit(parts._replace(path=parts.path or "/", fragment=""))


def is_request_path(text: str, /) -> bool:
    """Whether it can stand in a request as it is: a path, with a query or without."""
    return text.startswith("/") and text.isascii() and text.isprintable() and not set(text) & set(' "<>#')
