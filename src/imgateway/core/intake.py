"""Client messages on their way up: bounded, written once, and answered when they are durable."""

import random
from collections import deque
from collections.abc import Mapping
from typing import Any, cast

import attrs

from imgateway.codes import Code
from imgateway.core.connection import LiveConnection
from imgateway.core.pulse import Hold
from imgateway.core.recall import MessageKey, Recalled, RecentMessages
from imgateway.core.topics import Topics
from imgateway.model import (
    ConversationId,
    Envelope,
    GatewayId,
    OutgoingRecord,
    Priority,
    PublishFailure,
    Receipt,
)
from imgateway.ports import Clock, GatewayObserver, UpstreamPublisher
from imgateway.wire.messages import UNSET, MarkRead, MessageAck, SendMessage
from imgateway.wire.records import encode_upstream

MAX_PENDING_BYTES = 64 * 1024 * 1024
DELIVERY_TIMEOUT_SECONDS = 10.0
RETRY_AFTER_SECONDS = 1

_SPENT = OutgoingRecord("", b"", b"")
"""In the place of a record that is settled: its message may stand among those that wait for a while yet."""


@attrs.define(eq=False)
class _Waiter:
    """A client that waits to hear about a message: the one who sent it, or a retry that joined."""

    connection: LiveConnection
    client_msg_id: str
    until: float
    answered: bool


@attrs.define(eq=False)
class _Pending(_Waiter):
    """One message between its client and the broker. Implements `ports.PublishTicket`.

    Attributes:
        joined: retries that wait with it.
    """

    intake: "Intake"
    record: OutgoingRecord
    key: MessageKey
    recalled: "Recalled[_Pending] | None"
    offered_at: float
    joined: list[_Waiter] | None = None

    @property
    def waits(self) -> bool:
        """Whether anybody still wants to hear."""
        return not self.answered or any(not waiter.answered for waiter in self.joined or ())

    def settled(self, outcome: Receipt | PublishFailure, /) -> None:
        """The broker's word."""
        self.intake.settled(self, outcome)


@attrs.define(eq=False)
class Intake:
    """Takes messages in, publishes them, and answers each exactly once while its connection lives.

    Order: a connection's messages of one conversation are offered to the publisher in the order received.
    Bounds: `max_inflight_messages` a connection and `max_pending_bytes` in all; a connection that meets a bound is not
    read from until there is room, so no more than one message of each waits outside.
    A message that is not durable within `delivery_timeout_seconds` is answered `UNAVAILABLE`: its outcome is unknown,
    its bytes stay counted until the publisher knows, and a retry until then joins it instead of being written again.
    """

    publisher: UpstreamPublisher
    observer: GatewayObserver
    clock: Clock
    gateway_id: GatewayId
    topics: Topics
    max_pending_bytes: int = MAX_PENDING_BYTES
    delivery_timeout_seconds: float = DELIVERY_TIMEOUT_SECONDS
    extra_as_text: bool = False
    _pending_bytes: int = 0
    _recent: RecentMessages[_Pending] = attrs.field(factory=RecentMessages)
    _stalled: deque[_Pending] = attrs.field(factory=deque)
    _waiting: deque[_Waiter] = attrs.field(factory=deque)

    def take(self, connection: LiveConnection, message: SendMessage | MarkRead, /) -> None:
        """Take in a client's message. Never blocks."""
        now = self.clock.monotonic()
        client_msg_id = "" if message.client_msg_id is UNSET else message.client_msg_id
        key = (cast(ConversationId, message.conversation_id), client_msg_id)
        recalled: Recalled[_Pending] | None = None
        if client_msg_id:
            fingerprint = _fingerprint(message)
            known = self._recent.find(connection.user_id, key, now)
            if known is not None:
                self._retried(connection, client_msg_id, known, fingerprint, now)
                return
            recalled = Recalled(fingerprint, now, None)
        until = now + self.delivery_timeout_seconds
        record = self._encode(connection, message, key)
        pending = _Pending(connection, client_msg_id, until, False, self, record, key, recalled, now)
        self._waiting.append(pending)
        connection.message_in_flight()
        if recalled is not None:
            recalled.pending = pending
            self._recent.remember(connection.user_id, key, recalled)
        if self._stalled or not self._offer(pending):
            self._stalled.append(pending)
            connection.hold(Hold.INTAKE)

    def settled(self, pending: _Pending, outcome: Receipt | PublishFailure, /) -> None:
        """The publisher's word on one message: remember or forget it, and answer whoever still waits."""
        now = self.clock.monotonic()
        self._pending_bytes -= len(pending.record.value)
        pending.record = _SPENT
        if pending.recalled is not None:
            pending.recalled.pending = None
            if isinstance(outcome, Receipt):
                pending.recalled.receipt = outcome
            else:
                self._forget(pending)
        if isinstance(outcome, Receipt):
            self.observer.published(now - pending.offered_at)
        if not pending.answered:
            self._answer(pending, outcome, "accepted")
        if pending.joined:
            for waiter in pending.joined:
                if not waiter.answered:
                    self._answer(waiter, outcome, "duplicate")
            pending.joined = None
        if self._stalled:
            self.offer_stalled()

    def tick(self) -> None:
        """Answer whoever has waited too long, and try what found no room. Call it every now and then."""
        now = self.clock.monotonic()
        while self._waiting and (self._waiting[0].answered or self._waiting[0].until <= now):
            waiter = self._waiting.popleft()
            if not waiter.answered:
                self._answer(waiter, PublishFailure.UNKNOWN, "")
        self.offer_stalled()
        self._recent.expire(now)

    def offer_stalled(self) -> None:
        """Offer what found no room, first come first served; what nobody waits for any more was never offered."""
        while self._stalled:
            pending = self._stalled[0]
            if not pending.waits:
                self._forget(pending)
            elif not self._offer(pending):
                return
            self._stalled.popleft()
            # Only the sender: retries that joined may be held for another message of their own.
            pending.connection.release(Hold.INTAKE)

    def _offer(self, pending: _Pending) -> bool:
        size = len(pending.record.value)
        if self._pending_bytes and self._pending_bytes + size > self.max_pending_bytes:
            return False
        taken = self.publisher.offer(pending.record, pending)
        if taken:
            self._pending_bytes += size
        return taken

    def _encode(self, connection: LiveConnection, message: SendMessage | MarkRead, key: MessageKey) -> OutgoingRecord:
        extra: Mapping[str, Any] | None
        if isinstance(message, SendMessage):
            message_type, content = message.message_type, message.content
            extra = None if message.extra is UNSET else cast(Mapping[str, Any], message.extra)
        else:
            message_type, content, extra = 0, "", {"seq_id": message.seq_id}
        envelope = Envelope(
            kind=message.TYPE,
            trace_id=random.randbytes(16).hex(),
            user_id=connection.user_id,
            gateway_id=self.gateway_id,
            conversation_id=key[0],
            message_type=message_type,
            content=content,
            client_msg_id=key[1],
            timestamp=self.clock.now(),
            extra=extra,
        )
        return encode_upstream(envelope, self.topics.upstream, Priority.NORMAL, extra_as_text=self.extra_as_text)

    def _join(self, pending: _Pending, connection: LiveConnection, now: float) -> None:
        waiter = _Waiter(connection, pending.client_msg_id, now + self.delivery_timeout_seconds, False)
        if pending.joined is None:
            pending.joined = []
        pending.joined.append(waiter)
        self._waiting.append(waiter)
        connection.message_in_flight()

    def _retried(
        self, connection: LiveConnection, client_msg_id: str, known: Recalled[_Pending], fingerprint: int, now: float
    ) -> None:
        if known.fingerprint != fingerprint:
            self.observer.message_up(Code.INVALID_MESSAGE.value)
            connection.say_error(
                Code.INVALID_MESSAGE,
                "This client_msg_id was used for another message of the conversation.",
                "client_msg_id_reused",
                about=client_msg_id,
            )
        elif known.receipt is not None:
            self.observer.message_up("duplicate")
            connection.say(_ack(client_msg_id, "duplicate", known.receipt))
        elif known.pending is not None:
            self._join(known.pending, connection, now)

    def _answer(self, waiter: _Waiter, outcome: Receipt | PublishFailure, status: str) -> None:
        waiter.answered = True
        connection, client_msg_id = waiter.connection, waiter.client_msg_id
        if isinstance(outcome, Receipt):
            self.observer.message_up(status)
            if client_msg_id:
                connection.say(_ack(client_msg_id, status, outcome))
        else:
            about = client_msg_id or None
            if outcome is PublishFailure.TOO_LARGE:
                code, text, retry_after = Code.MESSAGE_TOO_LARGE, "The back end takes no message of this size.", None
            else:
                code, retry_after = Code.UNAVAILABLE, RETRY_AFTER_SECONDS
                text = "The outcome is unknown: send it again with the same client_msg_id."
            self.observer.message_up(code.value)
            connection.say_error(code, text, about=about, retry_after=retry_after)
        connection.message_answered()

    def _forget(self, pending: _Pending) -> None:
        if pending.recalled is not None:
            self._recent.forget(pending.connection.user_id, pending.key, pending.recalled)


def _ack(client_msg_id: str, status: str, receipt: Receipt) -> MessageAck:
    return MessageAck(client_msg_id, status, receipt.topic, receipt.partition, receipt.offset)


def _fingerprint(message: SendMessage | MarkRead) -> int:
    if isinstance(message, SendMessage):
        return hash((message.TYPE, message.content))
    return hash((message.TYPE, message.seq_id))
