"""Has the client left?"""

import asyncio

from starlette.types import Receive

PATIENCE_SECONDS = 0.05
"""A call that is over by then costs no listening: a task for every request would be a good part of its price."""


class Watch:
    """Cancels the task that made it when the client disconnects, until `end`. Needs asyncio, as gRPC does.

    Args:
        receive: the ASGI channel; nobody else may read it meanwhile.
        at_once: for a call that takes long; else there is `PATIENCE_SECONDS` before it begins to listen.

    Attributes:
        gone: whether the client has left, and the task was cancelled for that.
    """

    def __init__(self, receive: Receive, *, at_once: bool) -> None:
        self.gone = False
        self._receive = receive
        self._owner = asyncio.current_task()
        self._loop = asyncio.get_running_loop()
        self._listening: asyncio.Task[None] | None = None
        self._timer = self._loop.call_later(0.0 if at_once else PATIENCE_SECONDS, self._begin)

    def end(self) -> None:
        """Stop."""
        self._timer.cancel()
        if self._listening is not None:
            self._listening.cancel()

    def forgives(self) -> bool:
        """Whether a cancellation that came was the watch's own, which is then undone."""
        return self.gone and self._owner is not None and not self._owner.uncancel()

    def _begin(self) -> None:
        self._listening = self._loop.create_task(self._listen())

    async def _listen(self) -> None:
        try:
            while (await self._receive())["type"] != "http.disconnect":
                pass
        except OSError:
            pass  # some servers say it so
        self.gone = True
        if self._owner is not None:
            self._owner.cancel()
