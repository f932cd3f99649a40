"""Records written to and read from the message broker."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from imgateway.model import ConsumedRecord, OutgoingRecord, PublishFailure, Receipt


class PublishTicket(Protocol):
    """Waits for what becomes of one offered record."""

    def settled(self, outcome: Receipt | PublishFailure, /) -> None:
        """The outcome: called exactly once, from the event loop's thread, never within `offer`. Must not raise."""
        ...


class UpstreamPublisher(Protocol):
    """Writes records durably. It is for client messages up, and for what could not be delivered."""

    def offer(self, record: OutgoingRecord, ticket: PublishTicket, /) -> bool:
        """Take a record for writing. Never blocks, never raises.

        False: the buffer is full (or the publisher is not running), nothing was taken and the ticket will not be told.

        Order: records of one topic and key are written in the order offered, and their receipts' offsets ascend so.
        Durability: a `Receipt` is given only after the record is as durable as the broker makes it (Kafka: acks=all).
        Every ticket of a taken record is settled, by `aclose` at the latest; how long that may take is the
        publisher's matter, callers put their own limit to their own waiting.
        """
        ...

    async def flush(self) -> None:
        """Wait until every record taken before this call is settled. Callers bound it; cancelling loses nothing."""
        ...

    async def aclose(self) -> None:
        """Stop, after writing out what was taken as far as possible; the rest is settled `UNKNOWN`. Idempotent."""
        ...


class DownstreamConsumer(Protocol):
    """Reads one topic, all partitions, from where the last committed read ended, else from the start.

    One task reads. Delivery is at least once: what is not committed comes again after a restart.
    """

    async def start(self) -> None:
        """Be ready to read: the topic exists and the start positions are known when this returns.

        Raises:
            ServiceUnavailableError: the broker can't be reached or refuses; may be tried again.
        """
        ...

    async def take(self) -> Sequence[ConsumedRecord]:
        """The next records, at least one; waits for it. Each partition's records come in offset order.

        Cancellable without loss: a record is handed out by exactly one finished call.
        """
        ...

    async def commit(self, positions: Mapping[int, int], /) -> None:
        """Record the offset of the next record to read after a restart, by partition. A position never goes back.

        Raises:
            ServiceUnavailableError: not known whether it took effect; may be repeated.
        """
        ...

    def lag(self) -> int:
        """Records written but not yet handed out by `take`, as far as known. Never blocks."""
        ...

    async def aclose(self) -> None:
        """Stop reading and leave nothing behind but the committed positions. Idempotent."""
        ...
