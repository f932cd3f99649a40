"""The keys that may verify a token: from the settings, or from a published key set (RFC 7517)."""

import json
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, Final

import attrs
import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from imgateway.adapters.jwt.signatures import KEY_TYPES, Header, Key, Signatures
from imgateway.core.settings import AuthSettings
from imgateway.core.settings_rules import SECRET
from imgateway.errors import ServiceUnavailableError, SettingsError

MAX_PUBLISHED_KEYS: Final = 32
_PLAIN_KID: Final = re.compile(r"[A-Za-z0-9_.~+/=-]{1,256}")


@attrs.frozen
class Keys:
    """Keys that count at one moment.

    Attributes:
        published: whether they come from a key set, where a token's `kid` selects one.
    """

    keys: tuple[Key, ...]
    published: bool = False

    def matching(self, header: Header, /) -> tuple[Key, ...]:
        """The keys that may have signed a token with this header, those of its algorithm only.

        A `kid` is compared, never looked up anywhere. For a single configured key it is ignored, unless it looks like
        a path, a query or an address: such a token was made to deceive.
        """
        kid = header.kid
        if not self.published and kid is not None and (".." in kid or not _PLAIN_KID.fullmatch(kid)):
            return ()
        return tuple(
            key
            for key in self.keys
            if key.algorithm == header.algorithm and (not self.published or kid is None or key.kid == kid)
        )


def configured_keys(auth: AuthSettings, signatures: Signatures, /) -> Keys | None:
    """The keys that the settings hold or name a file for; None where they are published at `jwks_url`.

    Raises:
        SettingsError: there is no usable key for an algorithm, or a key for another family.
    """
    unknown = [name for name in auth.algorithms if name not in KEY_TYPES]
    if unknown or not auth.algorithms:
        raise SettingsError([f"auth.algorithms: expected some of {', '.join(KEY_TYPES)}"])
    symmetric = {KEY_TYPES[name] is bytes for name in auth.algorithms}
    if len(symmetric) > 1:
        raise SettingsError(["auth.algorithms: expected algorithms of one family"])
    if symmetric == {True}:
        name, material = "secret", _secret(auth)
    elif (auth.public_key_file is None) == (auth.jwks_url is None):
        raise SettingsError(["auth.public_key_file: expected exactly one of public_key_file and jwks_url"])
    elif auth.public_key_file is None:
        return None
    else:
        name, material = "public_key_file", _public_key(auth.public_key_file)
    keys = tuple(Key(algorithm, material) for algorithm in auth.algorithms)
    if not all(map(signatures.accepts, keys)):
        expectation = f"a key of the kind and curve of {', '.join(auth.algorithms)}, RSA of at least 2048 bits"
        raise SettingsError([f"auth.{name}: expected {expectation}"])
    return Keys(keys)


def _secret(auth: AuthSettings) -> bytes:
    if auth.public_key_file is not None or auth.jwks_url is not None:
        raise SettingsError(["auth.algorithms: expected RS, PS, ES or EdDSA, since a public key is configured"])
    return secret_bytes(auth.secret)


def secret_bytes(secret: str | None, /) -> bytes:
    """The shared key of the HS algorithms.

    Raises:
        SettingsError: there is none, or it can be guessed (RFC 7518 section 3.2, RFC 8725 section 3.5).
    """
    if secret is None or not SECRET.holds(secret):
        raise SettingsError([f"auth.secret: expected {SECRET.expectation}"])
    return secret.encode("utf-8", "surrogatepass")


def _public_key(name: str) -> Any:
    try:
        return load_pem_public_key(Path(name).read_bytes())
    except OSError as error:
        raise SettingsError([f"auth.public_key_file: can't be read: {error.strerror}"]) from error
    except (ValueError, UnsupportedAlgorithm):
        # Not chained: the parser's text is about bytes that may be a private key put here by mistake.
        raise SettingsError(["auth.public_key_file: expected a public key in PEM form"]) from None


def published_keys(algorithms: Collection[str], signatures: Signatures, document: bytes, /) -> Keys:
    """The usable keys of a key set: of the right kind, public, meant for signatures and for an allowed algorithm.

    The others are passed over (RFC 7517 section 5), so the result may be empty. A key without `alg` serves every
    allowed algorithm of its kind.

    Raises:
        ServiceUnavailableError: the document is no key set.
    """
    try:
        members = json.loads(document)["keys"]
    except (ValueError, RecursionError, LookupError, TypeError):
        members = None
    if not isinstance(members, list):
        raise ServiceUnavailableError("the answer is not a JSON Web Key Set")
    found = (
        key for member in members[:MAX_PUBLISHED_KEYS] for key in _usable(member, algorithms) if signatures.accepts(key)
    )
    return Keys(tuple(found), published=True)


def _usable(member: object, algorithms: Collection[str]) -> Iterator[Key]:
    if not isinstance(member, dict) or member.get("kty") == "oct" or member.get("use", "sig") != "sig":
        return  # "oct": a shared secret that is published is none
    operations, kid = member.get("key_ops", ["verify"]), member.get("kid")
    if not isinstance(operations, list) or "verify" not in operations or not isinstance(kid, str | None):
        return
    for algorithm in algorithms:
        if member.get("alg", algorithm) != algorithm:
            continue
        try:
            yield Key(algorithm, jwt.PyJWK(member, algorithm).key, kid)
        except Exception:  # noqa: S112  # whatever is wrong with one key must not hide the others
            continue
