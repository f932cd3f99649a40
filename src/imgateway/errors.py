"""Exceptions. Outcomes that are expected at run time are values (`Refusal`, `SendOutcome`), not these."""

from collections.abc import Sequence


class GatewayError(Exception):
    """The root of every exception raised on purpose by imgateway."""


class SettingsError(GatewayError):
    """One or more settings are wrong.

    Attributes:
        problems: one line for each wrong key: the key, what was expected and, for an unknown key, the nearest name.
    """

    def __init__(self, problems: Sequence[str], /) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


class RecordError(GatewayError):
    """A downstream record can't be parsed; the message says what is wrong, never what it contained."""


class LifecycleError(GatewayError):
    """A part was used before it was started or after it was closed: a mistake of the program, not of a client."""


class ServiceUnavailableError(GatewayError):
    """A service that the gateway stands on (broker, session store, key set) did not answer usefully."""


class FencedError(ServiceUnavailableError):
    """Another process reads in this gateway's name, and what this one would commit no longer counts."""
