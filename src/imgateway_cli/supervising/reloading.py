"""Settings that are read again while workers run: what takes effect, and what can't."""

from typing import Final

import attrs

from imgateway.core.settings import AuthSettings, Settings
from imgateway.core.settings_checks import problems
from imgateway.errors import SettingsError

FIXED: Final = (
    "server.host",
    "server.port",
    "server.workers",
    "server.admin_host",
    "server.admin_port",
    "server.admin_token",
    "gateway.id",
)
"""Keys that keep their values until the supervisor itself is started again."""


def renewed(
    running: Settings, asked: Settings, fresh: Settings, /, *, random_secret: bool
) -> tuple[Settings, tuple[str, ...]]:
    """`fresh` with what can't change as it is in `running`, and the keys that ask for something else than at first.

    Args:
        running: the settings of the workers that run: with a port and an id.
        asked: the settings at the start, where port and id may have been left open.
        fresh: the settings that were read now.
        random_secret: whether `running` has a secret made for this run, as there was no `[auth]`; it is kept as long
            as there is none.

    Raises:
        SettingsError: what was read does not fit together with what is kept, or has lost its `[auth]`.
    """
    settings = fresh
    for key in FIXED:
        section, _, name = key.partition(".")
        changed = attrs.evolve(getattr(settings, section), **{name: _value(running, key)})
        settings = attrs.evolve(settings, **{section: changed})
    if fresh.auth == AuthSettings():
        if not random_secret:
            raise SettingsError(("auth: expected a section, since there was one at the start",))
        settings = attrs.evolve(settings, auth=running.auth)
    if found := problems(settings):
        raise SettingsError(tuple(map(str, found)))
    return settings, tuple(key for key in FIXED if _value(asked, key) != _value(fresh, key))


def _value(settings: Settings, key: str) -> object:
    section, _, name = key.partition(".")
    return getattr(getattr(settings, section), name)
