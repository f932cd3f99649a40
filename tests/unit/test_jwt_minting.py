"""Development tokens: accepted by a gateway with the same settings and secret."""

from typing import Any

import pytest

from imgateway.adapters.jwt import JwtAuthenticator, mint_token
from imgateway.codes import Code
from imgateway.core.settings import AuthSettings
from imgateway.errors import SettingsError
from imgateway.model import Credentials, Identity, Refusal
from imgateway.testing import VirtualClock

SECRET = "kept by the issuer and by the gateway alone"


@pytest.mark.anyio
@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
async def test_a_minted_token_is_accepted_until_it_ends(algorithm: Any) -> None:
    auth = AuthSettings(
        algorithms=(algorithm,),
        secret=SECRET,
        issuer="https://login.example",
        audience="chat",
        user_claim="user_id",
        required_claims={"type": "access"},
    )
    clock = VirtualClock()
    credentials = Credentials(mint_token("alice", secret=SECRET, ttl_seconds=60, settings=auth, clock=clock))
    authenticator = JwtAuthenticator.from_settings(auth, clock)
    proven = await authenticator.authenticate(credentials)
    assert isinstance(proven, Identity), proven
    assert (proven.user_id, proven.expires_at) == ("alice", clock.now() + 60_000)
    clock.advance(70.0)
    outcome = await authenticator.authenticate(credentials)
    assert isinstance(outcome, Refusal)
    assert outcome.code is Code.TOKEN_EXPIRED


@pytest.mark.anyio
async def test_a_token_minted_without_settings_fits_an_embedded_gateway() -> None:
    credentials = Credentials(mint_token("alice", secret=SECRET, ttl_seconds=60))
    proven = await JwtAuthenticator.from_settings(AuthSettings(secret=SECRET)).authenticate(credentials)
    assert isinstance(proven, Identity), proven
    assert proven.user_id == "alice"


def test_only_a_shared_secret_can_mint() -> None:
    with pytest.raises(SettingsError, match=r"auth\.algorithms"):
        mint_token("alice", secret=SECRET, ttl_seconds=60, settings=AuthSettings(algorithms=("RS256",)))


def test_a_secret_that_can_be_guessed_mints_nothing_and_is_not_shown() -> None:
    with pytest.raises(SettingsError, match=r"auth\.secret") as caught:
        mint_token("alice", secret="canary", ttl_seconds=60)
    assert "canary" not in str(caught.value)


def test_nobody_can_be_minted_who_could_not_connect() -> None:
    with pytest.raises(ValueError, match="user id"):
        mint_token("a\nb", secret=SECRET, ttl_seconds=60)
