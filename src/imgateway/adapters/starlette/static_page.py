"""A page out of files that come with the package, served from memory. It loads nothing from anywhere else."""

from collections.abc import Awaitable, Callable
from importlib.resources.abc import Traversable
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

# 'self' covers ws: and wss: of the same origin too (CSP level 3 section 6.7.2.8).
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

_HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}
_MEDIA_TYPES: Final = {"html": "text/html", "js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}


def static_page(folder: Traversable, /, *, path: str, below: str) -> list[BaseRoute]:
    """Routes for a folder's `index.html` at `path`, and for its other files below `below`."""
    return [
        Route(path if file.name == "index.html" else f"{below}/{file.name}", _served(file.name, file.read_bytes()))
        for file in folder.iterdir()
    ]


def _served(name: str, body: bytes) -> Callable[[Request], Awaitable[Response]]:
    media_type = _MEDIA_TYPES[name.rpartition(".")[2]]

    async def served(_: Request) -> Response:
        return Response(body, headers=_HEADERS, media_type=media_type)

    return served
