"""Tokens for development: what `imgateway token` prints."""

from imgateway.adapters.jwt.keys import secret_bytes
from imgateway.adapters.jwt.signatures import KEY_TYPES, Signatures
from imgateway.core.clock import SystemClock
from imgateway.core.settings import AuthSettings
from imgateway.errors import SettingsError
from imgateway.model import is_valid_user_id
from imgateway.ports import Clock


def mint_token(
    user_id: str,
    *,
    secret: str,
    ttl_seconds: int,
    settings: AuthSettings | None = None,
    clock: Clock | None = None,
) -> str:
    """A token that `JwtAuthenticator` with the same settings and secret accepts, whatever claims they ask for.

    Args:
        user_id: whom it proves.
        secret: signs it.
        ttl_seconds: how long it holds from now on; rounded down to whole seconds of the clock.
        settings: `[auth]`; by default as an embedded gateway has it.
        clock: says what now is.

    Raises:
        SettingsError: the secret can be guessed, or the settings allow no algorithm that signs by a shared secret.
        ValueError: the user id is not 1 to 128 characters without control characters.
    """
    auth = settings or AuthSettings()
    if not is_valid_user_id(user_id):
        raise ValueError("a user id has 1 to 128 characters and no control characters")
    algorithm = next((name for name in auth.algorithms if KEY_TYPES[name] is bytes), None)
    if algorithm is None:
        raise SettingsError(["auth.algorithms: expected an HS algorithm; a public key can't sign a token"])
    now = (clock or SystemClock()).now() // 1000
    claims = {**auth.required_claims, auth.user_claim: user_id, "iat": now, "exp": now + ttl_seconds}
    if auth.issuer is not None:
        claims["iss"] = auth.issuer
    if auth.audience is not None:
        claims["aud"] = auth.audience
    return Signatures([algorithm]).signed(claims, secret_bytes(secret), algorithm)
