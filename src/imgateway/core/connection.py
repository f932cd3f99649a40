"""One live client: the policy between its transport, its session and the rest of the gateway."""

from imgateway.codes import RFC_UNSUPPORTED_DATA, Code
from imgateway.core.connection_host import ConnectionHost
from imgateway.core.outbox import Outbox
from imgateway.core.pulse import ControlBudget, Hold, Pulse, Verdict
from imgateway.model import (
    CloseReason,
    ConnectionId,
    DeviceId,
    Identity,
    SendOutcome,
    Undelivered,
    UserId,
)
from imgateway.ports import Codec, Settlement, Transport
from imgateway.wire.frames import Frame, text_frame
from imgateway.wire.messages import (
    UNSET,
    Call,
    ErrorMessage,
    MarkRead,
    Ping,
    Pong,
    RefreshToken,
    SendMessage,
    ServerMessage,
    Welcome,
)
from imgateway.wire.session import ClientSession, Rejected, SessionMove, SessionState

MOST_HELD_SECONDS = 60.0
"""A client that does not take a record for so long is let go of: until then nothing behind it can be committed."""

# A member of an enumeration costs a look-up by name; these are asked for with every frame.
_OPENING, _CLOSED = SessionState.OPENING, SessionState.CLOSED
_QUEUED = SendOutcome.QUEUED


class LiveConnection:
    """Implements `ports.ClientConnection`, and listens to its transport (`ports.TransportListener`).

    Life: attached (nothing is read, frames wait) → `welcome` → `close` or `lost`. Everything is synchronous and runs
    in the event loop's thread. A connection has no task and no timer of its own.
    """

    __slots__ = (
        "__weakref__",
        "_backlog",
        "_close_when_idle",
        "_codec",
        "_connection_id",
        "_control_budget",
        "_device_id",
        "_host",
        "_much",
        "_outbox",
        "_pulse",
        "_session",
        "_told_waiting",
        "_transport",
        "client_ip",
        "connected_at",
        "identity",
        "in_flight",
        "marked",
        "platform",
        "slot",
    )

    def __init__(
        self,
        host: ConnectionHost,
        connection_id: ConnectionId,
        identity: Identity,
        codec: Codec,
        *,
        device_id: DeviceId | None = None,
        platform: str | None = None,
        client_ip: str | None = None,
    ) -> None:
        self._host = host
        self._connection_id = connection_id
        self.identity = identity
        self._codec = codec
        self._device_id = device_id
        self.platform = platform
        self.client_ip = client_ip
        self.connected_at = host.clock.now()
        limits = host.limits
        self._session = ClientSession(codec, limits.max_content_bytes, limits.max_malformed_frames)
        self._outbox = Outbox(limits.send_queue_bytes)
        self._much = limits.send_queue_bytes // 2
        self._backlog = 0
        self._told_waiting = 0
        self._transport: Transport | None = None
        self._pulse = Pulse()
        self._control_budget = ControlBudget()
        self._close_when_idle: CloseReason | None = None
        self.in_flight = 0
        self.marked = False
        self.slot = -1

    # What others see of it.

    @property
    def connection_id(self) -> ConnectionId:
        """Unique over all gateways, and not guessable."""
        return self._connection_id

    @property
    def user_id(self) -> UserId:
        """The verified user."""
        return self.identity.user_id

    @property
    def device_id(self) -> DeviceId | None:
        """The device it said it is."""
        return self._device_id

    @property
    def codec(self) -> Codec:
        """How its frames are written."""
        return self._codec

    @property
    def closed(self) -> bool:
        """Whether it takes no more frames."""
        return self._session.state is SessionState.CLOSED

    def holds_back_for(self) -> float:
        """For how many seconds the oldest record that the kernel has not taken has been waiting; 0 if there is none."""
        since = self._outbox.oldest_unsettled()
        return 0.0 if since is None else self._host.wheel_time - since

    # Life.

    def attached(self, transport: Transport, /) -> None:
        """The transport is there. Nothing is read and nothing written until `welcome`."""
        self._transport = transport
        self.hold(Hold.OPENING)

    def welcome(self, welcome: Welcome, /) -> None:
        """Say welcome, before anything that was sent meanwhile, and begin to read."""
        if self.closed:
            return
        self._session.move(SessionMove.WELCOME)
        self._outbox.put_first(text_frame(self._codec.encode(welcome, self._host.clock.now())))
        self._host.mark_dirty(self)
        self.release(Hold.OPENING)

    def close(self, reason: CloseReason, /) -> None:
        """End the connection; the first reason counts."""
        self._end(reason, None)

    def _end(self, reason: CloseReason, farewell: ServerMessage | None) -> None:
        if self.closed:
            return
        welcomed = self._session.state is not SessionState.OPENING
        self._retire()
        transport = self._transport
        if transport is None:
            return
        if reason.code == CloseReason.of(Code.SLOW_CONSUMER).code:
            self._abandon(Undelivered.SLOW_CONSUMER)
        elif welcomed:
            self.flush()
        else:
            # Nothing comes before a welcome, and there will be none.
            self._abandon(Undelivered.NO_CONNECTION)
        if farewell is not None:
            transport.write((text_frame(self._codec.encode(farewell, self._host.clock.now())),))
        transport.close(reason)

    def drain(self, farewell: ServerMessage, reason: CloseReason, /) -> None:
        """Say farewell, take no new messages, and close once those in flight are answered."""
        state = self._session.state
        if state is SessionState.OPENING:
            self._end(reason, farewell)
        if state is not SessionState.OPEN:
            return
        self.say(farewell)
        self._session.move(SessionMove.DRAIN)
        if self.in_flight:
            self._close_when_idle = reason
        else:
            self.close(reason)

    def cut_off(self, reason: CloseReason, /) -> None:
        """End the connection at once: the close frame is tried, nothing is waited for."""
        self.close(reason)
        if self._transport is not None:
            self._transport.abort()

    def _retire(self) -> None:
        self._session.move(SessionMove.CLOSE)
        self._host.retired(self)

    # Down: frames to the client.

    def send(self, frame: Frame, settlement: Settlement | None = None, /) -> SendOutcome:
        """Hand over a frame; see the port."""
        if self._session.state is _CLOSED:
            return SendOutcome.CLOSED
        # The transport's buffer grows by what is flushed only, and is looked at then.
        buffered = self._look_at_buffer() if self._backlog else 0
        if not self._outbox.offer(frame, buffered, settlement):
            self.close(CloseReason.of(Code.SLOW_CONSUMER))
            return SendOutcome.OVERFLOW
        if not self.marked:
            self._host.mark_dirty(self)
        if self._outbox.pending_bytes + buffered > self._much:
            self._host.hurry()
        return _QUEUED

    def say(self, message: ServerMessage, /) -> SendOutcome:
        """Encode and send a message to this client alone."""
        return self.send(text_frame(self._codec.encode(message, self._host.clock.now())))

    def say_error(
        self, code: Code, message: str, details: str = "", *, about: str | None = None, retry_after: int | None = None
    ) -> None:
        """Tell the client what was refused; `about` is the message's `client_msg_id`."""
        named = UNSET if about is None else about
        later = UNSET if retry_after is None else retry_after
        self.say(ErrorMessage(code.value, message, details, named, later))

    def flush(self) -> bool:
        """Write everything that waits; False where the kernel has not taken it all yet."""
        transport = self._transport
        if transport is None or self._session.state is _OPENING:
            self._tell_of_waiting()
            return True
        outbox = self._outbox
        if outbox.pending_bytes:
            transport.write(outbox.take(self._host.wheel_time))
        self.settle()
        return not self._backlog

    def settle(self) -> None:
        """Report the records that the kernel has taken."""
        done = self._outbox.handed_over(self._look_at_buffer())
        if done:
            self._host.observer.delivery("handed_over", len(done))
            user_id = self.identity.user_id
            for settlement in done:
                settlement.handed_over(user_id)

    def _look_at_buffer(self) -> int:
        transport = self._transport
        self._backlog = buffered = 0 if transport is None else transport.buffered_bytes
        if buffered or self._told_waiting:
            self._tell_of_waiting()
        return buffered

    def _tell_of_waiting(self) -> None:
        waiting = self._backlog + self._outbox.pending_bytes
        self._host.observer.outbox_bytes(waiting - self._told_waiting)
        self._told_waiting = waiting

    def _abandon(self, reason: Undelivered) -> None:
        abandoned = self._outbox.abandon()
        if abandoned:
            self._host.observer.delivery("missed", len(abandoned))
        self._tell_of_waiting()
        for settlement in abandoned:
            settlement.missed(self.identity.user_id, reason)

    # Up: what the transport tells.

    def heard(self) -> None:
        """Any frame arrived."""
        self._pulse.heard()

    def receive_text(self, text: str, /) -> None:
        """A text frame."""
        message = self._session.receive(text)
        kind = type(message)
        if kind is SendMessage or kind is MarkRead:
            self._host.message_arrived(self, message)  # type: ignore[arg-type]  # `kind` says what it is
        elif kind is Ping:
            if self._afford_control():
                self.say(Pong())
        elif isinstance(message, Call):
            self._host.call_arrived(self, message)
        elif isinstance(message, RefreshToken):
            if self._afford_control():
                self._host.token_arrived(self, message.token)
        elif isinstance(message, Rejected):
            self._rejected(message)

    def receive_binary(self, data: bytes, /) -> None:
        """A binary frame: not part of the protocol."""
        self.close(CloseReason(RFC_UNSUPPORTED_DATA, "text frames only"))

    def pinged(self) -> None:
        """A protocol ping."""
        self._afford_control()

    def drained(self) -> None:
        """The kernel took everything."""
        self.settle()

    def lost(self, close_code: int, /) -> None:
        """The socket is closed."""
        if not self.closed:
            self._retire()
        self._abandon(Undelivered.NO_CONNECTION)
        self._transport = None
        self._look_at_buffer()
        self._host.gone(self, close_code)

    def _rejected(self, rejected: Rejected) -> None:
        refusal = rejected.refusal
        self._host.observer.message_up(refusal.code.value)
        self.say_error(
            refusal.code,
            refusal.message,
            refusal.details,
            about=rejected.client_msg_id,
            retry_after=refusal.retry_after,
        )
        if rejected.final:
            self.close(CloseReason.of(Code.INVALID_MESSAGE))

    def _afford_control(self) -> bool:
        affordable = self._control_budget.spend(self._host.clock.monotonic())
        if not affordable:
            self.close(CloseReason.of(Code.RATE_LIMITED))
        return affordable

    # Back-pressure.

    def hold(self, why: Hold, /) -> None:
        """Stop reading; deadlines stand still until every hold is released."""
        if self._pulse.hold(why, self._host.wheel_time) and self._transport is not None:
            self._transport.pause_reading()

    def release(self, why: Hold, /) -> None:
        """Release one hold; reading goes on with the last."""
        if self._pulse.release(why, self._host.wheel_time) and self._transport is not None:
            self._transport.resume_reading()

    def message_in_flight(self) -> None:
        """One more message waits for its answer."""
        self.in_flight += 1
        if self.in_flight >= self._host.limits.max_inflight_messages:
            self.hold(Hold.WINDOW)

    def message_answered(self) -> None:
        """One message less does."""
        self.in_flight -= 1
        if self.in_flight == self._host.limits.max_inflight_messages - 1:
            self.release(Hold.WINDOW)
        if not self.in_flight and self._close_when_idle is not None:
            self.close(self._close_when_idle)

    # Time.

    def first_beat(self) -> float:
        """When to be asked first, in the wheel's time."""
        now = self._host.wheel_time
        self._pulse.begin(now, self._host.limits)
        return min(self._pulse.next_check, now + self._seconds_left())

    def proven(self, identity: Identity, /) -> None:
        """A newer token for the same user was verified."""
        self.identity = identity
        self._pulse.held_seconds = 0.0

    def beat(self, now: float, /) -> float | None:
        """Ping, and end what is dead or expired."""
        transport = self._transport
        if self.closed or transport is None:
            return None
        self.settle()
        if self.holds_back_for() >= MOST_HELD_SECONDS:
            self.close(CloseReason.of(Code.SLOW_CONSUMER))
            return None
        if self._pulse.holds:
            return now + 1.0
        left = self._seconds_left()
        if left <= 0:
            self.close(CloseReason.of(Code.TOKEN_EXPIRED))
            return None
        verdict = self._pulse.check(now, self._host.limits, pings=transport.sends_pings)
        if verdict is Verdict.DEAD:
            self.close(CloseReason.of(Code.PING_TIMEOUT))
            return None
        if verdict is Verdict.PING:
            transport.ping()
        return min(self._pulse.next_check, now + left)

    def _seconds_left(self) -> float:
        """Until the token's grace ends; time in which the client could not be heard does not count."""
        ends = self.identity.expires_at + self._host.expiry_grace_ms
        return (ends - self._host.clock.now()) / 1000 + self._pulse.held_seconds
