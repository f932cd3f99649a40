"""When a connection is pinged, when it counts as dead, and when it is not read from."""

import random
from enum import Enum, Flag, auto

import attrs

from imgateway.core.settings import ConnectionSettings

JITTER = 0.1
"""Pings come up to so much of the interval early, so that a crowd that connected together drifts apart."""


class Hold(Flag):
    """Why a connection is not read from."""

    NOTHING = 0
    OPENING = auto()
    WINDOW = auto()
    """The client has as many unacknowledged messages as it may."""
    INTAKE = auto()
    """The gateway as a whole has."""
    REFRESH = auto()
    """A new token is being checked."""


class Verdict(Enum):
    """What is due."""

    NOTHING = auto()
    PING = auto()
    DEAD = auto()


@attrs.define(eq=False)
class Pulse:
    """Times of one connection, in the heartbeat wheel's seconds. Deadlines stand still while the connection is held.

    Attributes:
        holds: why it is not read from.
        held_seconds: how long it was held in all since its token was verified.
        next_ping: when it is pinged next.
    """

    holds: Hold = Hold.NOTHING
    held_seconds: float = 0.0
    next_ping: float = 0.0
    _held_since: float = 0.0
    _pong_due: float | None = None

    def hold(self, why: Hold, now: float, /) -> bool:
        """Whether this is the first hold: reading has to stop."""
        first = not self.holds
        if first:
            self._held_since = now
        self.holds |= why
        return first

    def release(self, why: Hold, now: float, /) -> bool:
        """Whether this was the last hold: reading goes on."""
        if not self.holds & why:
            return False
        self.holds &= ~why
        if self.holds:
            return False
        held = now - self._held_since
        self.held_seconds += held
        if self._pong_due is not None:
            self._pong_due += held
        return True

    def begin(self, now: float, limits: ConnectionSettings, /) -> None:
        """The connection is open: it is pinged first at a random moment of the interval's second half."""
        self.next_ping = now + limits.ping_interval_seconds * random.uniform(0.5, 1.0)

    def heard(self) -> None:
        """A frame arrived."""
        self._pong_due = None

    def check(self, now: float, limits: ConnectionSettings, *, pings: bool) -> Verdict:
        """What is due; `pings` says whether the transport can ping. Not to be asked while held."""
        if self._pong_due is not None and now >= self._pong_due:
            return Verdict.DEAD
        if now < self.next_ping:
            return Verdict.NOTHING
        self.next_ping = now + limits.ping_interval_seconds * random.uniform(1 - JITTER, 1.0)
        if not pings:
            return Verdict.NOTHING
        if self._pong_due is None:
            self._pong_due = now + limits.pong_timeout_seconds
        return Verdict.PING

    @property
    def next_check(self) -> float:
        """When to ask again."""
        return self.next_ping if self._pong_due is None else min(self.next_ping, self._pong_due)


@attrs.define(eq=False)
class ControlBudget:
    """A token bucket for what costs a client nothing: pings of both kinds and token refreshes."""

    BURST = 50
    PER_SECOND = 10

    _left: float = BURST
    _counted_at: float = 0.0

    def spend(self, now: float, /) -> bool:
        """Whether one more is affordable at `now` (monotonic seconds); if so it is spent."""
        self._left = min(self.BURST, self._left + (now - self._counted_at) * self.PER_SECOND)
        self._counted_at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True
