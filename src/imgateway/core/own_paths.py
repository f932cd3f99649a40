"""The paths of the clients' port that are the gateway's own, whatever REST has."""

import re
from typing import Final

OWN_PATHS: Final = ("/ws", "/healthz", "/readyz", "/openapi.json", "/docs")
"""REST can't begin with any of them."""

_OF_PAGE: Final = re.compile(r"/docs/[^/]+\.(js|css|svg)")


def is_own(path: str, /) -> bool:
    """Whether GET and HEAD of a decoded path, below where the gateway is mounted, never come to REST.

    These are `OWN_PATHS` and the files of the page at `/docs`. The WebSocket is taken to be at `/ws`.
    """
    return path in OWN_PATHS or _OF_PAGE.fullmatch(path) is not None
