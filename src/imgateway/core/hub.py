"""All connections of the gateway, and what happens to them from admission to their socket's end."""

import secrets
from collections import deque
from collections.abc import Callable

import anyio

from imgateway.codes import Code
from imgateway.core.admission import Admission, Admitted, Place
from imgateway.core.calls import Calls
from imgateway.core.connection import LiveConnection
from imgateway.core.eviction import Evictor
from imgateway.core.flushing import Flusher
from imgateway.core.heartbeat import HeartbeatWheel
from imgateway.core.intake import Intake
from imgateway.core.parts import GatewayParts
from imgateway.core.presence import Presence
from imgateway.core.pulse import Hold
from imgateway.core.registry import ConnectionRegistry
from imgateway.core.settings import ConnectionSettings, Settings
from imgateway.core.settings_grpc import GrpcSettings
from imgateway.core.settings_services import KafkaSettings
from imgateway.model import CloseReason, ConnectionId, Credentials, DevicePolicy, Refusal
from imgateway.ports import Clock, Codec, GatewayObserver, Transport, TransportListener
from imgateway.wire.messages import Call, MarkRead, SendMessage, TokenRefreshed, Welcome

TICK_SECONDS = 0.25
ID_BYTES = 16
"""128 random bits: connection and session ids can't be guessed."""


class ConnectionHub:
    """Implements `connection.ConnectionHost`. Opened and run by its gateway."""

    def __init__(self, settings: Settings, parts: GatewayParts) -> None:
        # Kept: without a setting the id is made of the host name, which would be asked for on every connection.
        self._gateway_id = settings.gateway_id
        self.clock: Clock = parts.clock
        self.observer: GatewayObserver = parts.observer
        self.limits: ConnectionSettings = settings.connections
        self.expiry_grace_ms = int(settings.auth.expiry_grace_seconds * 1000)
        self.registry = ConnectionRegistry()
        self.presence = Presence(
            parts.sessions,
            self._gateway_id,
            parts.session_ttl_seconds,
            may_write=lambda: parts.ownership.held,
            policy=DevicePolicy(self.limits.max_per_user, refuses=self.limits.on_excess == "refuse"),
            on_displaced=Evictor(self.registry, parts.publisher, parts.topics, self._gateway_id).evict,
        )
        self.admission = Admission(
            parts.authenticator,
            self.registry,
            parts.observer,
            parts.clock,
            self.limits,
            self.expiry_grace_ms,
            self.presence.elsewhere,
        )
        broker = settings.kafka or KafkaSettings()
        self.intake = Intake(
            parts.publisher,
            parts.observer,
            parts.clock,
            self._gateway_id,
            parts.topics,
            delivery_timeout_seconds=broker.delivery_timeout_seconds,
            extra_as_text=broker.extra_as == "string",
        )
        self.calls = Calls(parts.transcoder, parts.observer, parts.clock, settings.grpc or GrpcSettings())
        self._flusher = Flusher(parts.clock)
        self._wheel = HeartbeatWheel(TICK_SECONDS)
        self._sockets: dict[LiveConnection, Place] = {}
        self._new_tokens: deque[tuple[LiveConnection, str]] = deque()
        self._token_arrived = anyio.Event()
        self._emptied = anyio.Event()

    async def run(self) -> None:
        """Flush, beat and keep presence until cancelled."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._flusher.run)
            tasks.start_soon(self.presence.run)
            tasks.start_soon(self._check_tokens)
            tasks.start_soon(self.calls.run)
            tasks.start_soon(self.admission.turnstile.run)
            while True:
                await anyio.sleep(TICK_SECONDS)
                self.tick()

    def tick(self) -> None:
        """Do what is due by the clock."""
        self._wheel.advance(self.clock.monotonic())
        self.intake.tick()
        self.presence.tick()

    # Connections come and go.

    async def open(
        self, admitted: Admitted, codec: Codec, attach: Callable[[TransportListener], Transport], /
    ) -> LiveConnection:
        """Turn an accepted upgrade into a live connection, and welcome it when its presence is written.

        `attach` gives the transport to the listener. The place is given back when the socket ends, however it ends.
        """
        request, identity = admitted.request, admitted.identity
        connection = LiveConnection(
            self,
            ConnectionId(secrets.token_urlsafe(ID_BYTES)),
            identity,
            codec,
            device_id=request.device_id,
            platform=request.platform,
            client_ip=request.credentials.client_ip,
        )
        try:
            transport = attach(connection)
        except BaseException:
            self.admission.leave(admitted.place)
            raise
        self._sockets[connection] = admitted.place
        connection.attached(transport)
        self.observer.connection_opened()
        if shut := self.admission.closed:
            connection.close(CloseReason.of(shut.code))
            return connection
        if refusal := self._make_room(connection, admitted):
            connection.close(CloseReason.of(refusal.code))
            return connection
        self.registry.add(connection)
        try:
            await self.presence.announce(connection)
        except BaseException:
            # Nobody would ever welcome it.
            connection.cut_off(CloseReason.of(Code.UNAVAILABLE))
            raise
        if connection.closed:
            return connection
        self._wheel.add(connection, connection.first_beat())
        interval = self.limits.ping_interval_seconds
        connection.welcome(
            Welcome(
                connection_id=connection.connection_id,
                gateway_id=self._gateway_id,
                session_id=secrets.token_urlsafe(ID_BYTES),
                user_id=connection.user_id,
                ping_interval_seconds=int(interval) if interval == int(interval) else interval,
                token_expires_at=identity.expires_at,
            )
        )
        return connection

    def _make_room(self, connection: LiveConnection, admitted: Admitted) -> Refusal | None:
        """Let the device's older connection go first, then the user's oldest ones, until the new one fits.

        Only those of this gateway: of the other ones' the session store is asked next, and it may be down.
        """
        replaced = CloseReason.of(Code.REPLACED)
        if connection.device_id is not None:
            for older in self.registry.of_user(connection.user_id):
                if older.device_id == connection.device_id:
                    older.close(replaced)
        refusal = self.admission.refuse_excess(admitted.identity, admitted.request)
        if refusal is None:
            others = self.registry.of_user(connection.user_id)
            for oldest in others[: max(0, len(others) + 1 - self.limits.max_per_user)]:
                oldest.close(replaced)
        return refusal

    def retired(self, connection: LiveConnection, /) -> None:
        """A connection takes no more frames."""
        self.registry.remove(connection)
        self._wheel.remove(connection)
        self.presence.withdraw(connection)
        self.calls.cancel(connection)

    def gone(self, connection: LiveConnection, close_code: int, /) -> None:
        """A connection's socket is closed."""
        place = self._sockets.pop(connection, None)
        if place is not None:
            self.admission.leave(place)
        self.observer.connection_closed(close_code)
        if not self._sockets:
            self._emptied.set()

    @property
    def connections(self) -> list[LiveConnection]:
        """Everyone whose socket is open, the closing ones included."""
        return list(self._sockets)

    async def wait_empty(self) -> None:
        """Return when no socket is open."""
        while self._sockets:
            if self._emptied.is_set():
                self._emptied = anyio.Event()
            await self._emptied.wait()

    def let_go_of_slow(self, seconds: float, /) -> None:
        """Close whoever holds back a record for `seconds` or longer."""
        for connection in self.connections:
            if connection.holds_back_for() >= seconds:
                connection.close(CloseReason.of(Code.SLOW_CONSUMER))

    # What connections ask for.

    @property
    def wheel_time(self) -> float:
        """The heartbeat wheel's time."""
        return self._wheel.now

    def mark_dirty(self, connection: LiveConnection, /) -> None:
        """Flush it in the next turn."""
        self._flusher.mark(connection)

    def hurry(self) -> None:
        """It has much to flush: it shall have its turn before it is sent more."""
        self._flusher.hurried = True

    @property
    def hurried(self) -> bool:
        """Whether a connection waits for its turn with much to flush."""
        return self._flusher.hurried

    def message_arrived(self, connection: LiveConnection, message: SendMessage | MarkRead, /) -> None:
        """Take the message in."""
        self.intake.take(connection, message)

    def call_arrived(self, connection: LiveConnection, call: Call, /) -> None:
        """Make the call."""
        self.calls.take(connection, call)

    def token_arrived(self, connection: LiveConnection, token: str, /) -> None:
        """Check the token, without reading on meanwhile."""
        connection.hold(Hold.REFRESH)
        self._new_tokens.append((connection, token))
        self._token_arrived.set()

    async def _check_tokens(self) -> None:
        # Transports may call from outside any task, where no task can be started. At most one token a connection waits.
        async with anyio.create_task_group() as checks:
            while True:
                await self._token_arrived.wait()
                self._token_arrived = anyio.Event()
                while self._new_tokens:
                    checks.start_soon(self._refresh, *self._new_tokens.popleft())

    async def _refresh(self, connection: LiveConnection, token: str) -> None:
        identity = await self.admission.verify(Credentials(token, client_ip=connection.client_ip))
        if isinstance(identity, Refusal):
            connection.say_error(identity.code, identity.message, identity.details, retry_after=identity.retry_after)
        elif identity.user_id != connection.user_id:
            connection.say_error(Code.FORBIDDEN, "The token is another user's.", "other_user")
        else:
            connection.proven(identity)
            connection.say(TokenRefreshed(identity.expires_at))
            if not connection.closed:
                self._wheel.remove(connection)
                self._wheel.add(connection, self._wheel.now)
        connection.release(Hold.REFRESH)
