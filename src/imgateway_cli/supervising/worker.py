"""One worker: a gateway that takes its orders, and its doors, from the supervisor.

    python -m imgateway_cli.supervising.worker CHANNEL DOOR…

The arguments are numbers of inherited file descriptors.
"""

import logging
import os
import pickle
import signal
import socket
import sys
from collections.abc import Sequence
from functools import partial
from typing import Final

import anyio
import attrs
from starlette.routing import Route

from imgateway.adapters.starlette import application, gateway_routes
from imgateway.adapters.starlette.health import readyz
from imgateway.adapters.uvicorn import Doors, serving_by_doors
from imgateway.core.settings import Settings
from imgateway.errors import SettingsError
from imgateway_cli import logs
from imgateway_cli.deadline import end_within
from imgateway_cli.garbage import leave_out_settled
from imgateway_cli.open_files import tell_of_no_files
from imgateway_cli.serving import OVERTIME_SECONDS, client_server_config, run
from imgateway_cli.supervising.channel import Channel
from imgateway_cli.supervising.messages import Begin, Drain, Metrics, Report, Share, Standing
from imgateway_cli.wiring import Composition, compose

LOOK_SECONDS: Final = 0.1
"""How often readiness is looked at; it depends on many parts, and none tells of it."""
LAST_REQUEST_SECONDS: Final = 1.0
"""How long, before it drains, a worker lets in those who had connected but not yet asked."""

_log = logging.getLogger(__name__)


def main() -> None:
    """Run the worker that the arguments describe, and end the process with its exit code."""
    # Until there is something to drain.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    # They are meant for the supervisor, whoever sends them.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    end, *doors = (socket.socket(fileno=int(number)) for number in sys.argv[1:])
    try:
        run(partial(_work, end, doors))
    except SettingsError as error:
        for problem in error.problems:
            _log.error("a setting can't be used", extra={"problem": problem})
        sys.exit(2)


async def _work(end: socket.socket, doors: Sequence[socket.socket]) -> None:
    channel = await Channel.open(end)
    try:
        begin = await channel.receive()
        if not isinstance(begin, Begin):
            return
        settings: Settings = pickle.loads(begin.settings)  # noqa: S301  # the supervisor wrote it; see Begin
        logs.configure(settings.observability.log_format, settings.observability.log_level, worker=settings.gateway_id)
        await _serve(settings, channel, doors)
    finally:
        channel.close()


async def _serve(settings: Settings, channel: Channel, doors: Sequence[socket.socket]) -> None:
    composition = compose(settings)
    worker: Worker | None = None

    def elsewhere() -> bool:
        return worker is not None and worker.elsewhere

    gateway = composition.gateway
    routes = gateway_routes(gateway)
    app = application([Route("/readyz", readyz(gateway, elsewhere)), *routes])
    async with serving_by_doors(client_server_config(app, settings)) as open_doors, gateway:
        worker = Worker(composition, channel, open_doors, doors)
        await worker.run()


@attrs.define(eq=False)
class Worker:
    """A gateway's life between its start and its last order.

    Attributes:
        elsewhere: whether another worker is ready, as far as the supervisor said.
    """

    composition: Composition
    channel: Channel
    open_doors: Doors
    doors: Sequence[socket.socket]
    elsewhere: bool = False
    _together: bool = False
    _parting: anyio.Event = attrs.field(factory=anyio.Event)
    _told: bool | None = None
    _signalled: bool = False

    async def run(self) -> None:
        """Serve until the supervisor, its end, or SIGTERM says to drain; then drain, and return."""
        async with anyio.create_task_group() as tasks:
            await tasks.start(self._drain_on_sigterm)
            tasks.start_soon(self._tell_standing)
            tasks.start_soon(self._obey)
            tasks.start_soon(leave_out_settled, lambda: len(self.composition.gateway.connections))
            tasks.start_soon(tell_of_no_files)
            await self._parting.wait()
            await self._part()
            tasks.cancel_scope.cancel()

    async def _part(self) -> None:
        self._tell()
        end_within(LAST_REQUEST_SECONDS + self.composition.gateway.settings.gateway.drain_seconds + OVERTIME_SECONDS)
        if self.elsewhere and not self._together:
            await self.open_doors.open(())
            await anyio.sleep(LAST_REQUEST_SECONDS)
        await self.composition.gateway.drain()

    async def _tell_standing(self) -> None:
        while True:
            self._tell()
            await anyio.sleep(LOOK_SECONDS)

    def _tell(self) -> None:
        ready = self.composition.gateway.ready and not self._parting.is_set()
        if ready != self._told:
            self._told = ready
            self.channel.send(Standing(ready))

    async def _obey(self) -> None:
        while (message := await self.channel.receive()) is not None:
            if isinstance(message, Share):
                await self._take(message)
            elif isinstance(message, Report):
                self.channel.send(Metrics(self.composition.observer.render()[0]))
            elif isinstance(message, Drain):
                self._together = self._together or message.together
                self._parting.set()
        await self._be_orphaned()

    async def _take(self, share: Share) -> None:
        self.elsewhere = share.elsewhere
        leaving = self._parting.is_set() and self.elsewhere and not self._together
        try:
            await self.open_doors.open(() if leaving else [self.doors[number] for number in share.doors])
        except OSError as error:
            # Out of files, most likely. Whoever waits at that door is worth less than all who are connected here.
            _log.error("a door can't be opened", extra={"why": error.strerror})

    async def _be_orphaned(self) -> None:
        """The supervisor has died. The port becomes free at once, for its successor."""
        _log.error("the supervisor has gone; draining")
        self.elsewhere, self._together = False, True
        await self.open_doors.open(())
        for door in self.doors:
            door.close()
        self._parting.set()

    async def _drain_on_sigterm(self, *, task_status: anyio.abc.TaskStatus[None]) -> None:
        with anyio.open_signal_receiver(signal.SIGTERM) as signals:
            task_status.started()
            async for _ in signals:
                if self._signalled:
                    os._exit(1)
                self._signalled = True
                self._parting.set()


if __name__ == "__main__":
    main()
