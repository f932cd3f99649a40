"""The plugin keeps the contract of every authenticator, and what is its own besides."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from imgateway_session_cookie import SessionCookieAuthenticator, issue

from imgateway import AuthSettings
from imgateway.errors import SettingsError
from imgateway.model import Credentials, Identity
from imgateway.ports import Authenticator
from imgateway.testing import AuthenticatorSuite, VirtualClock

SECRET = "shared by the website and the gateway"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.anyio
class TestSessionCookie(AuthenticatorSuite):
    """Every clause of the contract, with cookies."""

    clock = VirtualClock()

    @asynccontextmanager
    async def make(self) -> AsyncIterator[Authenticator]:
        authenticator = SessionCookieAuthenticator(SECRET, self.clock)
        yield authenticator
        await authenticator.aclose()

    def valid_credentials(self, user_id: str, expires_at: int, /) -> Credentials:
        return _with_cookie(issue(user_id, expires_at, SECRET))

    def expired_credentials(self) -> Credentials:
        return _with_cookie(issue("alice", self.now() - 1000, SECRET))

    def forged_credentials(self) -> Credentials:
        return _with_cookie(issue("alice", self.now() + 60_000, "guessed by somebody else"))

    def now(self) -> int:
        return self.clock.now()

    async def pass_time(self, seconds: float, /) -> None:
        self.clock.advance(seconds)


@pytest.mark.anyio
async def test_a_live_connection_refreshes_with_the_new_value_as_its_token() -> None:
    clock = VirtualClock()
    authenticator = SessionCookieAuthenticator(SECRET, clock)
    identity = await authenticator.authenticate(Credentials(token=issue("alice", clock.now() + 1000, SECRET)))
    assert isinstance(identity, Identity)
    assert identity.user_id == "alice"


def test_without_a_secret_it_does_not_start() -> None:
    with pytest.raises(SettingsError, match=r"auth\.secret"):
        SessionCookieAuthenticator.from_settings(AuthSettings(plugin="session-cookie"))


def _with_cookie(value: str) -> Credentials:
    return Credentials(headers={"cookie": f"theme=dark; session={value}; lang=zh"})
