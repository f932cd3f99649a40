"""Client connections: ours, and the one for tests, hold to the contract; broken ones do not."""

import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import anyio
import attrs
import pytest

from imgateway.adapters.memory.embedded import Embedded
from imgateway.codes import RFC_ABNORMAL
from imgateway.core.admission import Admitted
from imgateway.core.registry import ConnectionRegistry
from imgateway.model import (
    CloseReason,
    ConnectionId,
    ConnectRequest,
    Credentials,
    DeviceId,
    Identity,
    SendOutcome,
    UserId,
)
from imgateway.ports import Settlement, Transport, TransportListener
from imgateway.testing import ClientConnectionSuite, ConnectionUnderTest, RecordingConnection, assert_caught
from imgateway.testing.connection import DEVICE, USER
from imgateway.wire.frames import Frame
from imgateway.wire.json_codec import JsonCodec


class Trusting:
    async def authenticate(self, credentials: Credentials, /) -> Identity:
        return Identity(USER, 2**52)

    async def aclose(self) -> None:
        pass


@attrs.define(eq=False)
class SimulatedTransport:
    """Implements `ports.Transport`: a kernel that takes everything at once, or nothing while the peer does not read."""

    listener: TransportListener
    reading: bool = True
    taken: list[bytes] = attrs.field(factory=list)
    reason: CloseReason | None = None
    _buffered: list[Frame] = attrs.field(factory=list)
    _lost: bool = False

    @property
    def buffered_bytes(self) -> int:
        return sum(frame.size for frame in self._buffered)

    @property
    def sends_pings(self) -> bool:
        return True

    def write(self, frames: Sequence[Frame], /) -> None:
        if self.reason is None and not self._lost:
            self._buffered += frames
            self._pass_on()

    def ping(self) -> None:
        pass

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass

    def close(self, reason: CloseReason, /) -> None:
        self.reason = self.reason or reason

    def abort(self) -> None:
        self.lose()

    def read(self, reading: bool, /) -> None:
        self.reading = reading
        buffered = self.buffered_bytes
        self._pass_on()
        if buffered and not self.buffered_bytes:
            self.listener.drained()

    def lose(self) -> None:
        if not self._lost:
            self._lost = True
            self.listener.lost(self.reason.code if self.reason else RFC_ABNORMAL)

    def _pass_on(self) -> None:
        if self.reading:
            self.taken += [frame.payload for frame in self._buffered]
            self._buffered.clear()


def _code(reason: CloseReason | None) -> int | None:
    return None if reason is None else reason.code


@pytest.mark.anyio
class TestLiveConnection(ClientConnectionSuite):
    capacity = 300_000

    @asynccontextmanager
    async def make(self) -> AsyncIterator[ConnectionUnderTest]:
        async with Embedded().gateway(Trusting()) as gateway:
            await gateway.wait_ready()
            admitted = await gateway.admit(ConnectRequest(Credentials("token"), DEVICE))
            assert isinstance(admitted, Admitted)
            transports: list[SimulatedTransport] = []

            def attach(listener: TransportListener) -> Transport:
                transports.append(SimulatedTransport(listener))
                return transports[0]

            connection = await gateway.open(admitted, JsonCodec(), attach)
            await anyio.wait_all_tasks_blocked()
            (transport,) = transports
            assert b'"welcome"' in transport.taken.pop()
            registry = gateway._life.hub.registry  # type: ignore[union-attr]  # it has been entered
            try:
                yield ConnectionUnderTest(
                    connection,
                    lambda: transport.taken,
                    transport.read,
                    transport.lose,
                    lambda: _code(transport.reason),
                    lambda: connection in registry.of_user(USER),
                    anyio.wait_all_tasks_blocked,
                )
            finally:
                transport.lose()


@pytest.mark.anyio
class TestRecordingConnection(ClientConnectionSuite):
    capacity = 300_000
    connection: Callable[[UserId, ConnectionId, DeviceId], RecordingConnection] = RecordingConnection

    @asynccontextmanager
    async def make(self) -> AsyncIterator[ConnectionUnderTest]:
        registry = ConnectionRegistry()
        connection = self.connection(USER, ConnectionId(secrets.token_urlsafe(16)), DEVICE)
        connection.registry = registry
        registry.add(connection)
        reads = True

        def reading(peer_reads: bool) -> None:
            nonlocal reads
            reads = peer_reads

        async def turn() -> None:
            if reads:
                connection.hand_over()

        yield ConnectionUnderTest(
            connection,
            lambda: [frame.payload for frame in connection.frames],
            reading,
            connection.lose,
            lambda: _code(connection.reason),
            lambda: connection in registry.of_user(USER),
            turn,
        )


class CountsItself(RecordingConnection):
    made = 0

    def __init__(self, user_id: UserId, connection_id: ConnectionId, device_id: DeviceId) -> None:
        CountsItself.made += 1
        super().__init__(user_id, ConnectionId(str(CountsItself.made)), device_id)


class LastInFirstOut(RecordingConnection):
    def send(self, frame: Frame, settlement: Settlement | None = None, /) -> SendOutcome:
        outcome = super().send(frame, settlement)
        self._waiting.rotate(1)
        return outcome


class HandsOverAtOnce(RecordingConnection):
    def send(self, frame: Frame, settlement: Settlement | None = None, /) -> SendOutcome:
        outcome = super().send(frame)
        if settlement is not None and outcome is SendOutcome.QUEUED:
            settlement.handed_over(self.user_id)
        return outcome


class Unbounded(RecordingConnection):
    def send(self, frame: Frame, settlement: Settlement | None = None, /) -> SendOutcome:
        self.capacity = 2**40
        return super().send(frame, settlement)


class DropsTheOldest(RecordingConnection):
    def send(self, frame: Frame, settlement: Settlement | None = None, /) -> SendOutcome:
        while sum(waiting.size for waiting, _ in self._waiting) + frame.size > self.capacity:
            self._waiting.popleft()
        return super().send(frame, settlement)


class OverflowOnly(RecordingConnection):
    """Says that it is too much, and stays as it is."""

    def send(self, frame: Frame, settlement: Settlement | None = None, /) -> SendOutcome:
        if sum(waiting.size for waiting, _ in self._waiting) + frame.size > self.capacity:
            return SendOutcome.OVERFLOW
        return super().send(frame, settlement)


class TellsOfTheRefused(RecordingConnection):
    def send(self, frame: Frame, settlement: Settlement | None = None, /) -> SendOutcome:
        outcome = super().send(frame, settlement)
        if outcome is SendOutcome.CLOSED and settlement is not None:
            self.lose()
            settlement.handed_over(self.user_id)
        return outcome


class StaysRegistered(RecordingConnection):
    def close(self, reason: CloseReason, /) -> None:
        self.registry = None
        super().close(reason)


class LastReasonCounts(RecordingConnection):
    def close(self, reason: CloseReason, /) -> None:
        super().close(reason)
        if reason.code != RFC_ABNORMAL:
            self.reason = reason


class CloseDropsTheQueue(RecordingConnection):
    def close(self, reason: CloseReason, /) -> None:
        super().close(reason)
        if reason.code != RFC_ABNORMAL:
            self.lose()


class MissesInSilence(RecordingConnection):
    def lose(self) -> None:
        self._waiting.clear()
        super().lose()


class MissesTwice(RecordingConnection):
    def lose(self) -> None:
        waiting = self._waiting.copy()
        super().lose()
        self._waiting = waiting
        super().lose()


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("broken", "clauses"),
    [
        (CountsItself, "it_says_whose_it_is"),
        (LastInFirstOut, "frames_leave_in_order"),
        (HandsOverAtOnce, "handed_over_means_that_the_kernel_has_it"),
        (Unbounded, "a_peer_that_does_not_read_is_closed"),
        (DropsTheOldest, "a_peer_that_does_not_read_is_closed"),
        (OverflowOnly, "a_peer_that_does_not_read_is_closed"),
        (TellsOfTheRefused, "a_closed_connection_takes_nothing"),
        (StaysRegistered, "a_closed_connection_takes_nothing"),
        (LastReasonCounts, "the_first_reason_counts"),
        (CloseDropsTheQueue, "what_was_queued_goes_out_before_the_end"),
        (MissesInSilence, "what_the_kernel_never_took_is_missed"),
        (MissesTwice, "what_the_kernel_never_took_is_missed"),
    ],
)
async def test_broken_connections_are_caught(
    broken: Callable[[UserId, ConnectionId, DeviceId], RecordingConnection], clauses: str
) -> None:
    suite = TestRecordingConnection()
    suite.connection = broken
    await assert_caught(suite, *clauses.split())
