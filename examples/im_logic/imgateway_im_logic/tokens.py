"""Tokens by GoChat's claims: made here, verified by the gateway, which knows nothing of this module but the secret."""

import uuid
from collections import OrderedDict
from typing import Any, Final, Literal

import attrs
import jwt

from imgateway.model import UserId
from imgateway.ports import Clock
from imgateway_im_logic.refusals import unproven

ISSUER: Final = "im-logic"
ACCESS_SECONDS: Final = 24 * 3600
REFRESH_SECONDS: Final = 7 * 24 * 3600
MAX_SESSIONS: Final = 10_000

_ALGORITHM: Final = "HS256"


@attrs.frozen
class TokenPair:
    """What a user gets who signs in.

    Attributes:
        expires_at: of the access token, as a Unix time in seconds.
    """

    access_token: str = attrs.field(repr=False)
    refresh_token: str = attrs.field(repr=False)
    expires_at: int


@attrs.define(eq=False)
class _Session:
    user_id: UserId
    refresh_id: str = ""


@attrs.define(eq=False)
class Tokens:
    """Sessions, each with one refresh token that works once. In memory: the longest unused is forgotten.

    Attributes:
        secret: signs; the gateway verifies with the same one.
        access_seconds: how long an access token holds.
        refresh_seconds: how long a refresh token holds.
    """

    secret: str = attrs.field(repr=False)
    clock: Clock
    access_seconds: int = ACCESS_SECONDS
    refresh_seconds: int = REFRESH_SECONDS
    _sessions: OrderedDict[str, _Session] = attrs.field(factory=OrderedDict)

    def open(self, user_id: UserId, /) -> TokenPair:
        """Begin a session."""
        session_id = str(uuid.uuid4())
        self._sessions[session_id] = _Session(user_id)
        if len(self._sessions) > MAX_SESSIONS:
            self._sessions.popitem(last=False)
        return self._pair(session_id)

    def refresh(self, refresh_token: str, /) -> tuple[UserId, TokenPair]:
        """Change a refresh token for the next pair.

        Raises:
            RefusedError: it is none, has expired or was used before; in the last case its session has ended.
        """
        claims = self._claims(refresh_token, "refresh")
        session = None if claims is None else self._sessions.get(claims["sid"])
        if claims is None or session is None:
            raise unproven("The refresh token is not valid any more.")
        if claims["jti"] != session.refresh_id:
            del self._sessions[claims["sid"]]
            raise unproven("The refresh token was used before; its session has ended.")
        self._sessions.move_to_end(claims["sid"])
        return session.user_id, self._pair(claims["sid"])

    def close(self, user_id: UserId, access_token: str, /) -> None:
        """End the session of an access token, if it is that user's. Also where the token has expired."""
        claims = self._claims(access_token, "access", expired=True)
        session = None if claims is None else self._sessions.get(claims["sid"])
        if claims is not None and session is not None and session.user_id == user_id:
            del self._sessions[claims["sid"]]

    def validate(self, access_token: str, /) -> tuple[UserId, int] | None:
        """Whose token it is, and when it expires (Unix time in seconds). None: it is worth nothing."""
        claims = self._claims(access_token, "access")
        session = None if claims is None else self._sessions.get(claims["sid"])
        return None if claims is None or session is None else (session.user_id, int(claims["exp"]))

    def _pair(self, session_id: str) -> TokenPair:
        session = self._sessions[session_id]
        access_token, access = self._signed(session_id, session.user_id, "access", self.access_seconds)
        refresh_token, refresh = self._signed(session_id, session.user_id, "refresh", self.refresh_seconds)
        session.refresh_id = refresh["jti"]
        return TokenPair(access_token, refresh_token, access["exp"])

    def _signed(self, session_id: str, user_id: UserId, kind: str, seconds: int) -> tuple[str, dict[str, Any]]:
        now = self.clock.now() // 1000
        claims = {
            "iss": ISSUER,
            "sub": user_id,
            "user_id": user_id,
            "type": kind,
            "jti": str(uuid.uuid4()),
            "sid": session_id,
            "iat": now,
            "exp": now + seconds,
        }
        return jwt.encode(claims, self.secret, _ALGORITHM), claims

    def _claims(
        self, token: str, kind: Literal["access", "refresh"], *, expired: bool = False
    ) -> dict[str, Any] | None:
        options: Any = {"require": ["exp", "jti", "sid", "sub"], "verify_exp": False, "verify_iat": False}
        try:
            claims = jwt.decode(token, self.secret, [_ALGORITHM], issuer=ISSUER, options=options)
        except jwt.InvalidTokenError:
            return None
        if claims.get("type") != kind or (not expired and claims["exp"] * 1000 <= self.clock.now()):
            return None
        return claims
