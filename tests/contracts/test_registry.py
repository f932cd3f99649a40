"""Registries of local connections: ours holds to the contract, broken ones do not."""

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager

import pytest

from imgateway import ports
from imgateway.core.registry import ConnectionRegistry
from imgateway.model import UserId
from imgateway.ports import ClientConnection
from imgateway.testing import ConnectionRegistrySuite, assert_caught


@pytest.mark.anyio
class TestConnectionRegistry(ConnectionRegistrySuite):
    registry: Callable[[], ports.ConnectionRegistry] = ConnectionRegistry

    @asynccontextmanager
    async def make(self) -> AsyncIterator[ports.ConnectionRegistry]:
        yield self.registry()


class RemovesByUser(ConnectionRegistry):
    def remove(self, connection: ClientConnection, /) -> bool:
        return sum(super(RemovesByUser, self).remove(each) for each in self.of_user(connection.user_id)) > 0


class RemovesWhatIsEqual(ConnectionRegistry):
    def remove(self, connection: ClientConnection, /) -> bool:
        equal = next((each for each in self.of_user(connection.user_id) if each == connection), connection)
        return super().remove(equal)


class SaysItWasThere(ConnectionRegistry):
    def remove(self, connection: ClientConnection, /) -> bool:
        super().remove(connection)
        return True


class NewestFirst(ConnectionRegistry):
    def of_user(self, user_id: UserId, /) -> tuple[ClientConnection, ...]:
        return super().of_user(user_id)[::-1]


class OnePerUser(ConnectionRegistry):
    def add(self, connection: ClientConnection, /) -> None:
        for each in self.of_user(connection.user_id):
            self.remove(each)
        super().add(connection)


class ListRegistry:
    """One list a user, handed out as it is: no snapshots."""

    def __init__(self) -> None:
        self.users: dict[UserId, list[ClientConnection]] = {}

    def add(self, connection: ClientConnection, /) -> None:
        there = self.users.setdefault(connection.user_id, [])
        if not any(each is connection for each in there):
            there.append(connection)

    def remove(self, connection: ClientConnection, /) -> bool:
        there = self.users.get(connection.user_id, [])
        for index, each in enumerate(there):
            if each is connection:
                del there[index]
                return True
        return False

    def of_user(self, user_id: UserId, /) -> Sequence[ClientConnection]:
        return self.users.get(user_id, [])

    def __len__(self) -> int:
        return sum(map(len, self.users.values()))

    def __iter__(self) -> Iterator[ClientConnection]:
        for there in self.users.values():
            yield from there


class AddsTwice(ListRegistry):
    def add(self, connection: ClientConnection, /) -> None:
        self.users.setdefault(connection.user_id, []).append(connection)

    def of_user(self, user_id: UserId, /) -> Sequence[ClientConnection]:
        return tuple(super().of_user(user_id))

    def __iter__(self) -> Iterator[ClientConnection]:
        return iter([each for there in self.users.values() for each in there])


class KeepsTheLast(ConnectionRegistry):
    def remove(self, connection: ClientConnection, /) -> bool:
        removed = super().remove(connection)
        if removed and not self.of_user(connection.user_id):
            self._users[connection.user_id] = (connection,)
        return removed


class CountsUsers(ConnectionRegistry):
    def __len__(self) -> int:
        return len({each.user_id for each in self})


class Remembers(ConnectionRegistry):
    seen: list[ClientConnection]

    def add(self, connection: ClientConnection, /) -> None:
        self.seen = [*getattr(self, "seen", []), connection]
        super().add(connection)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("broken", "clauses"),
    [
        (RemovesByUser, "removing_takes_out_this_very_connection"),
        (RemovesWhatIsEqual, "removing_takes_out_this_very_connection"),
        (SaysItWasThere, "removing_says_whether_it_was_there"),
        (
            NewestFirst,
            "connections_are_found_under_their_user_oldest_first a_removed_connection_may_come_back_as_the_newest",
        ),
        (OnePerUser, "connections_are_found_under_their_user_oldest_first"),
        (ListRegistry, "of_user_is_a_snapshot iterating_goes_over_a_snapshot_of_all"),
        (AddsTwice, "adding_twice_changes_nothing"),
        (KeepsTheLast, "an_unknown_user_has_no_connections"),
        (CountsUsers, "length_counts_connections"),
        (Remembers, "a_removed_connection_is_not_kept"),
    ],
)
async def test_broken_registries_are_caught(broken: Callable[[], ports.ConnectionRegistry], clauses: str) -> None:
    suite = TestConnectionRegistry()
    suite.registry = broken
    await assert_caught(suite, *clauses.split())
