"""The time after which a process ends, whatever still keeps it."""

import logging
import os
import threading

SAY_SECONDS = 0.5

_log = logging.getLogger(__name__)


def end_within(seconds: float, /) -> None:
    """End the process after so long with exit code 0, unless it has ended by then. Returns at once.

    It is the last resort behind everything that is bounded in time already: of several services that hang, each costs
    its own while. Nothing is lost by it: what was never acknowledged nobody was told to be accepted, and records whose
    positions were not committed are read again.
    """
    threading.Thread(target=_end, args=(seconds,), name="deadline", daemon=True).start()


def _end(seconds: float) -> None:
    # A thread's own clock: the event loop may be what hangs.
    threading.Event().wait(seconds)
    # By another thread: whoever hangs may hold the log's lock.
    saying = threading.Thread(target=_say, args=(seconds,), daemon=True)
    saying.start()
    saying.join(SAY_SECONDS)
    os._exit(0)


def _say(seconds: float) -> None:
    _log.warning("not everything could be closed in time; ending all the same", extra={"seconds": seconds})
