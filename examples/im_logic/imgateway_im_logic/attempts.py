"""How often a password may be guessed."""

from collections import OrderedDict

import attrs
import grpc

from imgateway.ports import Clock
from imgateway_im_logic.refusals import RefusedError

BURST = 5
SECONDS_EACH = 30
MAX_NAMES = 10_000


@attrs.define(eq=False)
class LoginAttempts:
    """A token bucket for each name: `BURST` failures, then one more every `SECONDS_EACH`."""

    clock: Clock
    _used: OrderedDict[str, tuple[float, int]] = attrs.field(factory=OrderedDict)

    def begin(self, name: str, /) -> None:
        """Count an attempt, as failed until `succeeded`.

        Raises:
            RefusedError: there were too many; it says when the next is allowed.
        """
        now = self.clock.now()
        used, since = self._used.pop(name, (0.0, now))
        used = max(0.0, used - (now - since) / 1000 / SECONDS_EACH)
        refused = used > BURST - 1
        self._used[name] = (used if refused else used + 1, now)
        if len(self._used) > MAX_NAMES:
            self._used.popitem(last=False)
        if refused:
            raise RefusedError(
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                "There were too many attempts to sign in with this name.",
                retry_after=(used - (BURST - 1)) * SECONDS_EACH,
            )

    def succeeded(self, name: str, /) -> None:
        """Whoever knows the password starts anew."""
        self._used.pop(name, None)
