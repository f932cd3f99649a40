"""The contract of `ports.ClientConnection`."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager

import attrs

from imgateway.codes import Code
from imgateway.model import CloseReason, DeviceId, SendOutcome, Undelivered, UserId
from imgateway.ports import ClientConnection
from imgateway.testing.suite import ContractSuite
from imgateway.wire.frames import Frame, text_frame

USER = UserId("ann")
DEVICE = DeviceId("phone")

Told = list[tuple[int, UserId, Undelivered | None]]
"""Which settlement was told of whom, and the reason where it was missed."""

_KICKED = CloseReason.of(Code.KICKED)
_SLOW = CloseReason.of(Code.SLOW_CONSUMER)


@attrs.frozen
class ConnectionUnderTest:
    """An open connection of `USER` on `DEVICE`, and what its surroundings look like.

    Attributes:
        connection: it has been welcomed, and is registered.
        taken: the payloads that the kernel has taken of what the clauses sent, in order.
        reading: whether the peer reads; while it does not, the kernel takes nothing. It does at first.
        lose: the socket breaks.
        close_code: with what the connection was closed by us, or None.
        registered: whether it is in the registry.
        turn: let the event loop and the kernel do their work.
    """

    connection: ClientConnection
    taken: Callable[[], Sequence[bytes]]
    reading: Callable[[bool], None]
    lose: Callable[[], None]
    close_code: Callable[[], int | None]
    registered: Callable[[], bool]
    turn: Callable[[], Awaitable[None]]


@attrs.define(eq=False)
class RecordingSettlement:
    """Implements `ports.Settlement`: keeps what it was told, in a list that several may share."""

    name: int
    told: Told

    def handed_over(self, user_id: UserId, /) -> None:
        """Keep it, with None for a reason."""
        self.told.append((self.name, user_id, None))

    def missed(self, user_id: UserId, reason: Undelivered, /) -> None:
        """Keep it."""
        self.told.append((self.name, user_id, reason))


class ClientConnectionSuite(ContractSuite):
    """Every connection holds to this.

    Attributes:
        capacity: bytes that are more than a connection keeps for a peer that does not read.
    """

    capacity: int = 4_000_000

    def make(self) -> AbstractAsyncContextManager[ConnectionUnderTest]:
        """An open connection of `USER` on `DEVICE`."""
        raise NotImplementedError

    async def test_it_says_whose_it_is(self) -> None:
        """User and device are as verified; the connection id is its own, and long enough not to be guessed."""
        async with self.make() as one, self.make() as other:
            for under_test in (one, other):
                assert under_test.connection.user_id == USER
                assert under_test.connection.device_id == DEVICE
                assert under_test.connection.codec.name
                assert len(under_test.connection.connection_id) >= 22, "128 bits in base64url"
            assert one.connection.connection_id != other.connection.connection_id

    async def test_frames_leave_in_order(self) -> None:
        """What `send` takes leaves in order, once, whether or not anybody waits for its settlement."""
        async with self.make() as under_test:
            told: Told = []
            for number in range(60):
                settlement = RecordingSettlement(number, told) if number % 3 else None
                assert under_test.connection.send(_frame(number), settlement) is SendOutcome.QUEUED
                if number % 25 == 24:
                    await under_test.turn()
            await under_test.turn()
            assert under_test.taken() == [_frame(number).payload for number in range(60)]
            assert told == [(number, USER, None) for number in range(60) if number % 3]

    async def test_handed_over_means_that_the_kernel_has_it(self) -> None:
        """A settlement is told when the kernel took the frame's last byte, not before, in order, and once."""
        async with self.make() as under_test:
            told: Told = []
            self._send(under_test, 0, 1, told)
            await under_test.turn()
            assert len(told) == 1
            under_test.reading(False)
            self._send(under_test, 1, 10, told)
            await under_test.turn()
            assert under_test.taken() == [_frame(0).payload]
            assert len(told) == 1
            under_test.reading(True)
            await under_test.turn()
            assert told == [(number, USER, None) for number in range(10)]
            under_test.lose()
            await under_test.turn()
            assert len(told) == 10

    async def test_a_peer_that_does_not_read_is_closed(self) -> None:
        """Bytes are bounded: the frame that is too much is `OVERFLOW`, the connection closes (4008)."""
        async with self.make() as under_test:
            under_test.reading(False)
            told: Told = []
            outcomes = []
            frame = text_frame(b"x" * 16_000)
            for number in range(self.capacity // 16_000 + 1):
                outcomes.append(under_test.connection.send(frame, RecordingSettlement(number, told)))
                if outcomes[-1] is not SendOutcome.QUEUED:
                    break
                await under_test.turn()
            queued = len(outcomes) - 1
            assert queued >= 1, "not even one frame was taken"
            assert outcomes[-1] is SendOutcome.OVERFLOW
            assert not under_test.registered()
            assert under_test.connection.send(_frame(0), RecordingSettlement(-1, told)) is SendOutcome.CLOSED
            await under_test.turn()
            assert under_test.close_code() == _SLOW.code
            under_test.lose()
            await under_test.turn()
            assert told == [(number, USER, Undelivered.SLOW_CONSUMER) for number in range(queued)]

    async def test_a_closed_connection_takes_nothing(self) -> None:
        """After `close` it is in no registry at once, and takes no frame: `CLOSED`, and the settlement is not told."""
        async with self.make() as under_test:
            assert under_test.registered()
            under_test.connection.close(_KICKED)
            assert not under_test.registered()
            told: Told = []
            assert under_test.connection.send(_frame(0), RecordingSettlement(0, told)) is SendOutcome.CLOSED
            assert under_test.connection.send(_frame(1)) is SendOutcome.CLOSED
            await under_test.turn()
            under_test.lose()
            await under_test.turn()
            assert under_test.connection.send(_frame(2)) is SendOutcome.CLOSED
            assert told == []
            assert under_test.taken() == []

    async def test_the_first_reason_counts(self) -> None:
        """`close` is idempotent: the client reads the first reason."""
        async with self.make() as under_test:
            under_test.connection.close(_KICKED)
            under_test.connection.close(CloseReason.of(Code.DRAINING))
            await under_test.turn()
            under_test.connection.close(CloseReason.of(Code.REPLACED))
            await under_test.turn()
            assert under_test.close_code() == _KICKED.code

    async def test_what_was_queued_goes_out_before_the_end(self) -> None:
        """Frames taken before `close` reach a peer that reads, and are handed over."""
        async with self.make() as under_test:
            told: Told = []
            self._send(under_test, 0, 5, told)
            under_test.connection.close(_KICKED)
            await under_test.turn()
            assert under_test.taken() == [_frame(number).payload for number in range(5)]
            under_test.lose()
            await under_test.turn()
            assert told == [(number, USER, None) for number in range(5)]

    async def test_what_the_kernel_never_took_is_missed(self) -> None:
        """When the socket ends, what the kernel has not taken is missed, `no-connection`, in order, and once."""
        for closed_before in (False, True):
            async with self.make() as under_test:
                told: Told = []
                self._send(under_test, 0, 2, told)
                await under_test.turn()
                under_test.reading(False)
                self._send(under_test, 2, 5, told)
                await under_test.turn()
                if closed_before:
                    under_test.connection.close(_KICKED)
                    await under_test.turn()
                under_test.lose()
                await under_test.turn()
                reasons = [None, None, *[Undelivered.NO_CONNECTION] * 3]
                assert told == [(number, USER, reason) for number, reason in enumerate(reasons)]
                assert not under_test.registered()

    def _send(self, under_test: ConnectionUnderTest, first: int, end: int, told: Told) -> None:
        for number in range(first, end):
            assert under_test.connection.send(_frame(number), RecordingSettlement(number, told)) is SendOutcome.QUEUED


def _frame(number: int) -> Frame:
    return text_frame(f"frame {number}".encode())
