"""The memory of recent messages against a naive one that keeps everything."""

from collections import OrderedDict
from unittest import mock

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from imgateway.core import recall
from imgateway.core.recall import MessageKey, Recalled, RecentMessages
from imgateway.model import ConversationId, UserId

PER_USER = 3
IN_ALL = 5
SECONDS = 10.0

users = st.sampled_from([UserId(name) for name in ("ann", "ben", "cat")])
keys = st.tuples(st.sampled_from([ConversationId("c"), ConversationId("d")]), st.sampled_from(("1", "2", "3")))


class RecallMachine(RuleBasedStateMachine):
    """`known` holds each user's messages, users in the order of their last message, messages likewise."""

    def __init__(self) -> None:
        super().__init__()
        self.limits = mock.patch.multiple(recall, KEEP_PER_USER=PER_USER, KEEP_IN_ALL=IN_ALL, KEEP_SECONDS=SECONDS)
        self.limits.start()
        self.recent = RecentMessages[None]()
        self.known: OrderedDict[UserId, OrderedDict[MessageKey, Recalled[None]]] = OrderedDict()
        self.now = 0.0

    def teardown(self) -> None:
        self.limits.stop()

    @rule(seconds=st.floats(0, 6))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(user_id=users, key=keys)
    def remember(self, user_id: UserId, key: MessageKey) -> None:
        recalled = Recalled[None](0, self.now, None)
        self.recent.remember(user_id, key, recalled)
        messages = self.known.setdefault(user_id, OrderedDict())
        messages.pop(key, None)
        messages[key] = recalled
        self.known.move_to_end(user_id)
        if len(messages) > PER_USER:
            messages.popitem(last=False)
        if sum(map(len, self.known.values())) > IN_ALL:
            quietest = next(iter(self.known.values()))
            quietest.popitem(last=False)
        self._tidy()

    @rule(user_id=users, key=keys, this_very_one=st.booleans())
    def forget(self, user_id: UserId, key: MessageKey, this_very_one: bool) -> None:
        known = self._known(user_id, key)
        other = Recalled[None](0, self.now, None)
        self.recent.forget(user_id, key, known if known is not None and this_very_one else other)
        if known is not None and this_very_one:
            del self.known[user_id][key]
            self._tidy()

    @rule()
    def expire(self) -> None:
        self.recent.expire(self.now)
        while self.known and not self._fresh(next(iter(self.known.values()))):
            self.known.popitem(last=False)

    @invariant()
    def finds_what_is_fresh_and_nothing_else(self) -> None:
        for user_id in (UserId(name) for name in ("ann", "ben", "cat")):
            for key in [(ConversationId(c), i) for c in "cd" for i in "123"]:
                found = self.recent.find(user_id, key, self.now)
                known = self._known(user_id, key)
                fresh = known is not None and self.now - known.taken_at <= SECONDS
                assert found is (known if fresh else None)

    @invariant()
    def is_bounded(self) -> None:
        assert len(self.recent) == sum(map(len, self.known.values())) <= IN_ALL
        assert all(len(messages) <= PER_USER for messages in self.known.values())

    def _known(self, user_id: UserId, key: MessageKey) -> Recalled[None] | None:
        messages = self.known.get(user_id)
        return None if messages is None else messages.get(key)

    def _fresh(self, messages: OrderedDict[MessageKey, Recalled[None]]) -> bool:
        return any(self.now - recalled.taken_at <= SECONDS for recalled in messages.values())

    def _tidy(self) -> None:
        for user_id in [user_id for user_id, messages in self.known.items() if not messages]:
            del self.known[user_id]


TestRecall = RecallMachine.TestCase


def test_everything_is_forgotten_in_the_end() -> None:
    recent = RecentMessages[None]()
    for second in range(100):
        recent.remember(UserId(f"u{second % 7}"), (ConversationId("c"), str(second)), Recalled(0, float(second), None))
    recent.expire(99 + recall.KEEP_SECONDS)
    assert len(recent) > 0
    recent.expire(100 + recall.KEEP_SECONDS)
    assert len(recent) == 0
