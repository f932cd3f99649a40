"""Claims of tokens whose signature is right: who they prove, to whom, and when."""

import base64
import hashlib
import hmac
import json
from typing import Any

import pytest

from imgateway.adapters.jwt import JwtAuthenticator
from imgateway.codes import Code
from imgateway.core.settings import AuthSettings
from imgateway.model import Credentials, Identity, Refusal
from imgateway.testing import VirtualClock

SECRET = "kept by the issuer and by the gateway alone"
NOW = 1_700_000_000

pytestmark = pytest.mark.anyio


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def assembled(payload: str, secret: str = SECRET) -> str:
    """By hand, since PyJWT refuses to sign some of what is to be refused here."""
    header = b64(b'{"alg":"HS256"}')
    signed = f"{header}.{b64(payload.encode())}"
    return f"{signed}.{b64(hmac.digest(secret.encode(), signed.encode(), hashlib.sha256))}"


def token(*, secret: str = SECRET, without: str = "", **claims: Any) -> str:
    payload = {"sub": "alice", "exp": NOW + 60, **claims}
    payload.pop(without, None)
    return assembled(json.dumps(payload), secret)


def hs256(**settings: Any) -> JwtAuthenticator:
    return JwtAuthenticator.from_settings(AuthSettings(secret=SECRET, **settings), VirtualClock())


async def refusal(authenticator: JwtAuthenticator, shown: str) -> Refusal:
    outcome = await authenticator.authenticate(Credentials(shown))
    assert isinstance(outcome, Refusal), outcome
    return outcome


async def unauthenticated(authenticator: JwtAuthenticator, shown: str) -> str:
    outcome = await refusal(authenticator, shown)
    assert outcome.code is Code.UNAUTHENTICATED
    return outcome.message


async def identity(authenticator: JwtAuthenticator, shown: str) -> Identity:
    outcome = await authenticator.authenticate(Credentials(shown))
    assert isinstance(outcome, Identity), outcome
    return outcome


@pytest.mark.parametrize(
    ("claim", "seconds", "code"),
    [
        ("exp", -11, Code.TOKEN_EXPIRED),
        ("exp", -10, Code.TOKEN_EXPIRED),
        ("exp", -9, None),
        ("exp", 0, None),
        ("nbf", 11, Code.UNAUTHENTICATED),
        ("nbf", 10, None),
        ("iat", 11, Code.UNAUTHENTICATED),
        ("iat", 10, None),
        ("iat", -86_400, None),
    ],
)
async def test_times_count_up_to_the_leeway(claim: str, seconds: int, code: Code | None) -> None:
    changed: dict[str, Any] = {claim: NOW + seconds}
    outcome = await hs256(leeway_seconds=10.0).authenticate(Credentials(token(**changed)))
    assert (outcome.code if isinstance(outcome, Refusal) else None) is code


async def test_the_end_is_the_tokens_own_whatever_the_leeway() -> None:
    assert (await identity(hs256(leeway_seconds=10.0), token(exp=NOW - 5))).expires_at == (NOW - 5) * 1000


@pytest.mark.parametrize("claim", ["exp", "nbf", "iat"])
@pytest.mark.parametrize(
    "value",
    [
        "1700000060",
        "",
        None,
        True,
        False,
        [],
        {},
        -1,
        -1.5,
        float("nan"),
        float("inf"),
        float("-inf"),
        1e300,
        10**400,
        253_402_300_800,
        1_700_000_060_000,
    ],
)
async def test_times_that_are_none(claim: str, value: object) -> None:
    changed: dict[str, Any] = {claim: value}
    assert claim in await unauthenticated(hs256(), token(**changed))


async def test_a_number_too_long_to_be_read() -> None:
    payload = f'{{"sub":"alice","exp":{"1" * 5000}}}'
    await unauthenticated(hs256(), assembled(payload))


async def test_a_time_may_have_a_fraction() -> None:
    """RFC 7519 section 2 says so."""
    assert (await identity(hs256(), token(exp=NOW + 60.5))).expires_at == NOW * 1000 + 60_500


@pytest.mark.parametrize("missing", ["sub", "exp"])
async def test_a_claim_that_must_be_there(missing: str) -> None:
    assert missing in await unauthenticated(hs256(), token(without=missing))


@pytest.mark.parametrize(
    "user_id",
    ["", "a\x00b", "a\nb", "\x7f", "a\x9fb", "\ud800", "u" * 129, 7, 7.0, True, None, ["alice"], {"id": "alice"}],
)
async def test_a_user_id_that_is_none(user_id: object) -> None:
    assert "sub" in await unauthenticated(hs256(), token(sub=user_id))


@pytest.mark.parametrize("user_id", ["../../x", "a:b", "{}", "*", "张三", "u" * 128])
async def test_a_user_id_that_only_looks_wrong(user_id: str) -> None:
    assert (await identity(hs256(), token(sub=user_id))).user_id == user_id


async def test_the_user_id_may_stand_in_another_claim() -> None:
    authenticator = hs256(user_claim="user_id")
    assert (await identity(authenticator, token(user_id="bob"))).user_id == "bob"
    assert "user_id" in await unauthenticated(authenticator, token())


@pytest.mark.parametrize(
    "issuer",
    [
        *(None, "", "https://login", "https://login.example/", "https://login.example.evil", "HTTPS://login.example"),
        *(7, ["https://login.example"], {"iss": "https://login.example"}),
    ],
)
async def test_another_issuer(issuer: object) -> None:
    authenticator = hs256(issuer="https://login.example")
    assert "iss" in await unauthenticated(authenticator, token(iss=issuer))
    assert "iss" in await unauthenticated(authenticator, token())
    await identity(authenticator, token(iss="https://login.example"))


@pytest.mark.parametrize(
    "audience", [None, "", "cha", "chat2", "a chat", "CHAT", 7, [], ["cha"], [["chat"]], {"chat": 1}]
)
async def test_another_audience(audience: object) -> None:
    authenticator = hs256(audience="chat")
    assert "aud" in await unauthenticated(authenticator, token(aud=audience))
    assert "aud" in await unauthenticated(authenticator, token())
    await identity(authenticator, token(aud="chat"))
    await identity(authenticator, token(aud=["mail", "chat"]))


async def test_an_audience_where_none_is_configured() -> None:
    """RFC 7519 section 4.1.3: who does not find itself among the audience must reject the token."""
    assert "aud" in await unauthenticated(hs256(), token(aud="mail"))


@pytest.mark.parametrize(
    ("wanted", "value"),
    [
        ("access", "refresh"),
        ("access", None),
        ("access", ["access"]),
        (1, True),
        (1, 1.0),
        (True, 1),
        (["a", "b"], ["b", "a"]),
        (["a"], ["a", "b"]),
        (["a"], "a"),
        ([1], [True]),
    ],
)
async def test_a_required_claim_with_another_value(wanted: object, value: object) -> None:
    authenticator = hs256(required_claims={"type": wanted})
    assert "type" in await unauthenticated(authenticator, token(type=value))
    assert "type" in await unauthenticated(authenticator, token())
    await identity(authenticator, token(type=wanted))


async def test_only_an_otherwise_good_token_is_told_that_it_expired() -> None:
    authenticator = hs256(issuer="https://login.example")
    await unauthenticated(authenticator, token(exp=NOW - 60))
    await unauthenticated(authenticator, token(exp=NOW - 60, iss="https://login.example", secret="x" * 40))
    assert (await refusal(authenticator, token(exp=NOW - 60, iss="https://login.example"))).code is Code.TOKEN_EXPIRED
