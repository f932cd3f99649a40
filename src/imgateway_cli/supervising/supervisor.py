"""The process above the workers: keeps them running, deals out the doors, replaces them, and parts from them."""

import logging
import signal
import socket
from collections.abc import Callable, Sequence
from functools import partial

import anyio
import attrs

from imgateway.adapters.prometheus import WorkersObserver
from imgateway.core.settings import AuthSettings, Settings
from imgateway.errors import SettingsError
from imgateway_cli.supervising.reloading import renewed
from imgateway_cli.supervising.sharing import Place, shares
from imgateway_cli.supervising.slot import Slot

_log = logging.getLogger(__name__)


class Supervisor:
    """Runs the workers of `settings`, one for each door.

    SIGTERM and SIGINT drain all workers, a second one kills them; SIGHUP replaces them one by one.

    Args:
        settings: with the port that the doors are bound to, and an id.
        asked: the settings as they were read.
        read_again: reads the settings anew; raises SettingsError.
        random_secret: whether the secret was made for this run.
    """

    def __init__(
        self,
        settings: Settings,
        asked: Settings,
        doors: Sequence[socket.socket],
        read_again: Callable[[], Settings],
        *,
        random_secret: bool = False,
    ) -> None:
        self._settings = settings
        self._asked = asked
        self._read_again = read_again
        self._random_secret = random_secret
        self._observer = WorkersObserver(*settings.gateway_ids)
        self._slots = [
            Slot(
                worker_id,
                _of_worker(settings, worker_id),
                doors,
                self._share,
                partial(self._observer.restarted, worker_id),
            )
            for worker_id in settings.gateway_ids
        ]
        self._parting = False
        self._killed = False
        self._reload = anyio.Event()
        self._rolling = anyio.CancelScope()

    async def run(self) -> bool:
        """Run until all workers have ended after a signal; whether each of them drained and ended well."""
        async with anyio.create_task_group() as around:
            await around.start(self._obey_signals)
            around.start_soon(self._reload_when_asked)
            async with anyio.create_task_group() as workers:
                for slot in self._slots:
                    workers.start_soon(slot.run)
            around.cancel_scope.cancel()
        return not self._killed and not any(slot.failed for slot in self._slots)

    async def metrics(self) -> tuple[bytes, str]:
        """The metrics of all workers in Prometheus' text format, and its media type."""
        texts: dict[str, bytes | None] = {}

        async def ask(slot: Slot) -> None:
            texts[slot.worker_id] = await slot.metrics()

        async with anyio.create_task_group() as tasks:
            for slot in self._slots:
                tasks.start_soon(ask, slot)
        return self._observer.render({str(slot.worker_id): texts[slot.worker_id] for slot in self._slots})

    def _share(self) -> None:
        places = [slot.place for slot in self._slots]
        for number, (slot, doors) in enumerate(zip(self._slots, shares(places), strict=True)):
            others = places[:number] + places[number + 1 :]
            slot.share(doors, elsewhere=Place.READY in others)
            self._observer.ready(slot.worker_id, slot.place is Place.READY)

    async def _obey_signals(self, *, task_status: anyio.abc.TaskStatus[None]) -> None:
        with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
            task_status.started()
            async for number in signals:
                if number == signal.SIGHUP:
                    self._reload.set()
                elif self._parting:
                    self._kill()
                else:
                    self._part()

    def _part(self) -> None:
        _log.info("draining all workers")
        self._parting = True
        self._rolling.cancel()
        for slot in self._slots:
            slot.part()

    def _kill(self) -> None:
        self._killed = True
        for slot in self._slots:
            slot.kill()

    async def _reload_when_asked(self) -> None:
        with self._rolling:
            while True:
                await self._reload.wait()
                # Whoever asks from here on asks for another time, which begins when this one is over.
                self._reload = anyio.Event()
                await self._replace_all()

    async def _replace_all(self) -> None:
        try:
            fresh = await anyio.to_thread.run_sync(self._read_again)
            settings, kept = renewed(self._settings, self._asked, fresh, random_secret=self._random_secret)
        except SettingsError as error:
            for problem in error.problems:
                _log.error("a setting can't be used; the workers stay as they are", extra={"problem": problem})
            return
        except Exception:  # nothing that is read shall end the workers that run
            _log.exception("the settings can't be read; the workers stay as they are")
            return
        for key in kept:
            _log.warning("a setting can't change without a restart; its old value is kept", extra={"key": key})
        _log.info("replacing the workers")
        for slot in self._slots:
            if not await slot.replace(_of_worker(settings, slot.worker_id)):
                _log.error("the new worker ended; the others stay as they are", extra={"worker": slot.worker_id})
                return
            _log.info("a worker is replaced", extra={"worker": slot.worker_id})
        self._settings = settings
        self._random_secret = self._random_secret and fresh.auth == AuthSettings()
        _log.info("all workers are replaced")


def _of_worker(settings: Settings, worker_id: str) -> Settings:
    """What one worker runs with: its own id, and nobody beside it."""
    return attrs.evolve(
        settings,
        server=attrs.evolve(settings.server, workers=1),
        gateway=attrs.evolve(settings.gateway, id=worker_id),
    )
