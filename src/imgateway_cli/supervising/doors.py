"""The listening sockets: one for each worker, all on one port."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

from imgateway.errors import GatewayError

BACKLOG: Final = 2048
"""How many connections may wait at a door; as many as uvicorn lets."""


@contextmanager
def doors(host: str, port: int, count: int) -> Iterator[tuple[socket.socket, ...]]:
    """Listening sockets on one address; the kernel spreads connections over them (`SO_REUSEPORT`).

    They stay open while workers come and go, so a connection that waits at a door survives the worker's end.

    Raises:
        GatewayError: the address can't be bound, or another program listens there.
    """
    with ExitStack() as stack:
        try:
            if port != 0:
                _require_free(host, port)
            opened = [stack.enter_context(_bound(host, port, shared=True))]
            port = opened[0].getsockname()[1]
            opened += [stack.enter_context(_bound(host, port, shared=True)) for _ in range(1, count)]
            for door in opened:
                door.listen(BACKLOG)
        except OSError as error:
            raise GatewayError(f"server.port: {host}:{port} can't be bound: {error.strerror or error}") from error
        yield tuple(opened)


def _require_free(host: str, port: int) -> None:
    """Raise OSError where anybody listens, also another supervisor of ours, whose sockets would share the port."""
    with _bound(host, port, shared=False) as alone:
        alone.listen()


def _bound(host: str, port: int, *, shared: bool) -> socket.socket:
    door = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        door.bind((host, port))
    except BaseException:
        door.close()
        raise
    return door
