"""The heartbeat wheel: nobody is forgotten, nobody is asked early, and time stands still with the process."""

import attrs
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from imgateway.core.heartbeat import HeartbeatWheel

RESOLUTION = 0.25


@attrs.define(eq=False)
class Member:
    """Wants to be asked again after each of `pauses`, then no more."""

    pauses: list[float]
    victims: list["Member"]
    wheel: HeartbeatWheel
    due: float | None = None
    slot: int = -1

    def beat(self, now: float, /) -> float | None:
        assert self.due is not None, "asked although it was removed"
        assert now >= self.due, "asked early"
        for victim in self.victims:
            self.wheel.remove(victim)
            victim.due = None
        if self in self.victims or not self.pauses:
            self.due = None
        else:
            self.due = now + self.pauses.pop()
        return self.due


class WheelMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.wheel = HeartbeatWheel(RESOLUTION)
        self.members: list[Member] = []
        self.reading = 1000.0
        self.wheel.advance(self.reading)

    @rule(pauses=st.lists(st.floats(0, 3), max_size=5), due=st.floats(-1, 5))
    def add(self, pauses: list[float], due: float) -> None:
        member = Member(pauses, [], self.wheel, self.wheel.now + max(due, 0))
        self.members.append(member)
        self.wheel.add(member, self.wheel.now + due)

    @precondition(lambda self: self.members)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        member = data.draw(st.sampled_from(self.members))
        self.wheel.remove(member)
        member.due = None

    @precondition(lambda self: len(self.members) > 1)
    @rule(data=st.data())
    def one_will_end_another(self, data: st.DataObject) -> None:
        member, victim = data.draw(st.sampled_from(self.members)), data.draw(st.sampled_from(self.members))
        member.victims.append(victim)

    @rule(seconds=st.floats(0, 2) | st.sampled_from((0.0, RESOLUTION, 3600.0)))
    def time_passes(self, seconds: float) -> None:
        before = self.wheel.now
        self.reading += seconds
        self.wheel.advance(self.reading)
        assert self.wheel.now - before == pytest.approx(min(seconds, 2 * RESOLUTION), abs=1e-6)

    @rule(seconds=st.floats(0, 10))
    def the_clock_goes_back(self, seconds: float) -> None:
        before = self.wheel.now
        self.reading -= seconds
        self.wheel.advance(self.reading)
        assert self.wheel.now == before

    @invariant()
    def nobody_is_forgotten(self) -> None:
        waiting = [member.due for member in self.members if member.due is not None]
        assert len(self.wheel) == len(waiting)
        assert all(due + RESOLUTION > self.wheel.now - 1e-9 for due in waiting)


TestWheel = WheelMachine.TestCase
