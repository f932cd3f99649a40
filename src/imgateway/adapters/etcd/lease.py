"""A lease: what is bound to it lives no longer than the process that keeps it alive."""

import logging
import math
import secrets
import time
from typing import Any, Final

import anyio
import attrs

from imgateway.adapters.etcd.errors import EtcdError, GrpcCode, not_understood
from imgateway.adapters.etcd.transport import ATTEMPT_SECONDS, EtcdTransport

MARGIN: Final = 0.1
"""So much of a lease is not relied on: what was begun while it was certain is to be over when it ends."""
REVOKE_SECONDS: Final = 2.0
OVERTAKEN_PAUSES: Final = (0.05, 0.1, 0.2)
"""A grant that was cut off may reach etcd after what revokes it: then that is sent again after these."""

_log = logging.getLogger(__name__)
_CLOCK: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""Goes on while the machine sleeps, where there is such a clock."""


@attrs.define(eq=False)
class Lease:
    """One lease of etcd, by an id chosen here: an answer that was lost leaves nothing that can't be named.

    Attributes:
        seconds: how long it lives without being kept alive; etcd takes whole seconds, and not fewer than about two.
    """

    _transport: EtcdTransport
    seconds: float
    id: int = attrs.field(factory=lambda: secrets.randbelow(2**62) + 1, init=False)
    _certain_until: float = attrs.field(default=-math.inf, init=False)
    _heard: float = attrs.field(default=-math.inf, init=False)

    @property
    def interval(self) -> float:
        """Seconds between two signs of life."""
        return self.seconds / 3

    @property
    def due(self) -> bool:
        """Whether it is time for a sign of life."""
        return time.clock_gettime(_CLOCK) >= self._heard + self.interval

    @property
    def certain_seconds(self) -> float:
        """For how long it is certainly alive, by our own clock; not above 0 where that is over.

        Counted from before the request that prolonged it last was sent. A certainty that is over never comes back.
        """
        return self._certain_until - time.clock_gettime(_CLOCK)

    async def grant(self) -> None:
        """Let it begin.

        Raises:
            EtcdError: it is not known whether it has.
        """
        sent = time.clock_gettime(_CLOCK)
        request = {"ID": str(self.id), "TTL": str(math.ceil(self.seconds))}
        try:
            seconds = _ttl(await self._transport.call("/lease/grant", request))
        except EtcdError as failure:
            if failure.code != GrpcCode.FAILED_PRECONDITION:
                raise
            # It exists already: the answer to a first try was lost.
            seconds = self.seconds
        self._heard = sent
        self._certain_until = sent + seconds * (1 - MARGIN)

    async def keep_alive(self) -> bool:
        """Prolong it; False if etcd doesn't know it any more.

        Raises:
            EtcdError: not known whether it was prolonged.
        """
        sent = time.clock_gettime(_CLOCK)
        within = min(ATTEMPT_SECONDS, self.seconds / 4)
        answer = await self._transport.call("/lease/keepalive", {"ID": str(self.id)}, seconds=within)
        seconds = _ttl(answer.get("result", answer))
        if seconds <= 0:
            return False
        self._heard = sent
        if self.certain_seconds > 0:
            self._certain_until = sent + seconds * (1 - MARGIN)
        return True

    async def revoke(self) -> None:
        """End it, and delete the keys that are bound to it still; those that others have overwritten stay.

        Takes at most `REVOKE_SECONDS`, is not cut short by cancellation, and never fails: where etcd can't be
        reached, the lease ends by itself.
        """
        self._certain_until = -math.inf
        why = "no answer in time"
        with anyio.move_on_after(REVOKE_SECONDS, shield=True):
            try:
                for pause in OVERTAKEN_PAUSES:
                    if await self._revoke() or self._heard != -math.inf:
                        return
                    await anyio.sleep(pause)
                await self._revoke()
                return
            except EtcdError as failure:
                why = str(failure)
        _log.warning("a lease could not be revoked, it ends by itself", extra={"seconds": self.seconds, "why": why})

    async def _revoke(self) -> bool:
        """Whether etcd knew it."""
        try:
            await self._transport.call("/lease/revoke", {"ID": str(self.id)})
        except EtcdError as failure:
            if failure.code != GrpcCode.NOT_FOUND:
                raise
            return False
        return True


def _ttl(answer: Any) -> float:
    try:
        return int(answer.get("TTL") or 0)
    except (AttributeError, TypeError, ValueError):
        raise not_understood() from None
