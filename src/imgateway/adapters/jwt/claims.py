"""What the claims of a token whose signature was verified are worth (RFC 7519 section 4.1)."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

import attrs

from imgateway.adapters.jwt.refusals import expired, unauthenticated
from imgateway.core.settings import AuthSettings
from imgateway.model import Identity, Refusal, UserId, is_valid_user_id

_LATEST: Final = 253_402_300_799
"""The last second of the year 9999: anything later was not written in seconds."""


@attrs.frozen
class ClaimRules:
    """What the claims must say.

    Attributes:
        issuer: the exact `iss`; None: not looked at.
        audience: must be among the `aud`; None: there must be no `aud`, since a token for somebody else is to be
            rejected (RFC 7519 section 4.1.3).
        required: claims by name with their exact values.
        leeway: milliseconds by which clocks may differ.
        user_claim: where the user id stands.
    """

    issuer: str | None
    audience: str | None
    required: Mapping[str, Any]
    leeway: int
    user_claim: str

    @classmethod
    def from_settings(cls, auth: AuthSettings, /) -> "ClaimRules":
        """The rules that the settings ask for."""
        leeway = round(auth.leeway_seconds * 1000)
        return cls(auth.issuer, auth.audience, dict(auth.required_claims), leeway, auth.user_claim)

    def judge(self, claims: Mapping[str, Any], now: int, /) -> Identity | Refusal:
        """Who the token proves at `now`, or why it does not; that it expired, only of an otherwise good one."""
        reason = self._mismatch(claims) or self._too_early(claims, now)
        if reason is not None:
            return unauthenticated(reason)
        expires_at, user_id = _milliseconds(claims.get("exp")), claims.get(self.user_claim)
        if expires_at is None:
            return unauthenticated("The token has no valid `exp`.")
        if not is_valid_user_id(user_id):
            return unauthenticated(f"The token has no valid user id in `{self.user_claim}`.")
        return self.unless_expired(Identity(UserId(str(user_id)), expires_at, MappingProxyType(dict(claims))), now)

    def unless_expired(self, identity: Identity, now: int, /) -> Identity | Refusal:
        """The identity while it holds, the leeway included."""
        if now < identity.expires_at + self.leeway:
            return identity
        return expired()

    def _mismatch(self, claims: Mapping[str, Any]) -> str | None:
        if self.issuer is not None and claims.get("iss") != self.issuer:
            return "The token's `iss` is not the expected issuer."
        audience = claims.get("aud")
        if self.audience is None and audience is not None:
            return "The token is for an audience (`aud`), and none is configured here."
        if self.audience is not None and self.audience not in (audience if isinstance(audience, list) else [audience]):
            return "The token's `aud` does not name the expected audience."
        for name, wanted in self.required.items():
            if not _same(claims.get(name), wanted):
                return f"The token's `{name}` is not as required."
        return None

    def _too_early(self, claims: Mapping[str, Any], now: int) -> str | None:
        for name, wording in (("nbf", "is not valid yet"), ("iat", "was issued in the future")):
            if name in claims:
                moment = _milliseconds(claims[name])
                if moment is None:
                    return f"The token has no valid `{name}`."
                if moment > now + self.leeway:
                    return f"The token {wording} (`{name}`)."
        return None


def _milliseconds(date: object) -> int | None:
    """A NumericDate (RFC 7519 section 2): seconds since the epoch, with or without a fraction."""
    if isinstance(date, bool) or not isinstance(date, int | float) or not 0 <= date <= _LATEST:
        return None
    return int(date * 1000)


def _same(value: object, wanted: object) -> bool:
    """Equal and of one type: Python holds `1`, `1.0` and `true` for the same."""
    if isinstance(value, list) and isinstance(wanted, list):
        return len(value) == len(wanted) and all(map(_same, value, wanted))
    return type(value) is type(wanted) and value == wanted
