"""The outbox against a list: order, capacity, and when a record counts as handed over."""

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from imgateway.core.outbox import Outbox
from imgateway.model import Undelivered, UserId
from imgateway.wire.frames import Frame, text_frame

frames = st.integers(0, 200).map(lambda size: text_frame(b"x" * size))


class Named:
    """A settlement that nobody calls: the outbox only keeps it."""

    def handed_over(self, user_id: UserId, /) -> None:
        raise AssertionError("the outbox does not report by itself")

    def missed(self, user_id: UserId, reason: Undelivered, /) -> None:
        raise AssertionError("the outbox does not report by itself")


class OutboxMachine(RuleBasedStateMachine):
    """Frames move from `waiting` to the `socket`, whose bytes the kernel takes from the front."""

    @initialize(capacity=st.integers(50, 500), early=st.lists(frames, max_size=3), welcome=frames)
    def live(self, capacity: int, early: list[Frame], welcome: Frame) -> None:
        self.begin(capacity)
        for frame in early:
            self.offer(frame, True)
        self.put_first(welcome)

    def begin(self, capacity: int) -> None:
        self.capacity = capacity
        self.outbox = Outbox(capacity)
        self.waiting: list[tuple[Frame, Named | None]] = []
        self.socket: list[tuple[int, Named | None]] = []
        self.reached: list[Named] = []
        self.times: dict[Named, float] = {}
        self.taken_out = False

    @property
    def buffered(self) -> int:
        return sum(size for size, _ in self.socket)

    @property
    def pending(self) -> int:
        return sum(frame.size for frame, _ in self.waiting)

    @property
    def open(self) -> list[Named]:
        """Those that were not handed over, oldest first."""
        under_way = [*(named for _, named in self.socket), *(named for _, named in self.waiting)]
        return self.reached + [named for named in under_way if named is not None]

    @rule(frame=frames, with_settlement=st.booleans())
    def offer(self, frame: Frame, with_settlement: bool) -> None:
        named = Named() if with_settlement else None
        fits = self.pending + self.buffered + frame.size <= self.capacity
        alone = self.pending + self.buffered == 0
        assert self.outbox.offer(frame, self.buffered, named) == (fits or alone)
        if fits or alone:
            self.waiting.append((frame, named))

    @precondition(lambda self: not self.taken_out)
    @rule(frame=frames)
    def put_first(self, frame: Frame) -> None:
        self.outbox.put_first(frame)
        self.waiting.insert(0, (frame, None))

    @precondition(lambda self: self.waiting)
    @rule(now=st.floats(0, 10))
    def take(self, now: float) -> None:
        assert self.outbox.take(now) == [frame for frame, _ in self.waiting]
        self.times.update((named, now) for _, named in self.waiting if named is not None)
        self.socket += [(frame.size, named) for frame, named in self.waiting]
        self.waiting = []
        self.taken_out = True

    @precondition(lambda self: self.socket)
    @rule(share=st.floats(0, 1) | st.just(1.0))
    def the_kernel_takes(self, share: float) -> None:
        left = int(self.buffered * share)
        while left and self.socket:
            size, named = self.socket[0]
            if size > left:
                self.socket[0] = size - left, named
                break
            left -= size
            self.socket.pop(0)
            if named is not None:
                self.reached.append(named)

    @precondition(lambda self: self.socket or self.reached)
    @rule()
    def handed_over(self) -> None:
        assert self.outbox.handed_over(self.buffered) == self.reached
        self.reached = []

    @precondition(lambda self: len(self.waiting) + len(self.socket) > 3)
    @rule()
    def abandon(self) -> None:
        # The last thing that happens to an outbox, so that nothing old can be reported any more.
        assert self.outbox.abandon() == self.open
        assert self.outbox.abandon() == []
        assert self.outbox.handed_over(0) == []
        assert self.outbox.pending_bytes == 0
        self.begin(self.capacity)

    @invariant()
    def counts_what_waits(self) -> None:
        assert self.outbox.pending_bytes == self.pending
        assert self.outbox.oldest_unsettled() == (self.times.get(self.open[0]) if self.open else None)


TestOutbox = OutboxMachine.TestCase
