"""Gateways for tests: memory parts with faults to switch on, a clock that tests turn, clients on simulated sockets."""

import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import ExitStack, asynccontextmanager
from typing import Any
from unittest import mock

import anyio
import anyio.abc
import anyio.lowlevel
import attrs
from tests.sockets import SimulatedSocket

from imgateway.adapters.memory import (
    CountingObserver,
    MemoryBroker,
    MemoryConsumer,
    MemoryPublisher,
    MemorySessionStore,
)
from imgateway.adapters.memory.services import MemoryServiceRegistry
from imgateway.codes import Code
from imgateway.core.admission import Admitted
from imgateway.core.connection import LiveConnection
from imgateway.core.gateway import SERVICE_NAME, Gateway
from imgateway.core.hub import TICK_SECONDS, ConnectionHub
from imgateway.core.parts import GatewayParts
from imgateway.core.router import LocalRouter
from imgateway.core.settings import AuthSettings, ConnectionSettings, GatewaySettings, Settings
from imgateway.core.topics import Topics
from imgateway.model import (
    ConnectRequest,
    ConsumedRecord,
    Credentials,
    DeviceId,
    GatewayId,
    Identity,
    OutgoingRecord,
    Receipt,
    Refusal,
    SessionRecord,
    UserId,
)
from imgateway.ports import Codec, DownstreamConsumer, GatewayOwnership, ServiceRegistrar, Transcoder
from imgateway.testing import FaultyPublisher, FaultySessionStore, VirtualClock
from imgateway.wire.json_codec import JsonCodec

GATEWAY_ID = GatewayId("gw-1")
PATIENCE_SECONDS = 30.0
QUIET_TURNS = 50
PAUSES = {
    "imgateway.core.retrying.FIRST_PAUSE_SECONDS": 0.001,
    "imgateway.core.delivery.COMMIT_SECONDS": 0.001,
    "imgateway.core.delivery.STALL_SECONDS": 0.001,
    "imgateway.core.gateway.RETRY_SECONDS": 0.001,
    "imgateway.core.draining.STEP_SECONDS": 0.001,
}
"""Waiting between attempts, shortened."""


async def eventually(condition: Callable[[], object], /) -> None:
    """Return as soon as `condition` holds."""
    with anyio.fail_after(PATIENCE_SECONDS):
        while not condition():
            await anyio.lowlevel.checkpoint()


async def quiet() -> None:
    """Give what should not happen by itself, short of timers, many times the turns it would take."""
    for _ in range(QUIET_TURNS):
        await anyio.lowlevel.checkpoint()


def settings(*, drain_seconds: float = 30.0, expiry_grace_seconds: float = 25.0, **connections: Any) -> Settings:
    """Settings; further arguments are those of `[connections]`."""
    return Settings(
        gateway=GatewaySettings(id=GATEWAY_ID, drain_seconds=drain_seconds),
        auth=AuthSettings(expiry_grace_seconds=expiry_grace_seconds),
        connections=ConnectionSettings(**connections),
    )


@attrs.define(eq=False)
class Tokens:
    """Implements `ports.Authenticator`: a token reads `user` or `user@expiry`; `bad` is refused, `raise` is a bug.

    Attributes:
        expires_at: when tokens expire that don't say so.
        busy: while set, nobody is answered.
        asked: what clients showed, in order.
    """

    expires_at: int = 2**52
    busy: anyio.Event | None = None
    asked: list[Credentials] = attrs.field(factory=list)

    async def authenticate(self, credentials: Credentials, /) -> Identity | Refusal:
        if self.busy is not None:
            await self.busy.wait()
        self.asked.append(credentials)
        token = credentials.token
        if token == "raise":
            raise ValueError("a bug of the plugin")
        if token is None or token == "bad":
            return Refusal(Code.UNAUTHENTICATED, "no", "signature")
        user, _, expiry = token.partition("@")
        return Identity(UserId(user), int(expiry or self.expires_at))

    async def aclose(self) -> None:
        pass


@attrs.define(eq=False)
class Client:
    """A client and its connection.

    Attributes:
        heard: how many of the frames received were looked at.
    """

    socket: SimulatedSocket
    connection: LiveConnection
    heard: int = 0

    def say(self, type_: str, /, **data: Any) -> None:
        """Send a frame."""
        self.socket.send(json.dumps({"type": type_, "data": data}))

    def send_message(self, client_msg_id: str, content: str = "hello", conversation_id: str = "c") -> None:
        """Send a message."""
        self.say(
            "send-message",
            conversationId=conversation_id,
            content=content,
            messageType=1,
            client_msg_id=client_msg_id,
        )

    async def next(self, type_: str, /) -> dict[str, Any]:
        """The data of the next frame, which must be of this type."""
        await eventually(lambda: len(self.socket.received) > self.heard)
        frame = self.socket.received[self.heard]
        self.heard += 1
        assert frame["type"] == type_, frame
        data = frame["data"]
        assert isinstance(data, dict)
        return data

    @property
    def unheard(self) -> list[dict[str, Any]]:
        """The frames received that nobody looked at."""
        return self.socket.received[self.heard :]

    async def ended(self) -> int:
        """The close code, once the connection has ended."""
        await eventually(lambda: self.socket.over is not None)
        assert self.socket.over is not None
        return self.socket.over


@attrs.define(eq=False)
class World:
    """What gateways stand on, shared by those of one test."""

    tasks: anyio.abc.TaskGroup
    publisher: FaultyPublisher
    broker: MemoryBroker
    clock: VirtualClock = attrs.field(factory=VirtualClock)
    observer: CountingObserver = attrs.field(factory=CountingObserver)
    tokens: Tokens = attrs.field(factory=Tokens)
    services: MemoryServiceRegistry = attrs.field(factory=MemoryServiceRegistry)
    topics: Topics = attrs.field(factory=Topics)
    transcoder: Transcoder | None = None
    around_consumer: Callable[[DownstreamConsumer], DownstreamConsumer] = lambda consumer: consumer
    around_registrar: Callable[[ServiceRegistrar], ServiceRegistrar] = lambda registrar: registrar
    around_ownership: Callable[[GatewayOwnership], GatewayOwnership] = lambda ownership: ownership
    sessions: FaultySessionStore = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.sessions = FaultySessionStore(MemorySessionStore(60.0, self.clock))

    def parts(self, *, session_ttl_seconds: float = 60.0, gateway_id: GatewayId = GATEWAY_ID) -> GatewayParts:
        """The parts of one gateway."""
        topic, group = self.topics.downstream(gateway_id), self.topics.downstream_group(gateway_id)
        return GatewayParts(
            authenticator=self.tokens,
            publisher=self.publisher,
            consumer=lambda: self.around_consumer(MemoryConsumer(self.broker, topic, group)),
            sessions=self.sessions,
            registrar=self.around_registrar(self.services.registrar()),
            ownership=self.around_ownership(self.services.ownership()),
            observer=self.observer,
            clock=self.clock,
            topics=self.topics,
            session_ttl_seconds=session_ttl_seconds,
            transcoder=self.transcoder,
        )

    async def online(self, user: str) -> Sequence[SessionRecord]:
        """The user's presence, whatever faults are switched on."""
        return await self.sessions.inner.lookup(UserId(user))

    def published(self, topic: str | None = None) -> list[dict[str, Any]]:
        """The values of a topic's records, upstream unless told otherwise, partition by partition."""
        return [json.loads(record.value) for record in self.broker.records(topic or self.topics.upstream)]

    def undelivered(self) -> list[tuple[str, list[str], Any]]:
        """Reason, users and message id of each record in the undelivered topic."""
        return [
            (value["reason"], value["target_user_ids"], value["record"]["message_id"])
            for value in self.published(self.topics.undelivered)
        ]

    async def registered(self) -> list[str]:
        """The gateways that others can find."""
        return [instance.id for instance in await self.services.resolver().resolve(SERVICE_NAME)]

    def write_downstream(self, value: bytes, key: bytes = b"c") -> None:
        """Write a record for the gateway, as a back end does."""
        written = self.broker.append(OutgoingRecord(self.topics.downstream(GATEWAY_ID), key, value))
        assert isinstance(written, Receipt)

    def committed(self, gateway_id: GatewayId = GATEWAY_ID) -> int:
        """How many records of the gateway's topic are committed, over all partitions."""
        positions = self.broker.committed(self.topics.downstream_group(gateway_id), self.topics.downstream(gateway_id))
        return sum(positions.values())


@attrs.define(eq=False)
class Bench:
    """A connection hub that runs, and a router over its connections."""

    world: World
    hub: ConnectionHub
    router: LocalRouter
    codec: Codec = attrs.field(factory=JsonCodec)

    def pass_time(self, seconds: float, /) -> None:
        """Turn the clock, tick by tick."""
        for _ in range(round(seconds / TICK_SECONDS)):
            self.world.clock.advance(TICK_SECONDS)
            self.hub.tick()

    async def admit(self, token: str, *, device: str | None = None, ip: str | None = None) -> Admitted | Refusal:
        """Ask for a connection."""
        return await self.hub.admission.admit(request(token, device=device, ip=ip))

    async def open(self, admitted: Admitted, socket: SimulatedSocket, /) -> Client:
        """Open an admitted connection; it is welcomed when this returns, or closed."""
        self.world.tasks.start_soon(socket.carry)
        return Client(socket, await self.hub.open(admitted, self.codec, socket.attach))

    async def connect(
        self, token: str, *, device: str | None = None, ip: str | None = None, socket: SimulatedSocket | None = None
    ) -> Client:
        """A client that has read its welcome."""
        admitted = await self.admit(token, device=device, ip=ip)
        assert isinstance(admitted, Admitted), admitted
        client = await self.open(admitted, socket or SimulatedSocket())
        await client.next("welcome")
        return client

    def deliver(
        self, *users: str, message_id: str = "1", on_settled: Callable[[], None] = lambda: None, **more: Any
    ) -> None:
        """Route a message to users."""
        self.router.route(ConsumedRecord(0, 0, b"c", message(*users, message_id=message_id, **more)), on_settled)


@attrs.define(eq=False)
class House:
    """A gateway that runs."""

    world: World
    gateway: Gateway

    async def connect(self, token: str, *, device: str | None = None, socket: SimulatedSocket | None = None) -> Client:
        """A client that has read its welcome."""
        admitted = await self.gateway.admit(request(token, device=device))
        assert isinstance(admitted, Admitted), admitted
        socket = socket or SimulatedSocket()
        self.world.tasks.start_soon(socket.carry)
        client = Client(socket, await self.gateway.open(admitted, self.gateway.codecs[0], socket.attach))
        await client.next("welcome")
        return client


def request(token: str, *, device: str | None = None, ip: str | None = None) -> ConnectRequest:
    """A client's wish for a connection."""
    return ConnectRequest(Credentials(token, client_ip=ip), None if device is None else DeviceId(device), "test")


def message(*users: str, message_id: str = "1", **more: Any) -> bytes:
    """A downstream record's value."""
    record = {
        "message_id": message_id,
        "conversation_id": "c",
        "sender_id": "s",
        "message_type": 1,
        "content": "hello",
        "seq_id": 1,
        "timestamp": 1,
        "target_user_ids": users,
    }
    return json.dumps(record | more).encode()


@asynccontextmanager
async def running_world() -> AsyncIterator[World]:
    """Everything below a gateway."""
    broker = MemoryBroker()
    with ExitStack() as patches:
        for name, value in PAUSES.items():
            patches.enter_context(mock.patch(name, value))
        async with MemoryPublisher(broker) as inner, anyio.create_task_group() as tasks:
            yield World(tasks, FaultyPublisher(inner), broker)
            tasks.cancel_scope.cancel()


@asynccontextmanager
async def running_hub(
    chosen: Settings | None = None, *, session_ttl_seconds: float = 60.0, transcoder: Transcoder | None = None
) -> AsyncIterator[Bench]:
    """A hub that lets clients in."""
    async with running_world() as world, anyio.create_task_group() as tasks:
        world.transcoder = transcoder
        parts = world.parts(session_ttl_seconds=session_ttl_seconds)
        await parts.ownership.acquire(GATEWAY_ID)
        hub = ConnectionHub(chosen or settings(), parts)
        router = LocalRouter(
            hub.registry, world.publisher, world.observer, world.clock, GATEWAY_ID, world.topics.undelivered
        )
        tasks.start_soon(hub.run)
        yield Bench(world, hub, router, parts.codecs[0])
        tasks.cancel_scope.cancel()


@asynccontextmanager
async def running_gateway(
    chosen: Settings | None = None, *, transcoder: Transcoder | None = None
) -> AsyncIterator["House"]:
    """A gateway that is ready."""
    async with running_world() as world:
        world.transcoder = transcoder
        async with new_gateway(world, chosen) as gateway:
            with anyio.fail_after(PATIENCE_SECONDS):
                await gateway.wait_ready()
            yield House(world, gateway)


def new_gateway(world: World, chosen: Settings | None = None) -> Gateway:
    """A gateway that was not entered."""

    @asynccontextmanager
    async def open_parts() -> AsyncIterator[GatewayParts]:
        parts = world.parts()
        try:
            yield parts
        finally:
            await parts.registrar.aclose()

    return Gateway(chosen or settings(), open_parts)
