"""The argument that says where a gateway is."""

from urllib.parse import urlsplit, urlunsplit

import click


def websocket_url(_: click.Context, __: click.Parameter, value: str) -> str:
    """A click callback: the address with its path, which is `/ws` where none is given."""
    try:
        parts = urlsplit(value)
        host, _port = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host or parts.scheme not in ("ws", "wss") or parts.username is not None:
        raise click.BadParameter('expected an address like "ws://127.0.0.1:8080/ws"')
    return urlunsplit(parts._replace(path=parts.path.rstrip("/") or "/ws", fragment=""))
