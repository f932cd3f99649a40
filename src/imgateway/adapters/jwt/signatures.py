"""PyJWT's signature layer (RFC 7515), with only the algorithms that were allowed and each key tied to one of them."""

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

import attrs
import jwt
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt.algorithms import HMACAlgorithm

from imgateway.adapters.jwt.refusals import unauthenticated
from imgateway.model import Refusal

Material = bytes | RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey

KEY_TYPES: Final[Mapping[str, type]] = {
    **dict.fromkeys(("HS256", "HS384", "HS512"), bytes),
    **dict.fromkeys(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), RSAPublicKey),
    **dict.fromkeys(("ES256", "ES384", "ES512"), EllipticCurvePublicKey),
    "EdDSA": Ed25519PublicKey,
}
"""Every supported algorithm and the one kind of key it takes."""

_HASHES: Final = {"HS256": HMACAlgorithm.SHA256, "HS384": HMACAlgorithm.SHA384, "HS512": HMACAlgorithm.SHA512}
_FOREIGN_KEYS: Final = ("jku", "jwk", "x5u", "x5c")


@attrs.frozen
class Key:
    """A key tied to the one algorithm it verifies (RFC 8725 section 3.1).

    Attributes:
        kid: its name within a published key set; None for a key that was configured alone.
    """

    algorithm: str
    material: Material = attrs.field(repr=False)
    kid: str | None = None


@attrs.frozen
class Header:
    """What an unverified header may decide: which of the known keys is tried."""

    algorithm: str
    kid: str | None


class _Hmac(HMACAlgorithm):
    """HMAC without PyJWT's warning about keys shorter than the hash: the settings ask for 32 bytes for every hash."""

    _looked_at: bytes | None = None

    def prepare_key(self, key: str | bytes) -> bytes:
        # PyJWT looks for a public key in disguise each time; the very same object need not be looked at twice.
        if key is not self._looked_at:
            self._looked_at = super().prepare_key(key)
        return self._looked_at

    def check_key_length(self, key: bytes) -> None:
        return None


class Signatures:
    """Signs and verifies by the allowed algorithms only."""

    __slots__ = ("_algorithms", "_jws")

    def __init__(self, algorithms: Iterable[str], /) -> None:
        self._algorithms = frozenset(algorithms)
        self._jws = jwt.PyJWS(algorithms=list(self._algorithms))
        for name in self._algorithms & _HASHES.keys():
            self._jws.unregister_algorithm(name)
            self._jws.register_algorithm(name, _Hmac(_HASHES[name]))

    def accepts(self, key: Key, /) -> bool:
        """Whether a key is of its algorithm's kind, long enough and, for ES, on its algorithm's curve. Never raises."""
        if key.algorithm not in self._algorithms or not isinstance(key.material, KEY_TYPES[key.algorithm]):
            return False
        algorithm = self._jws.get_algorithm_by_name(key.algorithm)
        try:
            return algorithm.check_key_length(algorithm.prepare_key(key.material)) is None
        except (jwt.PyJWTError, ValueError):
            return False

    def header(self, token: str, /) -> Header | Refusal:
        """What the header says, unverified. Opens no file and asks nobody, whatever it says. Never raises."""
        try:
            header = jwt.get_unverified_header(token)
        except (jwt.PyJWTError, ValueError, RecursionError):
            return unauthenticated(
                "The token is not a well-formed JWT, or asks for an extension that is not supported."
            )
        algorithm = header.get("alg")
        if not isinstance(algorithm, str) or algorithm not in self._algorithms:
            return unauthenticated("The token's algorithm is not among the allowed ones.")
        if "crit" in header:
            # RFC 7515 section 4.1.11; no extension is understood here, not even those that PyJWT knows.
            return unauthenticated("The token asks for an extension that is not supported.")
        if any(name in header for name in _FOREIGN_KEYS):
            return unauthenticated("The token brings or names a key of its own.")
        return Header(algorithm, header.get("kid"))

    def verified(self, token: str, keys: Iterable[Key], /) -> dict[str, Any] | Refusal:
        """The claims, if one of `keys` verifies the signature. Never raises."""
        for key in keys:
            try:
                payload = self._jws.decode(token, key.material, algorithms=[key.algorithm])
                claims = json.loads(payload)
            except jwt.InvalidSignatureError:
                continue
            except (jwt.PyJWTError, ValueError, RecursionError):
                return unauthenticated("The token is not a well-formed JWT.")
            return claims if isinstance(claims, dict) else unauthenticated("The token's payload is not a JSON object.")
        return unauthenticated("No known key verifies the token's signature.")

    def signed(self, claims: Mapping[str, Any], secret: bytes, algorithm: str, /) -> str:
        """A token with these claims."""
        return self._jws.encode(json.dumps(claims).encode(), secret, algorithm)
