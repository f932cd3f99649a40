"""Which records are settled, and up to where that lets a consumer commit."""

from collections import deque

import attrs


@attrs.define(eq=False)
class OpenRecord:
    """One record that was read."""

    offset: int
    settled: bool = False


@attrs.define(eq=False)
class _Partition:
    unsettled: int = 0
    position: int = 0
    entries: deque[OpenRecord] = attrs.field(factory=deque)


@attrs.define(eq=False)
class Watermark:
    """The lowest offset not yet settled, for each partition of one topic.

    Offsets are opened in ascending order within a partition, gaps allowed (brokers keep markers of their own in the
    log), and settled in any order. Only the settled prefix counts.
    """

    _partitions: dict[int, _Partition] = attrs.field(factory=dict)

    def open(self, partition: int, offset: int, /) -> OpenRecord:
        """A record was read. Returns the token that `settle` takes."""
        state = self._partitions.get(partition)
        if state is None:
            state = self._partitions[partition] = _Partition()
        entry = OpenRecord(offset)
        state.entries.append(entry)
        state.unsettled += 1
        return entry

    def settle(self, partition: int, entry: OpenRecord, /) -> None:
        """The record is done with. Idempotent."""
        if entry.settled:
            return
        entry.settled = True
        state = self._partitions[partition]
        state.unsettled -= 1
        entries = state.entries
        while entries and entries[0].settled:
            state.position = entries.popleft().offset + 1

    def unsettled(self, partition: int, /) -> int:
        """How many records of the partition are open."""
        state = self._partitions.get(partition)
        return 0 if state is None else state.unsettled

    def positions(self) -> dict[int, int]:
        """For each partition with a settled prefix, the offset to resume from after a restart."""
        return {partition: state.position for partition, state in self._partitions.items() if state.position}
