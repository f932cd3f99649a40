"""A gateway without any `[auth]` trusts tokens signed by a secret made for this run."""

import secrets
from typing import Final

import attrs

from imgateway.core.settings import AuthSettings, Settings
from imgateway.core.settings_loading import variable_of

NOTE: Final = (
    "No [auth] is configured: only tokens signed by a secret made for this run are accepted. "
    f"To mint your own by `imgateway token` set auth.secret, or {variable_of('auth.secret')}, to 32 random bytes."
)


def with_secret(settings: Settings, /) -> tuple[Settings, list[str]]:
    """The settings to run with, and what the operator should know: where all of `[auth]` is default, a random secret.

    A configuration that says anything about `[auth]` but lacks the secret it needs has been refused before.
    """
    if settings.auth != AuthSettings():
        return settings, []
    auth = attrs.evolve(settings.auth, secret=secrets.token_urlsafe(32))
    return attrs.evolve(settings, auth=auth), [NOTE]
