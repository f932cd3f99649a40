"""Lets a website's signed session cookie open a connection.

The website signs `{"user": …, "expires": …}` with the secret it shares with the gateway (`auth.secret`) and sets
`session=<base64url of that JSON>.<HMAC-SHA256 in hexadecimal>`. A live connection outlives its session by sending the
value of a newer one in a `refresh-token` message, so the same value is also taken as a token.
"""

import base64
import hashlib
import hmac
import json
from typing import TYPE_CHECKING

from imgateway import AuthSettings, Code, Credentials, Identity, Refusal, SettingsError, UserId
from imgateway.core.clock import SystemClock
from imgateway.ports import Clock

if TYPE_CHECKING:
    from imgateway.ports import Authenticator

COOKIE = "session"
MAX_CHARS = 4096


def issue(user_id: str, expires_at: int, secret: str) -> str:
    """What the website does when somebody logs in: the value of the cookie. `expires_at` is in milliseconds."""
    body = base64.urlsafe_b64encode(json.dumps({"user": user_id, "expires": expires_at}).encode()).decode()
    return f"{body}.{_signature(body, secret)}"


class SessionCookieAuthenticator:
    """Implements `ports.Authenticator` by signed session cookies."""

    def __init__(self, secret: str, clock: Clock) -> None:
        self._secret = secret
        self._clock = clock

    @classmethod
    def from_settings(cls, auth: AuthSettings) -> "SessionCookieAuthenticator":
        """What the entry point names.

        Raises:
            SettingsError: `auth.secret` is missing.
        """
        if auth.secret is None:
            raise SettingsError(["auth.secret: expected the secret that signs the website's sessions"])
        return cls(auth.secret, SystemClock())

    async def authenticate(self, credentials: Credentials, /) -> Identity | Refusal:
        """The user of the session, taken from the cookie or, for a live connection, from the token. Never waits."""
        value = _cookie(credentials.headers.get("cookie", "")) or credentials.token
        if value is None or len(value) > MAX_CHARS or not value.isascii():
            return Refusal(Code.UNAUTHENTICATED, "There is no session.")
        body, _, signature = value.rpartition(".")
        if not hmac.compare_digest(signature.encode(), _signature(body, self._secret).encode()):
            return Refusal(Code.UNAUTHENTICATED, "The session was not issued here.")
        session = json.loads(base64.urlsafe_b64decode(body))
        if session["expires"] <= self._clock.now():
            return Refusal(Code.TOKEN_EXPIRED, "The session has ended.")
        return Identity(UserId(session["user"]), session["expires"])

    async def aclose(self) -> None:
        """Nothing is held."""


def _signature(body: str, secret: str) -> str:
    return hmac.digest(secret.encode(), body.encode(), hashlib.sha256).hex()


def _cookie(header: str) -> str | None:
    for pair in header.split(";"):
        name, _, value = pair.strip().partition("=")
        if name == COOKIE:
            return value
    return None


if TYPE_CHECKING:

    def _conforms(authenticator: SessionCookieAuthenticator) -> Authenticator:
        return authenticator
