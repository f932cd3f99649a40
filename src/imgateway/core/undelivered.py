"""Writes to the undelivered topic whom a record did not reach, until it is durable."""

import logging
from collections.abc import Callable, Mapping, Sequence

import attrs

from imgateway.model import ConsumedRecord, GatewayId, OutgoingRecord, PublishFailure, Receipt, Undelivered, UserId
from imgateway.ports import GatewayObserver, UpstreamPublisher
from imgateway.wire.records import encode_undelivered

USERS_A_PART = 2_000
"""How many users stand in each part of an undelivered record that is too large for the broker."""

_Key = tuple[int, int, Undelivered, UserId]

_log = logging.getLogger(__name__)


@attrs.define(eq=False)
class _Leftovers:
    """One record's tickets that are still open."""

    on_done: Callable[[], None]
    open: int = 1

    def one_less(self) -> None:
        """A ticket is settled for good."""
        self.open -= 1
        if not self.open:
            self.on_done()


@attrs.define(eq=False)
class _Ticket:
    """One undelivered record. Implements `ports.PublishTicket`: an attempt that failed is made again."""

    writer: "UndeliveredWriter"
    record: ConsumedRecord
    reason: Undelivered
    users: Sequence[UserId]
    leftovers: _Leftovers
    whole: bool
    outgoing: OutgoingRecord

    def settled(self, outcome: Receipt | PublishFailure, /) -> None:
        """One attempt's outcome."""
        if isinstance(outcome, Receipt):
            self.writer.observer.undelivered(self.reason.value, len(self.users))
            self.leftovers.one_less()
        elif outcome is not PublishFailure.TOO_LARGE:
            self.writer.try_later(self)
        elif self.whole:
            for start in range(0, len(self.users), USERS_A_PART):
                part = self.users[start : start + USERS_A_PART]
                self.writer.offer(self.record, self.reason, part, self.leftovers, whole=False)
            self.leftovers.one_less()
        else:
            # It never fits: keeping it would hold back everything behind it for ever.
            _log.error("an undelivered record is too large for the broker", extra={"users": len(self.users)})
            self.writer.observer.undelivered("dropped-too-large", len(self.users))
            self.leftovers.one_less()


@attrs.define(eq=False)
class UndeliveredWriter:
    """Offers undelivered records in the order in which they come up, again and again until they are durable.

    One that the broker finds too large (many users in a large record) is written in parts: some of the users each, and
    the record without its own list of users. Bounded by its caller: a record stays open until it is done with.
    """

    publisher: UpstreamPublisher
    observer: GatewayObserver
    gateway_id: GatewayId
    topic: str
    _to_retry: dict[_Key, _Ticket] = attrs.field(factory=dict)

    def write(
        self, record: ConsumedRecord, left_out: Mapping[Undelivered, Sequence[UserId]], on_done: Callable[[], None], /
    ) -> None:
        """Write whom `record` did not reach, a record for each reason; `on_done` follows once, when all are durable."""
        leftovers = _Leftovers(on_done)
        for reason, users in left_out.items():
            self.offer(record, reason, users, leftovers, whole=True)
        leftovers.one_less()

    def offer(
        self,
        record: ConsumedRecord,
        reason: Undelivered,
        users: Sequence[UserId],
        leftovers: _Leftovers,
        /,
        *,
        whole: bool,
    ) -> None:
        """Make a ticket and offer it, behind those that wait already."""
        leftovers.open += 1
        outgoing = encode_undelivered(
            record.value, record.key, self.topic, reason, self.gateway_id, users, with_targets=whole
        )
        ticket = _Ticket(self, record, reason, users, leftovers, whole, outgoing)
        if self._to_retry or not self.publisher.offer(outgoing, ticket):
            self.try_later(ticket)

    def try_later(self, ticket: _Ticket, /) -> None:
        """Keep a ticket for the next `retry`."""
        if not self._to_retry:
            _log.warning("the undelivered topic takes nothing just now", extra={"topic": self.topic})
        # A record that was read again takes the place of what is left of its first reading.
        key = ticket.record.partition, ticket.record.offset, ticket.reason, ticket.users[0]
        self._to_retry.pop(key, None)
        self._to_retry[key] = ticket

    def retry(self) -> None:
        """Offer again what could not be written; call it every now and then."""
        for key, ticket in list(self._to_retry.items()):
            if not self.publisher.offer(ticket.outgoing, ticket):
                return
            del self._to_retry[key]
