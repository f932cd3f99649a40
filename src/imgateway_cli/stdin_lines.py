"""Lines from standard input without blocking the event loop, be it a terminal, a pipe or a file."""

import asyncio
import codecs
import os
import threading
from collections.abc import AsyncIterator
from concurrent.futures import CancelledError
from typing import Final

_MAX_LINE_CHARS: Final = 1 << 20
_MAX_WAITING: Final = 100


async def stdin_lines(descriptor: int = 0) -> AsyncIterator[str]:
    """Each line without its end, until the input ends; bytes that are not UTF-8 become U+FFFD.

    A daemon thread reads, because a blocking read of a terminal can't be cancelled: the thread is left behind when
    the iteration is given up, and it reads at most 100 lines ahead. A line longer than 1 MiB comes in pieces.
    """
    waiting: asyncio.Queue[str | None] = asyncio.Queue(_MAX_WAITING)
    loop = asyncio.get_running_loop()

    def hand_over(line: str | None) -> None:
        putting = waiting.put(line)
        try:
            asyncio.run_coroutine_threadsafe(putting, loop).result()
        finally:
            putting.close()

    def read() -> None:
        # `os.read`, not `sys.stdin`: a thread that dies inside the latter holds a lock the interpreter needs to exit.
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        rest = ""
        try:
            while chunk := os.read(descriptor, 65536):
                *lines, rest = (rest + decoder.decode(chunk)).split("\n")
                for line in lines:
                    hand_over(line.removesuffix("\r"))
                if len(rest) > _MAX_LINE_CHARS:
                    hand_over(rest)
                    rest = ""
            rest += decoder.decode(b"", final=True)
            if rest:
                hand_over(rest)
            hand_over(None)
        except (CancelledError, RuntimeError):
            return  # the loop is gone, and with it whoever was interested
        except OSError:
            hand_over(None)

    threading.Thread(target=read, name="stdin", daemon=True).start()
    while (line := await waiting.get()) is not None:
        yield line
