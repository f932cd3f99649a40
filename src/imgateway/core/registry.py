"""The connections of this process by user."""

from collections.abc import Iterator

import attrs

from imgateway.model import UserId
from imgateway.ports.connection import ClientConnection


@attrs.define(eq=False)
class ConnectionRegistry:
    """Implements `ports.ConnectionRegistry`. Bounded by the admission policy, which decides who is added.

    A user's connections are a tuple that is replaced, never changed: whoever holds one holds a snapshot, and the
    fan-out of a record copies nothing.
    """

    _users: dict[UserId, tuple[ClientConnection, ...]] = attrs.field(factory=dict, init=False)
    _count: int = attrs.field(default=0, init=False)

    def add(self, connection: ClientConnection, /) -> None:
        """Add a connection as its user's newest. Adding the same one twice changes nothing."""
        there = self.of_user(connection.user_id)
        if any(known is connection for known in there):
            return
        self._users[connection.user_id] = (*there, connection)
        self._count += 1

    def remove(self, connection: ClientConnection, /) -> bool:
        """Take out this very connection; whether it was there."""
        there = self.of_user(connection.user_id)
        left = tuple(known for known in there if known is not connection)
        if len(left) == len(there):
            return False
        if left:
            self._users[connection.user_id] = left
        else:
            del self._users[connection.user_id]
        self._count -= 1
        return True

    def of_user(self, user_id: UserId, /) -> tuple[ClientConnection, ...]:
        """The user's connections, oldest first; a snapshot."""
        return self._users.get(user_id, ())

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[ClientConnection]:
        return iter([connection for there in self._users.values() for connection in there])
