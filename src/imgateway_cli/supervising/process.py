"""A worker's process, as the supervisor sees it."""

import logging
import pickle
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Final

import anyio
import anyio.abc
import attrs

from imgateway.core.settings import Settings
from imgateway_cli.supervising.channel import Channel
from imgateway_cli.supervising.messages import Begin, Drain, Message, Metrics, Report, Share, Standing
from imgateway_cli.supervising.sharing import Place

METRICS_SECONDS: Final = 2.0
"""How long a worker may take to say its metrics."""
PARTING_SECONDS: Final = 5.0
"""How long beyond `drain_seconds` a worker may take to end before it is killed: its sockets have to close."""
SILENT_SECONDS: Final = 5.0
"""How long a worker may live on after it hung up."""

_log = logging.getLogger(__name__)

_PROGRAM: Final = (sys.executable, "-P", "-m", "imgateway_cli.supervising.worker")


@attrs.define(eq=False)
class _Answer:
    text: bytes | None = None
    there: anyio.Event = attrs.field(factory=anyio.Event)


@attrs.define(eq=False)
class WorkerProcess:
    """One process: a fresh interpreter that inherits the doors and its end of a channel, and nothing else.

    It is in a session of its own: signals to the terminal or to the supervisor's process group don't reach it.

    Attributes:
        settings: its settings.
        on_change: called when `place` has changed.
        place: how things stand with it.
        settled: set when it was ready for the first time, or has ended.
        ended: whether it has ended.
    """

    settings: Settings
    doors: Sequence[socket.socket]
    on_change: Callable[[], None]
    place: Place = Place.EMPTY
    settled: anyio.Event = attrs.field(factory=anyio.Event)
    ended: bool = False
    _channel: Channel | None = None
    _process: anyio.abc.Process | None = None
    _drain: Drain | None = None
    _draining: anyio.Event = attrs.field(factory=anyio.Event)
    _asked: _Answer | None = None

    async def run(self) -> int:
        """Start it, and return its exit status when it has ended; it is killed where this is cancelled.

        Raises:
            OSError: the system would not start a process.
        """
        try:
            ours, theirs = socket.socketpair()
        except OSError:
            self._over()
            raise
        try:
            with theirs:
                inherited = (theirs.fileno(), *(door.fileno() for door in self.doors))
                self._process = process = await anyio.open_process(
                    [*_PROGRAM, *map(str, inherited)],
                    stdin=subprocess.DEVNULL,
                    stdout=None,
                    stderr=None,
                    start_new_session=True,
                    pass_fds=inherited,
                )
            _log.info("a worker starts", extra={"worker": self.settings.gateway_id, "pid": process.pid})
            try:
                self._channel = channel = await Channel.open(ours)
                channel.send(Begin(pickle.dumps(self.settings)))
                if self._drain is not None:
                    channel.send(self._drain)
                return await self._until_ended(process, channel)
            finally:
                await _end(process)
        finally:
            self._over()
            if self._channel is None:
                ours.close()

    def share(self, doors: tuple[int, ...], *, elsewhere: bool) -> None:
        """Say which doors are its own; see `Share`."""
        self._send(Share(doors, elsewhere))

    def drain(self, *, together: bool = False) -> None:
        """Let it drain and end; it is killed where it takes too long. Idempotent."""
        if self._drain is None or (together and not self._drain.together):
            self._drain = Drain(together)
            self._send(self._drain)
        self._draining.set()

    def kill(self) -> None:
        """End it at once."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()

    async def metrics(self) -> bytes | None:
        """Its metrics; None where it does not say them within `METRICS_SECONDS`."""
        if self.place is Place.EMPTY:
            return None
        if self._asked is None:
            # One question is open at a time, however often it is asked: a worker that is stuck is not buried in them.
            self._asked = _Answer()
            self._send(Report())
        asked = self._asked
        with anyio.move_on_after(METRICS_SECONDS):
            await asked.there.wait()
        return asked.text

    def _send(self, message: Message) -> None:
        if self._channel is not None:
            self._channel.send(message)

    async def _until_ended(self, process: anyio.abc.Process, channel: Channel) -> int:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._listen, channel)
            tasks.start_soon(self._kill_when_late)
            status = await process.wait()
            tasks.cancel_scope.cancel()
        return status

    async def _listen(self, channel: Channel) -> None:
        while (message := await channel.receive()) is not None:
            if isinstance(message, Standing):
                self.place = Place.READY if message.ready else Place.SERVING
                if message.ready:
                    self.settled.set()
                self.on_change()
            elif isinstance(message, Metrics):
                self._answer(message.text)
        self._stop_serving()
        await anyio.sleep(SILENT_SECONDS)
        self.kill()

    async def _kill_when_late(self) -> None:
        await self._draining.wait()
        await anyio.sleep(self.settings.gateway.drain_seconds + PARTING_SECONDS)
        self.kill()

    def _answer(self, text: bytes | None) -> None:
        asked, self._asked = self._asked, None
        if asked is not None:
            asked.text = text
            asked.there.set()

    def _stop_serving(self) -> None:
        self._answer(None)
        if self.place is not Place.EMPTY:
            self.place = Place.EMPTY
            self.on_change()

    def _over(self) -> None:
        if self._channel is not None:
            self._channel.close()
        self.ended = True
        self._stop_serving()
        self.settled.set()


async def _end(process: anyio.abc.Process) -> None:
    """Kill it where it still runs, and wait: SIGKILL can't be refused, and nothing of it must be left."""
    with anyio.CancelScope(shield=True):
        if process.returncode is None:
            process.kill()
        await process.wait()
