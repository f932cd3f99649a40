"""Open files: each connection is one, and where none are left the system hangs up on clients without a word."""

import errno
import logging
import os
import resource
from typing import Final, NoReturn

import anyio

FEW_FILES: Final = 4096
"""With fewer it is worth a note even where the connections are not limited."""
SPARE_FILES: Final = 64
"""For everything that is no connection of a client."""
LOOK_SECONDS: Final = 1.0
SILENCE_SECONDS: Final = 60.0
"""So long it is not said again."""

_log = logging.getLogger(__name__)


def allow_many_files() -> None:
    """Raise the soft limit on open files to the hard one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def note_few_files(max_total: int | None) -> None:
    """Log it where the hard limit on open files is met before `connections.max_total`, or is very low without one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FEW_FILES if max_total is None else max_total + SPARE_FILES
    if hard != resource.RLIM_INFINITY and hard < wanted:
        _log.warning(
            "the limit on open files (ulimit -Hn) is low for so many connections",
            extra={"open_files": hard, "max_total": "none" if max_total is None else max_total},
        )


async def tell_of_no_files() -> NoReturn:
    """Look regularly whether a file can still be opened, and log it where none can; until cancelled.

    Whoever connects then is hung up on by the event loop, which tells nobody.
    """
    silent_until = 0.0
    while True:
        await anyio.sleep(LOOK_SECONDS)
        if _none_left() and anyio.current_time() >= silent_until:
            soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
            _log.warning("no more files can be opened: clients that connect are hung up on", extra={"open_files": soft})
            silent_until = anyio.current_time() + SILENCE_SECONDS


def _none_left() -> bool:
    try:
        os.close(os.open(os.devnull, os.O_RDONLY))
    except OSError as error:
        return error.errno in {errno.EMFILE, errno.ENFILE}
    return False
