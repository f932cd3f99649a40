"""Fans downstream records out to local connections, and sees to those whom nobody here could reach."""

import logging
from collections.abc import Callable

import attrs

from imgateway.core.eviction import close_if_here
from imgateway.core.settlement import RecordSettlement
from imgateway.core.undelivered import UndeliveredWriter
from imgateway.errors import RecordError
from imgateway.model import (
    ConsumedRecord,
    Delivery,
    GatewayId,
    SendOutcome,
    Signal,
    Undelivered,
)
from imgateway.ports import Clock, Codec, ConnectionRegistry, GatewayObserver, UpstreamPublisher
from imgateway.wire.frames import Frame, text_frame
from imgateway.wire.messages import UNSET, NewMessage, SenderData, ServerMessage, SignalMessage
from imgateway.wire.records import decode_downstream, evicted_by

_QUEUED = SendOutcome.QUEUED  # a look-up by name costs more than the comparison

_log = logging.getLogger(__name__)


@attrs.define(eq=False)
class LocalRouter:
    """Implements `ports.DownstreamRouter` over the connections of this process.

    Each record is encoded once for each codec in use, whatever the number of recipients. Memory is bounded by its
    caller: no more records are open than the caller has routed and not yet seen settled.
    """

    registry: ConnectionRegistry
    publisher: UpstreamPublisher
    observer: GatewayObserver
    clock: Clock
    gateway_id: GatewayId
    undelivered_topic: str
    _undelivered: UndeliveredWriter = attrs.field(init=False)

    @_undelivered.default
    def _make_writer(self) -> UndeliveredWriter:
        return UndeliveredWriter(self.publisher, self.observer, self.gateway_id, self.undelivered_topic)

    def route(self, record: ConsumedRecord, on_settled: Callable[[], None], /) -> None:
        """Hand the record to every connection of every target; see the port."""
        if record.headers and (evicted := evicted_by(record)):
            close_if_here(self.registry, *evicted)
            on_settled()
            return
        try:
            parsed = decode_downstream(record.value)
        except RecordError as error:
            self.observer.delivery("unparsable", 1)
            _log.warning(
                "skipped a downstream record that can't be parsed",
                extra={"partition": record.partition, "offset": record.offset, "why": str(error)},
            )
            on_settled()
            return
        if isinstance(parsed, Signal):
            self._route_signal(parsed)
            on_settled()
        else:
            self._route_delivery(parsed, record, on_settled)

    def retry(self) -> None:
        """Offer again what could not be written to the undelivered topic; call it every now and then."""
        self._undelivered.retry()

    def _route_signal(self, signal: Signal) -> None:
        message = SignalMessage(signal.signal_type, signal.payload)
        frames: dict[str, Frame] = {}
        dropped = 0
        for user_id in signal.targets:
            connections = self.registry.of_user(user_id)
            sent = 0
            for connection in connections:
                frame = self._frame(message, connection.codec, frames)
                sent += connection.send(frame) is SendOutcome.QUEUED
            dropped += not sent
        if dropped:
            self.observer.delivery("dropped", dropped)

    def _route_delivery(self, delivery: Delivery, record: ConsumedRecord, on_settled: Callable[[], None]) -> None:
        message = _new_message(delivery, redelivered=record.redelivered)
        frames: dict[str, Frame] = {}
        codec: Codec | None = None
        settlement = RecordSettlement(record, self._finished, on_settled)
        device_id = delivery.target_device_id
        of_user, queued = self.registry.of_user, 0
        for user_id in delivery.targets:
            connections = of_user(user_id)
            if device_id is not None:
                connections = [connection for connection in connections if connection.device_id == device_id]
            if not connections:
                settlement.leave_out(user_id, Undelivered.NO_CONNECTION)
                continue
            if len(connections) > 1:
                settlement.expect_several()
            for connection in connections:
                if connection.codec is not codec:
                    codec = connection.codec
                    frame = self._frame(message, codec, frames)
                outcome = connection.send(frame, settlement)
                if outcome is _QUEUED:
                    queued += 1
                elif outcome is SendOutcome.OVERFLOW:
                    settlement.leave_out(user_id, Undelivered.SLOW_CONSUMER)
                else:
                    settlement.leave_out(user_id, Undelivered.NO_CONNECTION)
        settlement.seal(queued)

    def _frame(self, message: ServerMessage, codec: Codec, frames: dict[str, Frame]) -> Frame:
        frame = frames.get(codec.name)
        if frame is None:
            frame = frames[codec.name] = text_frame(codec.encode(message, self.clock.now()))
        return frame

    def _finished(self, settlement: RecordSettlement) -> None:
        left_out = settlement.left_out()
        if left_out:
            self._undelivered.write(settlement.record, left_out, settlement.on_settled)
        else:
            settlement.on_settled()


def _new_message(delivery: Delivery, *, redelivered: bool) -> NewMessage:
    sender = delivery.sender
    return NewMessage(
        id=delivery.message_id,
        conversation_id=delivery.conversation_id,
        sender=SenderData(sender.id, sender.username, sender.avatar_url),
        content=delivery.content,
        message_type=delivery.message_type,
        seq_id=delivery.seq_id,
        created_at=delivery.timestamp,
        client_msg_id=UNSET if delivery.client_msg_id is None else delivery.client_msg_id,
        extra=UNSET if delivery.extra is None else delivery.extra,
        redelivered=True if redelivered else UNSET,
    )
