"""The settlement of one record against a naive account, whatever the order in which connections report."""

import attrs
from hypothesis import given
from hypothesis import strategies as st

from imgateway.core.settlement import RecordSettlement
from imgateway.model import ConsumedRecord, Undelivered, UserId

RECORD = ConsumedRecord(0, 0, b"", b"")


@attrs.frozen
class Step:
    """`expects` connections of a user are sent to; or one `report`s."""

    user_id: UserId
    expects: int | None = None
    report: Undelivered | None = None


@st.composite
def stories(draw: st.DrawFn) -> tuple[list[Step], list[Step]]:
    """What happens before the seal (every `expects`, and reports that come at once), and after it."""
    before: list[Step] = []
    open_reports: list[Step] = []
    for number in range(draw(st.integers(0, 5))):
        user_id = UserId(f"u{number}")
        connections = draw(st.integers(0, 3))
        before.append(Step(user_id, expects=connections))
        outcomes = draw(st.lists(st.none() | st.sampled_from(Undelivered), min_size=connections, max_size=connections))
        open_reports += [Step(user_id, report=outcome) for outcome in outcomes]
        at_once = draw(st.lists(st.integers(0, max(0, len(open_reports) - 1)), max_size=len(open_reports), unique=True))
        before += [open_reports[position] for position in at_once]
        open_reports = [step for position, step in enumerate(open_reports) if position not in at_once]
    return before, list(draw(st.permutations(open_reports)))


@given(stories())
def test_it_finishes_once_with_exactly_those_left_out_whom_no_connection_reached(
    story: tuple[list[Step], list[Step]],
) -> None:
    finished: list[RecordSettlement] = []
    settlement = RecordSettlement(RECORD, finished.append, lambda: None)
    reached: set[UserId] = set()
    first_reasons: dict[UserId, Undelivered] = {}
    expected_reports = 0

    def play(step: Step) -> None:
        if step.expects == 0:
            settlement.leave_out(step.user_id, Undelivered.NO_CONNECTION)
            first_reasons.setdefault(step.user_id, Undelivered.NO_CONNECTION)
        elif step.expects is not None:
            nonlocal expected_reports
            expected_reports += step.expects
            if step.expects > 1:
                settlement.expect_several()
        elif step.report is None:
            settlement.handed_over(step.user_id)
            reached.add(step.user_id)
        else:
            settlement.missed(step.user_id, step.report)
            first_reasons.setdefault(step.user_id, step.report)

    before, after = story
    for step in before:
        play(step)
        assert not finished
    settlement.seal(expected_reports)
    for step in after:
        assert not finished
        play(step)
    assert finished == [settlement]
    expected: dict[Undelivered, list[UserId]] = {}
    for user_id, reason in first_reasons.items():
        if user_id not in reached:
            expected.setdefault(reason, []).append(user_id)
    assert settlement.left_out() == expected
