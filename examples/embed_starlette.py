"""An application that exists already gets a gateway, with its own way of knowing its users. See docs/how-to/embed.md.

uvicorn --app-dir examples embed_starlette:app
"""

import time

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from imgateway import Code, Credentials, Identity, Refusal, UserId
from imgateway.adapters.memory import embedded_gateway
from imgateway.adapters.starlette import gateway_lifespan, gateway_routes

SESSION_SECONDS = 3600


class SessionCookies:
    """Implements `ports.Authenticator` by the application's own sessions."""

    def __init__(self) -> None:
        self.sessions: dict[str, tuple[UserId, float]] = {}

    async def authenticate(self, credentials: Credentials, /) -> Identity | Refusal:
        """The user of the session that the cookie names, or that was given as a token."""
        cookies = credentials.headers.get("cookie", "").split("; ")
        session_id = credentials.token or next((c[8:] for c in cookies if c.startswith("session=")), "")
        if session_id not in self.sessions:
            return Refusal(Code.UNAUTHENTICATED, "Log in first.")
        user_id, ends = self.sessions[session_id]
        if ends <= time.time():
            return Refusal(Code.TOKEN_EXPIRED, "The session is over; log in again.")
        return Identity(user_id, expires_at=int(ends * 1000))

    async def aclose(self) -> None:
        """Nothing is held open."""


sessions = SessionCookies()
gateway = embedded_gateway(sessions)


async def login(request: Request) -> Response:
    """Stands for the application's own login."""
    name = request.path_params["name"]
    sessions.sessions[f"session-of-{name}"] = UserId(name), time.time() + SESSION_SECONDS
    response = PlainTextResponse(f"Hello {name}")
    response.set_cookie("session", f"session-of-{name}", httponly=True, samesite="strict")
    return response


app = Starlette(
    routes=[Route("/login/{name}", login, methods=["POST"]), *gateway_routes(gateway, path="/chat")],
    lifespan=gateway_lifespan(gateway),
)
