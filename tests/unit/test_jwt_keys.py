"""Keys: which ones are accepted from the settings and from a key set, and what tokens they then verify."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from imgateway.adapters.jwt import JwtAuthenticator
from imgateway.adapters.jwt.keys import MAX_PUBLISHED_KEYS, published_keys
from imgateway.adapters.jwt.signatures import Header, Signatures
from imgateway.core.settings import AuthSettings
from imgateway.errors import ServiceUnavailableError, SettingsError
from imgateway.model import Credentials, Identity
from imgateway.testing import VirtualClock

SECRET = "kept by the issuer and by the gateway alone"
RSA = rsa.generate_private_key(65537, 2048)
SMALL_RSA = rsa.generate_private_key(65537, 1024)
P256, P384, P521 = (ec.generate_private_key(curve) for curve in (ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()))
ED25519, ED448 = ed25519.Ed25519PrivateKey.generate(), ed448.Ed448PrivateKey.generate()

FITTING = [
    *((RSA, algorithm) for algorithm in ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")),
    *((P256, "ES256"), (P384, "ES384"), (P521, "ES512"), (ED25519, "EdDSA")),
]


def pem(key: Any) -> bytes:
    made: bytes = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return made


def private_pem(key: Any) -> bytes:
    made: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return made


def member(key: Any, **changes: Any) -> dict[str, Any]:
    """The public key as a member of a key set."""
    kind = RSAAlgorithm if hasattr(key, "decrypt") else ECAlgorithm if hasattr(key, "curve") else OKPAlgorithm
    return {**kind.to_jwk(key.public_key(), as_dict=True), "kid": "k", **changes}


def public_key_settings(tmp_path: Path, content: bytes, *algorithms: Any) -> AuthSettings:
    file = tmp_path / "key.pem"
    file.write_bytes(content)
    return AuthSettings(algorithms=algorithms, public_key_file=str(file))


def usable(members: object, *algorithms: str) -> Sequence[tuple[str, str | None]]:
    """Which keys of a set count: for which algorithm, under which name."""
    found = published_keys(algorithms, Signatures(algorithms), json.dumps({"keys": members}).encode())
    return [(key.algorithm, key.kid) for key in found.keys]


@pytest.mark.anyio
@pytest.mark.parametrize(("key", "algorithm"), FITTING)
async def test_a_public_key_file_verifies(tmp_path: Path, key: Any, algorithm: str) -> None:
    clock = VirtualClock()
    authenticator = JwtAuthenticator.from_settings(public_key_settings(tmp_path, pem(key), algorithm), clock)
    made = jwt.encode({"sub": "alice", "exp": clock.now() // 1000 + 60}, key, algorithm)
    outcome = await authenticator.authenticate(Credentials(made))
    assert isinstance(outcome, Identity), outcome


@pytest.mark.parametrize(
    ("key", "algorithms"),
    [
        (RSA, ("ES256",)),
        (RSA, ("EdDSA",)),
        (RSA, ("RS256", "ES256")),
        (SMALL_RSA, ("RS256",)),
        (P256, ("RS256",)),
        (P256, ("ES384",)),
        (P256, ("ES256", "ES384")),
        (P384, ("ES256",)),
        (ED448, ("EdDSA",)),
        (ED25519, ("ES256",)),
    ],
)
def test_a_public_key_of_another_kind_curve_or_size(tmp_path: Path, key: Any, algorithms: tuple[str, ...]) -> None:
    with pytest.raises(SettingsError, match=r"auth\.public_key_file: expected a key of the kind"):
        JwtAuthenticator.from_settings(public_key_settings(tmp_path, pem(key), *algorithms))


@pytest.mark.parametrize("content", [b"", b"canary", b"\x00\xff", pem(RSA)[:200], private_pem(RSA), pem(RSA)[27:]])
def test_a_file_without_a_public_key(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(SettingsError, match=r"auth\.public_key_file: expected a public key") as caught:
        JwtAuthenticator.from_settings(public_key_settings(tmp_path, content, "RS256"))
    assert "canary" not in str(caught.value)
    assert caught.value.__suppress_context__, "the parser's own words are about what may be a private key"
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("name", ["missing.pem", "."])
def test_a_file_that_can_not_be_read(tmp_path: Path, name: str) -> None:
    auth = AuthSettings(algorithms=("RS256",), public_key_file=str(tmp_path / name))
    with pytest.raises(SettingsError, match=r"auth\.public_key_file: can't be read"):
        JwtAuthenticator.from_settings(auth)


@pytest.mark.parametrize(
    ("auth", "key"),
    [
        (AuthSettings(), "secret"),
        (AuthSettings(secret=""), "secret"),
        (AuthSettings(secret="0123456789abcdef0123456789abcde"), "secret"),
        (AuthSettings(secret="secret" * 8), "secret"),
        (AuthSettings(secret="change-me-change-me-change-me-change-me"), "secret"),
        (AuthSettings(secret=pem(RSA).decode()), "secret"),
        (AuthSettings(secret=SECRET, algorithms=()), "algorithms"),
        (AuthSettings(secret=SECRET, algorithms=("none",)), "algorithms"),  # type: ignore[arg-type]  # on purpose
        (AuthSettings(secret=SECRET, algorithms=("HS256", "RS256")), "algorithms"),
        (AuthSettings(secret=SECRET, public_key_file="key.pem"), "algorithms"),
        (AuthSettings(secret=SECRET, jwks_url="https://login.example/keys"), "algorithms"),
        (AuthSettings(secret=SECRET, algorithms=("RS256",)), "public_key_file"),
        (
            AuthSettings(algorithms=("RS256",), public_key_file="key.pem", jwks_url="https://a.example/"),
            "public_key_file",
        ),
        (AuthSettings(algorithms=("RS256",), jwks_url="file:///etc/keys.json"), "jwks_url"),
        (AuthSettings(algorithms=("RS256",), jwks_url="http://login.example/keys"), "jwks_url"),
        (AuthSettings(algorithms=("RS256",), jwks_url="https://user:canary@login.example/keys"), "jwks_url"),
    ],
)
def test_settings_without_the_right_key(auth: AuthSettings, key: str) -> None:
    with pytest.raises(SettingsError) as caught:
        JwtAuthenticator.from_settings(auth)
    assert caught.value.problems[0].startswith(f"auth.{key}: expected ")
    assert "canary" not in str(caught.value)
    assert not auth.secret or auth.secret not in str(caught.value)


@pytest.mark.anyio
async def test_a_secret_of_32_bytes_is_enough_for_every_hash() -> None:
    clock = VirtualClock()
    secret = "0123456789abcdefghijklmnopqrstuv"
    auth = AuthSettings(secret=secret, algorithms=("HS256", "HS512"))
    with pytest.warns(jwt.InsecureKeyLengthWarning):  # by the signer; that the verifier gives none is shown below
        made = jwt.encode({"sub": "alice", "exp": clock.now() // 1000 + 60}, secret, "HS512")
    outcome = await JwtAuthenticator.from_settings(auth, clock).authenticate(Credentials(made))
    assert isinstance(outcome, Identity), outcome


@pytest.mark.parametrize(("key", "algorithm"), FITTING)
def test_a_published_key_counts(key: Any, algorithm: str) -> None:
    assert usable([member(key)], algorithm) == [(algorithm, "k")]
    assert usable([member(key, alg=algorithm, use="sig", key_ops=["verify"])], algorithm) == [(algorithm, "k")]


@pytest.mark.parametrize(
    "bad",
    [
        member(RSA, alg="RS512"),
        member(RSA, alg="none"),
        member(RSA, alg=None),
        member(RSA, use="enc"),
        member(RSA, key_ops=["encrypt"]),
        member(RSA, key_ops="verify"),
        member(RSA, kid=7),
        member(RSA, kty="EC"),
        member(RSA, n="!!!"),
        member(RSA, n=7),
        member(RSA, e=None),
        member(RSA, n="AA"),
        {**RSAAlgorithm.to_jwk(RSA, as_dict=True), "key_ops": ["verify"]},
        member(SMALL_RSA),
        member(P256),
        member(ED25519),
        {"kty": "oct", "k": "c2VjcmV0", "alg": "RS256"},
        {"kty": "oct", "k": "c2VjcmV0"},
        {"kty": "unheard of"},
        {"kty": ["RSA"]},
        {},
        [],
        None,
        7,
        "RSA",
    ],
)
def test_one_bad_key_is_passed_over_and_hides_no_other(bad: object) -> None:
    assert usable([bad, member(RSA, kid="good"), bad], "RS256") == [("RS256", "good")]


def test_a_set_never_holds_a_shared_secret() -> None:
    assert usable([{"kty": "oct", "k": "c2VjcmV0" * 8, "alg": "HS256", "kid": "k"}], "HS256") == []


@pytest.mark.parametrize(
    ("key", "changes", "algorithm"),
    [(P384, {}, "ES256"), (P256, {"crv": "P-384"}, "ES384"), (P256, {"x": "AA"}, "ES256"), (ED448, {}, "EdDSA")],
)
def test_a_published_key_of_another_curve(key: Any, changes: dict[str, Any], algorithm: str) -> None:
    assert usable([member(key, **changes)], algorithm) == []


def test_a_key_that_names_no_algorithm_serves_the_allowed_ones_of_its_kind() -> None:
    assert usable([member(RSA)], "RS256", "PS256") == [("RS256", "k"), ("PS256", "k")]
    assert usable([member(RSA, alg="PS256")], "RS256", "PS256") == [("PS256", "k")]


def test_a_set_is_read_up_to_a_limit() -> None:
    names = [str(n) for n in range(MAX_PUBLISHED_KEYS + 5)]
    found = usable([member(RSA, kid=name) for name in names], "RS256")
    assert [kid for _, kid in found] == names[:MAX_PUBLISHED_KEYS]


@pytest.mark.parametrize("kid", ["first", "second", None])
def test_a_kid_selects_among_the_published_keys_and_only_those_of_the_algorithm(kid: str | None) -> None:
    members = [member(RSA, kid="first", alg="RS256"), member(RSA, kid="second"), member(RSA, kid="first", alg="PS256")]
    algorithms = ("RS256", "PS256")
    keys = published_keys(algorithms, Signatures(algorithms), json.dumps({"keys": members}).encode())
    matching = keys.matching(Header("RS256", kid))
    assert {key.kid for key in matching} == ({kid} if kid else {"first", "second"})
    assert {key.algorithm for key in matching} == {"RS256"}
    assert keys.matching(Header("RS256", "third")) == ()


@pytest.mark.parametrize(
    "document",
    [
        *(b"", b"not json", b"\xff\xfe", b"[]", b"null", b"7", b'"keys"', b"{}", b'{"keys":{}}', b'{"keys":null}'),
        *(b"[" * 100_000, b'{"keys":' + b"1" * 5000 + b"}", b"<html>"),
    ],
)
def test_a_document_that_is_no_key_set(document: bytes) -> None:
    with pytest.raises(ServiceUnavailableError, match="not a JSON Web Key Set"):
        published_keys(("RS256",), Signatures(("RS256",)), document)


@pytest.mark.parametrize("show", [repr, str])
def test_no_key_is_shown(show: Callable[[object], str]) -> None:
    assert SECRET not in show(JwtAuthenticator.from_settings(AuthSettings(secret=SECRET)))
