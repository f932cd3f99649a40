"""Parts that other packages bring: found by the entry points they declare, loaded by name.

A plugin is a name in the group of what it replaces. It refers to a callable that takes the settings of that part and
returns the part, for example in the plugin's `pyproject.toml`:

    [project.entry-points."imgateway.authenticators"]
    session-cookie = "my_package:SessionCookieAuthenticator.from_settings"
"""

from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Any, Final

from imgateway.core.settings import AuthSettings
from imgateway.errors import SettingsError
from imgateway.ports import Authenticator

AUTHENTICATORS: Final = "imgateway.authenticators"
"""The group of authenticators: callables that take `AuthSettings`."""


def installed(group: str, /) -> tuple[str, ...]:
    """The names in a group, sorted. Loads nothing."""
    return tuple(sorted({point.name for point in entry_points(group=group)}))


def load(group: str, name: str, /) -> Callable[..., Any]:
    """What the plugin `name` of `group` refers to. Imports the plugin's package.

    Raises:
        SettingsError: there is no such plugin, several packages declare it, or it can't be imported.
    """
    points = {point.value: point for point in entry_points(group=group, name=name)}
    if not points:
        names = ", ".join(installed(group)) or "none"
        raise SettingsError([f"no plugin {name!r} is installed in {group!r}; installed: {names}"])
    if len(points) > 1:
        raise SettingsError([f"several packages declare a plugin {name!r} in {group!r}: {', '.join(sorted(points))}"])
    [point] = points.values()
    try:
        factory = point.load()
    except Exception as error:  # a foreign module may fail in any way while it is imported
        raise SettingsError(
            [f"plugin {name!r} ({point.value}) can't be loaded: {type(error).__name__}: {error}"]
        ) from error
    if not callable(factory):
        raise SettingsError([f"plugin {name!r} ({point.value}) is not callable"])
    return factory  # type: ignore[no-any-return]  # what a plugin returns is checked by who calls it


def load_authenticator(auth: AuthSettings, /) -> Authenticator:
    """The authenticator that `auth.plugin` names, made from these settings.

    Raises:
        SettingsError: the plugin can't be loaded, does not accept the settings, or returns something else.
    """
    try:
        factory = load(AUTHENTICATORS, auth.plugin)
    except SettingsError as error:
        raise SettingsError([f"auth.plugin: {problem}" for problem in error.problems]) from error
    try:
        authenticator = factory(auth)
    except SettingsError:
        raise
    except Exception as error:
        # The text is left to the cause: the plugin was given the secret, and may have put it there.
        raise SettingsError([f"auth.plugin: {auth.plugin!r} failed to start: {type(error).__name__}"]) from error
    if not all(callable(getattr(authenticator, name, None)) for name in ("authenticate", "aclose")):
        raise SettingsError([f"auth.plugin: {auth.plugin!r} returned no authenticator"])
    return authenticator  # type: ignore[no-any-return]  # checked above as far as it can be
