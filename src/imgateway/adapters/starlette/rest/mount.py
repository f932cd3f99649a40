"""Where REST is in an application."""

from starlette.datastructures import URLPath
from starlette.routing import BaseRoute, Match, NoMatchFound
from starlette.types import ASGIApp, Receive, Scope, Send


class RestMount(BaseRoute):
    """HTTP requests at a prefix and below it, by whole segments, given to one ASGI application as they are.

    Attributes:
        app: who gets them.
        prefix: like `/api`; empty for every path.
    """

    def __init__(self, app: ASGIApp, prefix: str, /) -> None:
        self.app = app
        self.prefix = prefix
        self._below = f"{prefix}/"

    def covers(self, path: str, /) -> bool:
        """Whether a path, below where the application itself is mounted, is here."""
        return path.startswith(self._below) or path == self.prefix

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """As Starlette's router asks."""
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        return (Match.FULL, {}) if scope["type"] == "http" and self.covers(path) else (Match.NONE, {})

    def url_path_for(self, name: str, /, **path_params: object) -> URLPath:
        """There are no names here."""
        raise NoMatchFound(name, path_params)

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve."""
        await self.app(scope, receive, send)
