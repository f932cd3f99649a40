"""The chat page: files of this package, served from memory. They load nothing from anywhere else."""

from collections.abc import Awaitable, Callable, Sequence
from importlib.resources import files
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

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
_MEDIA_TYPES: Final = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}


def page_routes() -> Sequence[Route]:
    """The page at `/`, what it consists of under `/demo/`."""
    return [
        Route("/" if file.name == "index.html" else f"/demo/{file.name}", _served(file.name, file.read_bytes()))
        for file in files(__package__).joinpath("page").iterdir()
    ]


def _served(name: str, body: bytes) -> Callable[[Request], Awaitable[Response]]:
    media_type = _MEDIA_TYPES[name[name.rindex(".") :]]

    async def served(_: Request) -> Response:
        return Response(body, headers=_HEADERS, media_type=media_type)

    return served
