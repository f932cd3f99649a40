"""Bearer tokens that are JSON Web Tokens (RFC 7519), checked by the rules of RFC 8725."""

from functools import partial
from typing import TYPE_CHECKING, Final, Self

import attrs

from imgateway.adapters.jwt.claims import ClaimRules
from imgateway.adapters.jwt.fetching import fetch
from imgateway.adapters.jwt.key_set import FETCH_SECONDS, FixedKeys, KeySource, PublishedKeys
from imgateway.adapters.jwt.keys import Keys, configured_keys, published_keys
from imgateway.adapters.jwt.refusals import unauthenticated
from imgateway.adapters.jwt.signatures import Header, Signatures
from imgateway.adapters.jwt.verified import VerifiedTokens, digest
from imgateway.core.clock import SystemClock
from imgateway.core.settings import AuthSettings
from imgateway.core.settings_rules import JWKS_URL
from imgateway.errors import SettingsError
from imgateway.model import Credentials, Identity, Refusal
from imgateway.ports import Clock

if TYPE_CHECKING:
    from imgateway.ports import Authenticator

MAX_TOKEN_CHARS: Final = 8192
"""Longer tokens are refused unread."""
REMEMBERED_TOKENS: Final = 20_000
"""Verified tokens that need not be verified again."""


@attrs.define(eq=False)
class JwtAuthenticator:
    """Implements `ports.Authenticator` by JWTs: made by `from_settings`.

    A token is checked in this order: its size and characters, whether the very same one was verified before by keys
    that still count, its header, its signature by a key tied to its algorithm, its claims, and last its end.
    `TOKEN_EXPIRED` is thus said only of a token that was good.
    """

    _rules: ClaimRules
    _signatures: Signatures
    _source: KeySource
    _clock: Clock
    _verified: VerifiedTokens = attrs.field(factory=lambda: VerifiedTokens(REMEMBERED_TOKENS), init=False)

    @classmethod
    def from_settings(cls, auth: AuthSettings, clock: Clock | None = None) -> Self:
        """An authenticator by the `[auth]` settings. Reads `public_key_file`, once; asks nobody yet.

        Raises:
            SettingsError: a key is missing, unreadable, of the wrong kind or too weak.
        """
        clock = clock or SystemClock()
        signatures = Signatures(auth.algorithms)
        keys = configured_keys(auth, signatures)
        source: KeySource
        if keys is not None:
            source = FixedKeys(keys)
        elif auth.jwks_url is not None and JWKS_URL.holds(auth.jwks_url):
            source = PublishedKeys(
                partial(fetch, auth.jwks_url, seconds=FETCH_SECONDS),
                partial(published_keys, auth.algorithms, signatures),
                clock,
            )
        else:
            raise SettingsError([f"auth.jwks_url: expected {JWKS_URL.expectation}"])
        return cls(ClaimRules.from_settings(auth), signatures, source, clock)

    async def authenticate(self, credentials: Credentials, /) -> Identity | Refusal:
        """The user that the token proves. Waits only for a key server, and for that twice five seconds at most."""
        token = credentials.token
        if token is None:
            return unauthenticated("No token was given.")
        if not _is_readable(token):
            return unauthenticated(f"The token is empty, longer than {MAX_TOKEN_CHARS} characters, or not ASCII.")
        key = digest(token)
        ready = self._source.ready()
        if ready is not None and (known := self._verified.get(key, ready)) is not None:
            return self._rules.unless_expired(known, self._clock.now())
        header = self._signatures.header(token)
        if isinstance(header, Refusal):
            return header
        keys = await self._source.keys_for(header)
        if isinstance(keys, Refusal):
            return keys
        return self._verify(token, key, header, keys)

    async def aclose(self) -> None:
        """Forget every verified token."""
        self._verified.clear()

    def _verify(self, token: str, key: bytes, header: Header, keys: Keys) -> Identity | Refusal:
        claims = self._signatures.verified(token, keys.matching(header))
        if isinstance(claims, Refusal):
            return claims
        outcome = self._rules.judge(claims, self._clock.now())
        if isinstance(outcome, Identity):
            self._verified.put(key, outcome, keys)
        return outcome


def _is_readable(token: object) -> bool:
    return isinstance(token, str) and 0 < len(token) <= MAX_TOKEN_CHARS and token.isascii()


if TYPE_CHECKING:

    def _conforms(authenticator: JwtAuthenticator) -> Authenticator:
        return authenticator
