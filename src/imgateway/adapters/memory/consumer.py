"""Reading from the memory broker."""

from collections.abc import Mapping, Sequence

import anyio.lowlevel
import attrs

from imgateway.adapters.memory.broker import MemoryBroker
from imgateway.errors import LifecycleError
from imgateway.model import ConsumedRecord


@attrs.define(eq=False)
class MemoryConsumer:
    """Implements `ports.DownstreamConsumer`: one topic, all partitions, one group's positions.

    Records that stood in the topic when reading started are marked `redelivered`: an earlier reader of the group may
    have handed them out without committing them.

    Attributes:
        broker: where records come from.
        topic: what is read; made by `start` if it does not exist.
        group: whose committed positions count.
        partitions: how many the topic gets if `start` makes it; None: as many as the broker gives.
        max_records: how many `take` gives at most.
    """

    broker: MemoryBroker
    topic: str
    group: str
    partitions: int | None = None
    max_records: int = 500
    _positions: list[int] = attrs.field(factory=list, init=False)
    _fresh_from: list[int] = attrs.field(factory=list, init=False)
    _turn: int = attrs.field(default=0, init=False)

    async def start(self) -> None:
        """Make the topic exist and find where to start: the committed position if still valid, else the oldest."""
        await anyio.lowlevel.checkpoint()
        self.broker.create_topic(self.topic, self.partitions)
        committed = self.broker.committed(self.group, self.topic)
        bounds = self.broker.bounds(self.topic)
        self._positions = [
            position if base <= (position := committed.get(partition, base)) <= end else base
            for partition, (base, end) in enumerate(bounds)
        ]
        self._fresh_from = [end for _, end in bounds]

    async def take(self) -> Sequence[ConsumedRecord]:
        """The next records, at most `max_records`; partitions take turns in coming first.

        Raises:
            LifecycleError: not started, or closed.
        """
        while True:
            # Before anything is handed out, so that cancelling here loses nothing.
            await anyio.lowlevel.checkpoint()
            if not self._positions:
                raise LifecycleError("the consumer is not started")
            records = self._collect()
            if records:
                return records
            await self.broker.appended(self.topic)

    async def commit(self, positions: Mapping[int, int], /) -> None:
        """Keep the positions for the group's next reader."""
        await anyio.lowlevel.checkpoint()
        self.broker.commit(self.group, self.topic, positions)

    def lag(self) -> int:
        """Records written but not yet handed out."""
        if not self._positions:
            return 0
        bounds = self.broker.bounds(self.topic)
        return sum(end - max(base, position) for position, (base, end) in zip(self._positions, bounds, strict=True))

    async def aclose(self) -> None:
        """Stop reading. Idempotent."""
        self._positions = []

    def _collect(self) -> list[ConsumedRecord]:
        records: list[ConsumedRecord] = []
        count = len(self._positions)
        for step in range(count):
            partition = (self._turn + step) % count
            batch = self.broker.read(self.topic, partition, self._positions[partition], self.max_records - len(records))
            if batch:
                self._positions[partition] = batch[-1].offset + 1
                fresh_from = self._fresh_from[partition]
                records += [r if r.offset >= fresh_from else attrs.evolve(r, redelivered=True) for r in batch]
        self._turn += 1
        return records
