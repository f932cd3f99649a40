"""The connection registry against a plain list."""

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from imgateway.core.registry import ConnectionRegistry
from imgateway.model import ConnectionId, UserId
from imgateway.testing import RecordingConnection

USERS = [UserId(name) for name in ("ann", "ben", "cat")]
CONNECTIONS = [RecordingConnection(USERS[i % 3], ConnectionId(f"c{i % 4}")) for i in range(9)]
"""Some have the same id and user as others: the registry must go by identity."""

connections = st.sampled_from(range(len(CONNECTIONS))).map(CONNECTIONS.__getitem__)


class RegistryMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.registry = ConnectionRegistry()
        self.there: list[RecordingConnection] = []
        self.snapshots: list[tuple[object, list[int]]] = []

    @rule(connection=connections)
    def add(self, connection: RecordingConnection) -> None:
        self.registry.add(connection)
        if not any(known is connection for known in self.there):
            self.there.append(connection)

    @rule(connection=connections)
    def remove(self, connection: RecordingConnection) -> None:
        was_there = any(known is connection for known in self.there)
        assert self.registry.remove(connection) is was_there
        self.there = [known for known in self.there if known is not connection]

    @rule(user_id=st.sampled_from(USERS))
    def take_a_snapshot(self, user_id: UserId) -> None:
        snapshot = self.registry.of_user(user_id)
        self.snapshots.append((snapshot, [id(connection) for connection in snapshot]))

    @invariant()
    def agrees_with_the_list(self) -> None:
        assert len(self.registry) == len(self.there)
        assert sorted(map(id, self.registry)) == sorted(map(id, self.there))
        for user_id in USERS:
            expected = [id(connection) for connection in self.there if connection.user_id == user_id]
            assert [id(connection) for connection in self.registry.of_user(user_id)] == expected

    @invariant()
    def snapshots_stay(self) -> None:
        for snapshot, ids in self.snapshots:
            assert [id(connection) for connection in snapshot] == ids  # type: ignore[attr-defined]  # a sequence


TestRegistry = RegistryMachine.TestCase
