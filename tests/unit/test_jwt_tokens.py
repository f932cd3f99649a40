"""Tokens that must be refused, and the few that must not: the wrong ones by RFC 8725 and by what attackers try."""

import base64
import hashlib
import hmac
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from imgateway.adapters.jwt import JwtAuthenticator
from imgateway.adapters.jwt.authenticator import MAX_TOKEN_CHARS
from imgateway.codes import Code
from imgateway.core.settings import AuthSettings
from imgateway.model import Credentials, Identity, Refusal
from imgateway.testing import VirtualClock

SECRET = "kept by the issuer and by the gateway alone"
NOW = 1_700_000_000
RSA_KEY = generate_private_key(65537, 2048)
PUBLIC_PEM = RSA_KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

pytestmark = pytest.mark.anyio


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def assembled(header: str, payload: str, secret: bytes = SECRET.encode()) -> str:
    """A token with a right HS256 signature whatever it says: the issuer can be talked into anything."""
    signed = f"{b64(header.encode())}.{b64(payload.encode())}"
    return f"{signed}.{b64(hmac.digest(secret, signed.encode(), hashlib.sha256))}"


def token(*, header: dict[str, Any] | None = None, secret: str = SECRET, without: str = "", **claims: Any) -> str:
    payload = {"sub": "alice", "exp": NOW + 60, **claims}
    payload.pop(without, None)
    return assembled(json.dumps({"alg": "HS256", **(header or {})}), json.dumps(payload), secret.encode())


def hs256(**settings: Any) -> JwtAuthenticator:
    return JwtAuthenticator.from_settings(AuthSettings(secret=SECRET, **settings), VirtualClock())


@pytest.fixture
def rs256(tmp_path: Path) -> JwtAuthenticator:
    file = tmp_path / "public.pem"
    file.write_bytes(PUBLIC_PEM)
    return JwtAuthenticator.from_settings(
        AuthSettings(algorithms=("RS256",), public_key_file=str(file)), VirtualClock()
    )


async def refusal(authenticator: JwtAuthenticator, shown: str) -> Refusal:
    outcome = await authenticator.authenticate(Credentials(shown))
    assert isinstance(outcome, Refusal), outcome
    assert len(shown) < 8 or shown not in repr(outcome)
    return outcome


async def unauthenticated(authenticator: JwtAuthenticator, shown: str) -> str:
    outcome = await refusal(authenticator, shown)
    assert outcome.code is Code.UNAUTHENTICATED
    return outcome.message


async def identity(authenticator: JwtAuthenticator, shown: str) -> Identity:
    outcome = await authenticator.authenticate(Credentials(shown))
    assert isinstance(outcome, Identity), outcome
    return outcome


_touched: list[str] | None = None


def _audit(event: str, arguments: tuple[object, ...]) -> None:
    if _touched is not None and event.split(".")[0] in ("open", "socket", "urllib", "subprocess", "os"):
        _touched.append(f"{event} {arguments}")


sys.addaudithook(_audit)


@contextmanager
def touching_nothing() -> Iterator[None]:
    """Fails if a file is opened or a socket used meanwhile."""
    global _touched
    _touched = []
    try:
        yield
        assert _touched == []
    finally:
        _touched = None


async def test_a_good_token_proves_its_user() -> None:
    proven = await identity(hs256(), token(name="Alice"))
    assert (proven.user_id, proven.expires_at) == ("alice", (NOW + 60) * 1000)
    assert proven.claims["name"] == "Alice"


@pytest.mark.parametrize(
    "algorithm", ["none", "None", "NONE", "nOnE", "", "HS512", "RS256", "hs256", None, 1, ["HS256"]]
)
@pytest.mark.parametrize("signature", ["", "right"])
async def test_an_algorithm_that_is_not_allowed(algorithm: object, signature: str) -> None:
    made = token(header={"alg": algorithm})
    shown = made if signature else made.rpartition(".")[0] + "."
    assert "algorithm" in await unauthenticated(hs256(), shown)


async def test_no_algorithm_at_all() -> None:
    await unauthenticated(hs256(), assembled("{}", json.dumps({"sub": "alice", "exp": NOW + 60})))


@pytest.mark.parametrize("algorithms", [("RS256",), ("RS256", "RS512", "PS256")])
async def test_a_public_key_is_no_shared_secret(tmp_path: Path, algorithms: tuple[Any, ...]) -> None:
    file = tmp_path / "public.pem"
    file.write_bytes(PUBLIC_PEM)
    auth = AuthSettings(algorithms=algorithms, public_key_file=str(file))
    authenticator = JwtAuthenticator.from_settings(auth, VirtualClock())
    claims = json.dumps({"sub": "alice", "exp": NOW + 60})
    public_der = RSA_KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    for secret in (PUBLIC_PEM, PUBLIC_PEM.strip(), public_der):
        await unauthenticated(authenticator, assembled('{"alg":"HS256"}', claims, secret))
        await unauthenticated(authenticator, assembled('{"alg":"RS256"}', claims, secret))


async def test_a_key_verifies_by_its_own_algorithm_only(rs256: JwtAuthenticator) -> None:
    claims = {"sub": "alice", "exp": NOW + 60}
    assert (await identity(rs256, jwt.encode(claims, RSA_KEY, "RS256"))).user_id == "alice"
    for algorithm in ("RS384", "RS512", "PS256"):
        await unauthenticated(rs256, jwt.encode(claims, RSA_KEY, algorithm))


async def test_another_key_of_the_right_kind(rs256: JwtAuthenticator) -> None:
    another: RSAPrivateKey = generate_private_key(65537, 2048)
    made = jwt.encode({"sub": "alice", "exp": NOW + 60}, another, "RS256")
    assert "signature" in await unauthenticated(rs256, made)
    assert "signature" in await unauthenticated(hs256(), token(secret="somebody else's idea of a good secret"))


@pytest.mark.parametrize(
    "kid",
    [
        "../../../../dev/null",
        "/dev/null/../null",
        "..\\..\\nul",
        "' OR '1'='1",
        "x'; DROP TABLE keys; --",
        "http://127.0.0.1:9/keys.json",
        "file:///etc/hostname",
        "key\x00",
        "key\n",
        "键",
        "",
        "k" * 257,
        7,
        None,
        {"$ne": ""},
    ],
)
@pytest.mark.parametrize("secret", [SECRET, ""])
async def test_a_kid_that_wants_to_be_looked_up(kid: object, secret: str) -> None:
    authenticator = hs256()
    shown = token(header={"kid": kid}, secret=secret)
    with touching_nothing():
        await unauthenticated(authenticator, shown)


@pytest.mark.parametrize("kid", ["2026-01", "Hs1J+o/8K9a=", "key_1.v2", "urn~a"])
async def test_a_plain_kid_is_ignored_where_there_is_one_key(kid: str) -> None:
    assert (await identity(hs256(), token(header={"kid": kid}))).user_id == "alice"


@pytest.mark.parametrize(
    "header",
    [
        {"jku": "http://127.0.0.1:9/keys.json"},
        {"jku": "file:///etc/hostname"},
        {"x5u": "http://127.0.0.1:9/certificate.pem"},
        {"jwk": {"kty": "oct", "k": b64(SECRET.encode())}},
        {"x5c": ["MIIB"]},
    ],
)
async def test_a_token_that_brings_its_own_key(header: dict[str, Any]) -> None:
    authenticator = hs256()
    shown = token(header=header)
    with touching_nothing():
        assert "key of its own" in await unauthenticated(authenticator, shown)


@pytest.mark.parametrize(
    "header",
    [
        {"crit": ["urn:unknown"], "urn:unknown": 1},
        {"crit": ["exp"]},
        {"crit": []},
        {"crit": "b64"},
        {"crit": [7]},
        {"crit": None},
        {"crit": ["b64"], "b64": True},
        {"crit": ["b64"], "b64": False},
        {"b64": False},
    ],
)
async def test_an_extension_nobody_knows(header: dict[str, Any]) -> None:
    await unauthenticated(hs256(), token(header=header))


async def test_a_token_of_more_than_8_kib_is_not_even_read(monkeypatch: pytest.MonkeyPatch) -> None:
    long_one = token(padding="x" * 8000)
    assert len(long_one) > MAX_TOKEN_CHARS
    authenticator = hs256()
    reads: list[object] = []
    monkeypatch.setattr(jwt, "get_unverified_header", reads.append)
    for shown in (long_one, "A" * (MAX_TOKEN_CHARS + 1), "." * 10_000_000):
        assert "longer" in await unauthenticated(authenticator, shown)
    assert reads == []


async def test_a_token_of_just_under_8_kib_is_read() -> None:
    shown = token(padding="x" * 5900)
    assert 7900 < len(shown) <= MAX_TOKEN_CHARS
    await identity(hs256(), shown)


def _parts(*order: int) -> str:
    parts = token().split(".")
    return ".".join(parts[part] for part in order)


@pytest.mark.parametrize(
    "shown",
    [
        *("", " ", ".", "..", "...", "null", "{}", "Bearer", "\x00", "=.=.=", "é", "令牌", "\ud800", "a.b.c", "-.-.-"),
        *(_parts(0), _parts(0, 1), _parts(0, 1, 2, 2), _parts(0, 1, 1, 2), _parts(0, 0, 1, 2), _parts(1, 0, 2)),
        *(
            f" {_parts(0, 1, 2)}",
            f"{_parts(0, 1, 2)} ",
            f"{_parts(0, 1, 2)}\n",
            f"{_parts(0, 1, 2)}.",
            f".{_parts(0, 1, 2)}",
        ),
        *(f"Bearer {_parts(0, 1, 2)}", f"{_parts(0, 1)}.{'A' * 43}", f"{_parts(0, 1)}.", f"{_parts(0, 1)}.!!!!"),
        assembled("[]", "{}"),
        assembled('"HS256"', "{}"),
        assembled("not json", "{}"),
        assembled('{"alg":"HS256"}', "[]"),
        assembled('{"alg":"HS256"}', "null"),
        assembled('{"alg":"HS256"}', '"alice"'),
        assembled('{"alg":"HS256"}', "not json"),
        assembled('{"alg":"HS256"}', ""),
        assembled('{"alg":"HS256"}', "[" * 5000),
        assembled("[" * 5000, "{}"),
        assembled('{"alg":"HS256","a":' + "1" * 5000 + "}", "{}"),
    ],
)
async def test_what_is_no_token(shown: str) -> None:
    await unauthenticated(hs256(), shown)


async def test_no_token() -> None:
    outcome = await hs256().authenticate(Credentials(headers={"cookie": token()}))
    assert isinstance(outcome, Refusal)
    assert outcome.code is Code.UNAUTHENTICATED


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=10,
)
_names = st.sampled_from(["alg", "kid", "crit", "b64", "typ", "sub", "exp", "nbf", "iat", "iss", "aud", "type"])
_objects = st.dictionaries(_names | st.text(max_size=5), _json, max_size=6)
_signed = st.builds(
    lambda header, payload: assembled(json.dumps({"alg": "HS256", **header}), json.dumps(payload)),
    _objects,
    _objects | _json,
)
_dotted = st.lists(st.text("abcABC019-_=+/ \x00é", max_size=30) | st.binary(max_size=40).map(b64), max_size=5).map(
    ".".join
)
_bytes = st.binary(max_size=200)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@given(shown=st.text() | _dotted | _signed | _bytes.map(lambda data: data.decode("latin-1")) | _bytes)
async def test_nothing_whatsoever_raises(shown: Any) -> None:
    authenticator = hs256(issuer="i", required_claims={"type": [1]}, audience="a")
    assert isinstance(await authenticator.authenticate(Credentials(shown)), Refusal)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@given(header=_objects, payload=_objects)
async def test_a_signed_token_proves_nobody_but_its_user(header: dict[str, Any], payload: dict[str, Any]) -> None:
    shown = assembled(json.dumps({**header, "alg": "HS256"}), json.dumps(payload))
    outcome = await hs256().authenticate(Credentials(shown))
    if isinstance(outcome, Identity):
        assert outcome.user_id == payload["sub"]
        assert abs(outcome.expires_at - payload["exp"] * 1000) <= 1
