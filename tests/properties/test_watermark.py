"""The watermark against a naive account: offsets with gaps, settled in any order, over several partitions."""

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from imgateway.core.watermark import OpenRecord, Watermark

PARTITIONS = 3


class WatermarkMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.watermark = Watermark()
        self.next_offset = [0] * PARTITIONS
        self.read: list[list[tuple[int, OpenRecord]]] = [[] for _ in range(PARTITIONS)]
        self.settled: set[tuple[int, int]] = set()

    @rule(partition=st.integers(0, PARTITIONS - 1), gap=st.integers(0, 3))
    def open(self, partition: int, gap: int) -> None:
        offset = self.next_offset[partition] + gap
        self.next_offset[partition] = offset + 1
        self.read[partition].append((offset, self.watermark.open(partition, offset)))

    @precondition(lambda self: any(self.read))
    @rule(data=st.data())
    def settle(self, data: st.DataObject) -> None:
        partition = data.draw(st.sampled_from([p for p in range(PARTITIONS) if self.read[p]]))
        # Old ones as well: settling twice changes nothing.
        offset, record = data.draw(st.sampled_from(self.read[partition]))
        self.watermark.settle(partition, record)
        self.settled.add((partition, offset))

    @rule(partition=st.integers(0, PARTITIONS - 1))
    def settle_all(self, partition: int) -> None:
        for offset, record in self.read[partition]:
            self.watermark.settle(partition, record)
            self.settled.add((partition, offset))

    @invariant()
    def only_the_settled_prefix_counts(self) -> None:
        expected = {}
        for partition, records in enumerate(self.read):
            for offset, _ in records:
                if (partition, offset) not in self.settled:
                    break
                expected[partition] = offset + 1
        assert self.watermark.positions() == expected

    @invariant()
    def counts_what_is_open(self) -> None:
        for partition, records in enumerate(self.read):
            open_ = [offset for offset, _ in records if (partition, offset) not in self.settled]
            assert self.watermark.unsettled(partition) == len(open_)
        assert self.watermark.unsettled(PARTITIONS) == 0


TestWatermark = WatermarkMachine.TestCase
