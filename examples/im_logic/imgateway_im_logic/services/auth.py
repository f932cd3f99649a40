"""AuthService: accounts and tokens."""

from typing import Any, TypeAlias

import attrs
import grpc

from imgateway.model import UserId
from imgateway.ports import Clock
from imgateway_im_logic import shapes
from imgateway_im_logic.accounts import Accounts
from imgateway_im_logic.attempts import LoginAttempts
from imgateway_im_logic.generated.im.logic.v1 import auth_pb2, auth_pb2_grpc
from imgateway_im_logic.names import folded, shown_name
from imgateway_im_logic.passwords import Passwords
from imgateway_im_logic.refusals import conflict, invalid, unproven
from imgateway_im_logic.tokens import Tokens

MAX_URL_CHARS = 500
_MAX_NAME_LOOKED_AT = 128

_Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"  # only the stubs know of the parameters


def checked_url(url: str, /) -> str:
    """A picture's address, or empty.

    Raises:
        RefusedError: it is none that a page may load.
    """
    if url and (not url.startswith(("https://", "http://")) or len(url) > MAX_URL_CHARS):
        raise invalid(avatar_url=f"An http or https URL of at most {MAX_URL_CHARS} characters.")
    return url


@attrs.frozen
class AuthService(auth_pb2_grpc.AuthServiceServicer):
    """See `protos/im/logic/v1/auth.proto`."""

    accounts: Accounts
    tokens: Tokens
    clock: Clock
    passwords: Passwords
    attempts: LoginAttempts

    async def Register(self, request: auth_pb2.RegisterRequest, _context: _Context) -> auth_pb2.RegisterResponse:
        """Make an account."""
        # Refused before the work of hashing, where that is known already.
        if not self.accounts.is_free(shown_name(request.username, "username")):
            raise conflict("Somebody else has this name.")
        avatar_url = checked_url(request.avatar_url)
        password = await self.passwords.hashed(request.password)
        user = self.accounts.register(request.username, password, avatar_url, self.clock.now())
        return auth_pb2.RegisterResponse(user=shapes.user(user))

    async def Login(self, request: auth_pb2.LoginRequest, _context: _Context) -> auth_pb2.LoginResponse:
        """Sign in with a password."""
        name = folded(request.username[:_MAX_NAME_LOOKED_AT])
        self.attempts.begin(name)
        user, kept = self.accounts.registered(name)
        if not await self.passwords.match(request.password, kept) or user is None:
            raise unproven("The name and the password do not belong together.")
        self.attempts.succeeded(name)
        user = self.accounts.meet(user.user_id, self.clock.now())
        pair = self.tokens.open(user.user_id)
        return auth_pb2.LoginResponse(
            access_token=pair.access_token,
            refresh_token=pair.refresh_token,
            expires_in=pair.expires_at,
            user=shapes.user(user),
        )

    async def GuestLogin(self, request: auth_pb2.GuestLoginRequest, _context: _Context) -> auth_pb2.GuestLoginResponse:
        """Come without a password."""
        info = request.client_info
        user = self.accounts.guest(info.device_id, info.nickname, self.clock.now())
        pair = self.tokens.open(user.user_id)
        return auth_pb2.GuestLoginResponse(
            access_token=pair.access_token,
            refresh_token=pair.refresh_token,
            expires_in=pair.expires_at,
            user=shapes.user(user),
        )

    async def RefreshToken(
        self, request: auth_pb2.RefreshTokenRequest, _context: _Context
    ) -> auth_pb2.RefreshTokenResponse:
        """Change a refresh token for a new pair."""
        user_id, pair = self.tokens.refresh(request.refresh_token)
        self.accounts.meet(user_id, self.clock.now())
        return auth_pb2.RefreshTokenResponse(
            access_token=pair.access_token, refresh_token=pair.refresh_token, expires_in=pair.expires_at
        )

    async def Logout(self, request: auth_pb2.LogoutRequest, _context: _Context) -> auth_pb2.LogoutResponse:
        """End a session."""
        self.tokens.close(UserId(request.user_id), request.access_token)
        return auth_pb2.LogoutResponse(success=True)

    async def ValidateToken(
        self, request: auth_pb2.ValidateTokenRequest, _context: _Context
    ) -> auth_pb2.ValidateTokenResponse:
        """Whether an access token is good."""
        valid = self.tokens.validate(request.access_token)
        if valid is None:
            return auth_pb2.ValidateTokenResponse(valid=False)
        user_id, expires_at = valid
        return auth_pb2.ValidateTokenResponse(
            valid=True, user=shapes.user(self.accounts.shown(user_id)), expires_at=expires_at
        )
