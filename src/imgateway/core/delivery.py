"""Reads downstream records, routes them, and commits what is settled."""

import logging
from collections.abc import Callable
from functools import partial
from typing import NoReturn

import anyio
import anyio.lowlevel
import attrs

from imgateway.core.watermark import OpenRecord, Watermark
from imgateway.errors import ServiceUnavailableError
from imgateway.ports import Clock, DownstreamConsumer, DownstreamRouter, GatewayObserver

COMMIT_SECONDS = 1.0
RECOMMIT_SECONDS = 3600.0
"""After so long positions are committed again even if they are the same: brokers forget what is never renewed."""
ROUTE_SECONDS = 0.025
"""How long routing may keep the loop from writing and reading while more records are at hand: what a connection is sent
meanwhile leaves in one write, and a write costs as much as a hundred messages more in it."""
STALL_SECONDS = 1.0
"""How long a full partition waits for its oldest records before whoever holds them back is let go."""

_log = logging.getLogger(__name__)


@attrs.define(eq=False)
class DeliveryPump:
    """Takes from one consumer until cancelled.

    Guarantees: each partition's records are routed in offset order; only the settled prefix is committed; no more
    than `max_unsettled` records of a partition are open.

    Attributes:
        may_commit: whether the topic is certainly ours; asked before each commit.
        on_stall: asked, when a partition stays full, to let go of whoever holds a record back for so many seconds.
        is_hurried: whether some connection has so much to flush that it should have its turn before the next record.
    """

    consumer: DownstreamConsumer
    router: DownstreamRouter
    observer: GatewayObserver
    clock: Clock
    may_commit: Callable[[], bool]
    on_stall: Callable[[float], None]
    is_hurried: Callable[[], bool] = lambda: False
    max_unsettled: int = 10_000
    _watermark: Watermark = attrs.field(factory=Watermark)
    _committed: dict[int, int] = attrs.field(factory=dict)
    _committed_at: float = attrs.field(init=False)
    _room: anyio.Event = attrs.field(factory=anyio.Event)
    _waits_for_room: bool = False

    def __attrs_post_init__(self) -> None:
        self._committed_at = self.clock.monotonic()

    async def run(self) -> NoReturn:
        """Read and route until cancelled. The consumer must have been started.

        Raises:
            ServiceUnavailableError: as the consumer says; what is open stays uncommitted.
        """
        while True:
            records = await self.consumer.take()
            until = self.clock.monotonic() + ROUTE_SECONDS
            for record in records:
                partition = record.partition
                if self._watermark.unsettled(partition) >= self.max_unsettled:
                    await self._wait_for_room(partition)
                entry = self._watermark.open(partition, record.offset)
                self.router.route(record, partial(self._settled, partition, entry))
                if self.clock.monotonic() >= until or self.is_hurried():
                    # Sockets want to be read and written as well.
                    await anyio.lowlevel.checkpoint()
                    until = self.clock.monotonic() + ROUTE_SECONDS
            self.observer.downstream_lag(self.consumer.lag())

    async def commit(self) -> None:
        """Commit what is settled now, if it is news, or if it was not renewed for `RECOMMIT_SECONDS`.

        Raises:
            ServiceUnavailableError: as the consumer says; nothing is lost, it may be called again.
        """
        positions, now = self._watermark.positions(), self.clock.monotonic()
        is_due = positions != self._committed or now - self._committed_at >= RECOMMIT_SECONDS
        if is_due and self.may_commit():
            await self.consumer.commit(positions)
            self._committed, self._committed_at = positions, now

    def _settled(self, partition: int, entry: OpenRecord) -> None:
        self._watermark.settle(partition, entry)
        if self._waits_for_room:
            self._room.set()

    async def _wait_for_room(self, partition: int) -> None:
        self._waits_for_room = True
        while self._watermark.unsettled(partition) >= self.max_unsettled:
            self._room = anyio.Event()
            with anyio.move_on_after(STALL_SECONDS) as waiting:
                await self._room.wait()
            if waiting.cancelled_caught:
                self.on_stall(STALL_SECONDS)
        self._waits_for_room = False

    async def commit_regularly(self) -> None:
        """Commit every `COMMIT_SECONDS` until cancelled; a failed attempt is made again, and said once."""
        failing = False
        while True:
            await anyio.sleep(COMMIT_SECONDS)
            try:
                await self.commit()
                failing = False
            except ServiceUnavailableError as error:
                if not failing:
                    _log.warning("committing failed and will be tried again", extra={"why": str(error)})
                failing = True
