"""One live client, and where live clients are found."""

from collections.abc import Iterator, Sequence
from typing import Protocol

from imgateway.model import CloseReason, ConnectionId, DeviceId, SendOutcome, Undelivered, UserId
from imgateway.wire.codec import Codec
from imgateway.wire.frames import Frame


class Settlement(Protocol):
    """Waits for what becomes of one record; told once for each connection it was sent to."""

    def handed_over(self, user_id: UserId, /) -> None:
        """A connection of `user_id` has it: the kernel took its last byte."""
        ...

    def missed(self, user_id: UserId, reason: Undelivered, /) -> None:
        """A connection of `user_id` ended without it."""
        ...


class ClientConnection(Protocol):
    """One live client on any transport."""

    @property
    def connection_id(self) -> ConnectionId:
        """Unique over all gateways, and not guessable."""
        ...

    @property
    def user_id(self) -> UserId:
        """The verified user."""
        ...

    @property
    def device_id(self) -> DeviceId | None:
        """The device it said it is."""
        ...

    @property
    def codec(self) -> Codec:
        """How its frames are written."""
        ...

    def send(self, frame: Frame, settlement: Settlement | None = None, /) -> SendOutcome:
        """Hand over a frame. Synchronous, never blocks, keeps order, bounded in bytes.

        With `settlement` the connection reports once what became of the frame, but only if the outcome is `QUEUED`.
        `OVERFLOW` has already started to close the connection (4008).
        """
        ...

    def close(self, reason: CloseReason, /) -> None:
        """End the connection. Synchronous, idempotent, never blocks; the first reason counts.

        From here on it takes no frames and is in no registry. What was queued still goes out before the close frame,
        unless the client reads too slowly; what never reaches the kernel is missed.
        """
        ...


class ConnectionRegistry(Protocol):
    """The connections of this process by user. In memory, synchronous; one per gateway, never shared."""

    def add(self, connection: ClientConnection, /) -> None:
        """Add a connection. Adding the same one twice changes nothing."""
        ...

    def remove(self, connection: ClientConnection, /) -> bool:
        """Take out this very connection (by identity: a newer one of the same user or device stays).

        Returns whether it was there.
        """
        ...

    def of_user(self, user_id: UserId, /) -> Sequence[ClientConnection]:
        """The user's connections, oldest first. A snapshot: it stays valid while connections come and go."""
        ...

    def __len__(self) -> int:
        """How many connections there are."""
        ...

    def __iter__(self) -> Iterator[ClientConnection]:
        """All connections, over a snapshot."""
        ...
