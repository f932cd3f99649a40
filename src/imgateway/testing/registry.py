"""The contract of `ports.ConnectionRegistry`."""

import gc
import weakref
from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager

import attrs

from imgateway.model import ConnectionId, DeviceId, UserId
from imgateway.ports import ClientConnection, ConnectionRegistry
from imgateway.testing.connections import RecordingConnection
from imgateway.testing.suite import ContractSuite

_ANN, _BEN = UserId("ann"), UserId("ben")


@attrs.define(eq=False)
class _Lookalike(RecordingConnection):
    """Equal to every other connection of its user: only identity tells them apart."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Lookalike) and other.user_id == self.user_id

    def __hash__(self) -> int:
        return hash(self.user_id)


def _connection(user_id: UserId, name: str = "c") -> _Lookalike:
    return _Lookalike(user_id, ConnectionId(name), DeviceId("phone"))


def _same(found: Iterable[ClientConnection], expected: Iterable[ClientConnection]) -> bool:
    return [id(connection) for connection in found] == [id(connection) for connection in expected]


class ConnectionRegistrySuite(ContractSuite):
    """Every registry of local connections holds to this."""

    def make(self) -> AbstractAsyncContextManager[ConnectionRegistry]:
        """An empty registry."""
        raise NotImplementedError

    async def test_connections_are_found_under_their_user_oldest_first(self) -> None:
        """`of_user` gives the user's connections, and no one else's, oldest first."""
        first, second, third = _connection(_ANN), _connection(_ANN), _connection(_ANN)
        other = _connection(_BEN)
        async with self.make() as registry:
            for connection in (first, other, second, third):
                registry.add(connection)
            assert _same(registry.of_user(_ANN), [first, second, third])
            assert _same(registry.of_user(_BEN), [other])

    async def test_an_unknown_user_has_no_connections(self) -> None:
        """`of_user` of a user without connections is empty, before the first and after the last."""
        connection = _connection(_ANN)
        async with self.make() as registry:
            assert _same(registry.of_user(_ANN), [])
            registry.add(connection)
            registry.remove(connection)
            assert _same(registry.of_user(_ANN), [])

    async def test_adding_twice_changes_nothing(self) -> None:
        """Adding the same connection again neither doubles nor moves it."""
        first, second = _connection(_ANN), _connection(_ANN)
        async with self.make() as registry:
            for connection in (first, second, first):
                registry.add(connection)
            assert _same(registry.of_user(_ANN), [first, second])
            assert len(registry) == 2

    async def test_removing_takes_out_this_very_connection(self) -> None:
        """A late removal of an old connection leaves a newer one of the same user and device, even an equal one."""
        old, new = _connection(_ANN), _connection(_ANN)
        async with self.make() as registry:
            registry.add(old)
            registry.add(new)
            assert registry.remove(old) is True
            assert _same(registry.of_user(_ANN), [new])
            assert registry.remove(old) is False
            assert _same(registry.of_user(_ANN), [new])

    async def test_removing_says_whether_it_was_there(self) -> None:
        """`remove` is True once for each connection that was added, else False, and then changes nothing."""
        there, never = _connection(_ANN), _connection(_ANN)
        async with self.make() as registry:
            assert registry.remove(never) is False
            registry.add(there)
            assert registry.remove(never) is False
            assert registry.remove(_connection(_BEN)) is False
            assert len(registry) == 1
            assert registry.remove(there) is True
            assert registry.remove(there) is False
            assert len(registry) == 0

    async def test_a_removed_connection_may_come_back_as_the_newest(self) -> None:
        """Adding after removing counts as new."""
        first, second = _connection(_ANN), _connection(_ANN)
        async with self.make() as registry:
            registry.add(first)
            registry.add(second)
            registry.remove(first)
            registry.add(first)
            assert _same(registry.of_user(_ANN), [second, first])

    async def test_of_user_is_a_snapshot(self) -> None:
        """What `of_user` gave stays as it was while connections come and go."""
        first, second = _connection(_ANN), _connection(_ANN)
        async with self.make() as registry:
            registry.add(first)
            snapshot = registry.of_user(_ANN)
            registry.add(second)
            assert _same(snapshot, [first])
            snapshot = registry.of_user(_ANN)
            registry.remove(first)
            assert _same(snapshot, [first, second])

    async def test_iterating_goes_over_a_snapshot_of_all(self) -> None:
        """Iterating meets every connection once, though they are removed and others added meanwhile."""
        connections = [_connection(user) for user in (_ANN, _BEN, UserId("cat")) for _ in range(2)]
        async with self.make() as registry:
            for connection in connections:
                registry.add(connection)
            met = []
            for there in registry:
                met.append(id(there))
                registry.remove(there)
                registry.add(_connection(UserId(f"late-{len(met)}")))
            assert sorted(met) == sorted(map(id, connections))
            assert len(registry) == len(connections)

    async def test_length_counts_connections(self) -> None:
        """`len` is the number of connections, not of users."""
        connections = [_connection(_ANN), _connection(_ANN), _connection(_BEN)]
        async with self.make() as registry:
            assert len(registry) == 0
            for count, connection in enumerate(connections, 1):
                registry.add(connection)
                assert len(registry) == count
            registry.remove(connections[0])
            assert len(registry) == 2

    async def test_a_removed_connection_is_not_kept(self) -> None:
        """Nothing of a connection stays behind once it is removed."""
        async with self.make() as registry:
            connection = _connection(_ANN)
            reference = weakref.ref(connection)
            registry.add(connection)
            registry.of_user(_ANN)
            registry.remove(connection)
            del connection
            gc.collect()
            assert reference() is None, "the registry still refers to it"
