"""What the gateway remembers of messages it has taken, so that a retry is answered instead of written again."""

from collections import OrderedDict
from typing import Generic, TypeVar

import attrs

from imgateway.model import ConversationId, Receipt, UserId

KEEP_SECONDS = 600.0
KEEP_PER_USER = 200
KEEP_IN_ALL = 200_000

MessageKey = tuple[ConversationId, str]
"""Conversation and `client_msg_id`."""

PendingT = TypeVar("PendingT")


@attrs.define(eq=False)
class Recalled(Generic[PendingT]):
    """One message that was taken.

    Attributes:
        fingerprint: of what it said; the same id with another one is not a retry.
        taken_at: monotonic seconds.
        pending: what a retry waits with until the receipt is known.
        receipt: where the message stands, once that is known.
    """

    fingerprint: int
    taken_at: float
    pending: PendingT | None
    receipt: Receipt | None = None


@attrs.define(eq=False)
class RecentMessages(Generic[PendingT]):
    """Messages by user, conversation and `client_msg_id`.

    Each is remembered for `KEEP_SECONDS`, at most the user's last `KEEP_PER_USER`, and `KEEP_IN_ALL` of all users;
    beyond that those of the users who have been quiet longest go first.
    """

    _users: OrderedDict[UserId, OrderedDict[MessageKey, Recalled[PendingT]]] = attrs.field(factory=OrderedDict)
    _count: int = 0

    def find(self, user_id: UserId, key: MessageKey, now: float, /) -> Recalled[PendingT] | None:
        """The message, if it is remembered."""
        messages = self._users.get(user_id)
        recalled = None if messages is None else messages.get(key)
        if recalled is None or now - recalled.taken_at > KEEP_SECONDS:
            return None
        return recalled

    def remember(self, user_id: UserId, key: MessageKey, recalled: Recalled[PendingT], /) -> None:
        """Remember a message as the user's newest."""
        messages = self._users.get(user_id)
        if messages is None:
            messages = self._users[user_id] = OrderedDict()
        else:
            self._users.move_to_end(user_id)
        self._count -= messages.pop(key, None) is not None
        messages[key] = recalled
        self._count += 1
        if len(messages) > KEEP_PER_USER:
            messages.popitem(last=False)
            self._count -= 1
        if self._count > KEEP_IN_ALL:
            self._drop_oldest()

    def forget(self, user_id: UserId, key: MessageKey, recalled: Recalled[PendingT], /) -> None:
        """Forget this very message: it was not written, a retry shall be."""
        messages = self._users.get(user_id)
        if messages is not None and messages.get(key) is recalled:
            del messages[key]
            self._count -= 1
            if not messages:
                del self._users[user_id]

    def expire(self, now: float, /) -> None:
        """Forget what is too old; call it every now and then."""
        while self._users:
            messages = next(iter(self._users.values()))
            # Users stand in the order of their newest messages.
            if now - next(reversed(messages.values())).taken_at <= KEEP_SECONDS:
                return
            self._drop_user()

    def __len__(self) -> int:
        return self._count

    def _drop_user(self) -> None:
        _, messages = self._users.popitem(last=False)
        self._count -= len(messages)

    def _drop_oldest(self) -> None:
        messages = next(iter(self._users.values()))
        messages.popitem(last=False)
        self._count -= 1
        if not messages:
            self._users.popitem(last=False)
