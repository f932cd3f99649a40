"""A page to read the routes and try them; it is made in the browser out of `/openapi.json`."""

from collections.abc import Awaitable, Callable
from importlib.resources import files
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}
_MEDIA_TYPES: Final = {"html": "text/html", "js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}


def docs_routes() -> list[BaseRoute]:
    """The page at `/docs`, and what it consists of below. It loads nothing from anywhere else."""
    return [
        Route("/docs" if file.name == "index.html" else f"/docs/{file.name}", _served(file.name, file.read_bytes()))
        for file in sorted(files(__package__).joinpath("docs_page").iterdir(), key=lambda file: file.name)
    ]


def _served(name: str, body: bytes) -> Callable[[Request], Awaitable[Response]]:
    media_type = _MEDIA_TYPES[name.rpartition(".")[2]]

    async def served(_: Request) -> Response:
        return Response(body, headers=_HEADERS, media_type=media_type)

    return served
