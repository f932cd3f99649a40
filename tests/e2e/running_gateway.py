"""A gateway in this process, on a free port, with everything that stands behind it within reach."""

import json
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from enum import Enum
from typing import Any, Final

import anyio
import attrs
import jwt
import uvicorn
from starlette.applications import Starlette
from tests.e2e.websocket_client import PATIENCE_SECONDS, Client, Data, Headers, header_lines, open_socket, refusal

from imgateway.adapters.jwt import JwtAuthenticator
from imgateway.adapters.memory import CountingObserver, MemoryBroker, MemoryConsumer, MemoryPublisher
from imgateway.adapters.memory.embedded import Embedded
from imgateway.adapters.starlette import application, gateway_lifespan, gateway_routes
from imgateway.adapters.uvicorn import server_config, serving
from imgateway.core.gateway import Gateway
from imgateway.core.parts import GatewayParts
from imgateway.core.settings import (
    AuthSettings,
    ConnectionSettings,
    GatewaySettings,
    ServerSettings,
    Settings,
)
from imgateway.core.settings_grpc import GrpcSettings
from imgateway.core.topics import Topics
from imgateway.model import GatewayId, OutgoingRecord, PublishFailure, Receipt, SessionRecord, UserId
from imgateway.ports import Authenticator, GatewayObserver, Transcoder
from imgateway.testing import FaultyPublisher, FaultySessionStore

GATEWAY_ID: Final = GatewayId("gw-test")
SECRET: Final = "9tJfXq2mVw8Lr5Zc1Yk7Hb4Nd6Gs3Pa0"
AUTH: Final = AuthSettings(secret=SECRET)


class Server(Enum):
    """How clients are served."""

    SOCKET = "socket"
    """uvicorn with our protocol classes: the gateway drives the sockets itself, as `imgateway serve` does."""
    ASGI = "asgi"
    """uvicorn as it comes: the gateway is an ASGI application like any other."""


@attrs.define
class Published:
    """Waits for one record of the back end to be written."""

    written: anyio.Event = attrs.field(factory=anyio.Event)

    def settled(self, outcome: Receipt | PublishFailure, /) -> None:
        """It is."""
        assert isinstance(outcome, Receipt)
        self.written.set()


@attrs.define(eq=False)
class RunningGateway:
    """A gateway, its port, and its back end.

    Attributes:
        publisher: what the gateway writes records by.
        store: where the gateway keeps presence.
        embedded: the memory parts behind both.
        observer: what was counted, unless the test brought an observer of its own.
    """

    gateway: Gateway
    host: str
    port: int
    embedded: Embedded
    publisher: FaultyPublisher
    store: FaultySessionStore
    observer: CountingObserver
    back_end: MemoryPublisher

    # The client's side.

    @property
    def address(self) -> str:
        """Host and port as a URL holds them."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def url(self, query: str = "") -> str:
        """The WebSocket's URL."""
        return f"ws://{self.address}/ws{'?' if query else ''}{query}"

    def http_url(self, path: str) -> str:
        """The URL of another path."""
        return f"http://{self.address}{path}"

    async def connect(
        self,
        user_id: str = "alice",
        /,
        query: str = "",
        *,
        device: str | None = None,
        token: str | None = None,
        headers: Headers | None = None,
        **options: Any,
    ) -> Client:
        """A client that was welcomed."""
        fields = header_lines(headers)
        fields.append(("Authorization", f"Bearer {token or mint(user_id)}"))
        if device is not None:
            query = f"{query}&device_id={device}" if query else f"device_id={device}"
        client = Client(await open_socket(self.url(query), headers=fields, **options))
        client.welcome = await client.expect("welcome")
        return client

    async def refused(self, query: str = "", **options: Any) -> "Problem":
        """The problem that an upgrade request is answered with."""
        response = await refusal(self.url(query), **options)
        assert response.headers["Content-Type"] == "application/problem+json"
        body = json.loads(response.body)
        assert body["status"] == response.status_code
        return Problem(response.status_code, response.headers.get("Retry-After"), body)

    # The back end's side.

    @property
    def broker(self) -> MemoryBroker:
        """Where the records are."""
        return self.embedded.broker

    @property
    def topics(self) -> Topics:
        """What they are called."""
        return self.embedded.topics

    def upstream(self) -> list[Data]:
        """The values of the upstream records."""
        return [json.loads(record.value) for record in self.broker.records(self.topics.upstream)]

    def upstream_of(self, conversation_id: str) -> list[Data]:
        """Those of one conversation."""
        return [value for value in self.upstream() if value["conversation_id"] == conversation_id]

    def undelivered(self) -> list[Data]:
        """The values of the undelivered records."""
        return [json.loads(record.value) for record in self.broker.records(self.topics.undelivered)]

    async def presence(self, user_id: str = "alice") -> Sequence[SessionRecord]:
        """The user's entries, newest first."""
        return await self.embedded.sessions.lookup(UserId(user_id))

    async def presence_becomes(self, user_id: str, *connection_ids: str) -> None:
        """Return when exactly these connections of the user are present."""
        with anyio.fail_after(PATIENCE_SECONDS):
            while {entry.connection_id for entry in await self.presence(user_id)} != set(connection_ids):
                await anyio.sleep(0.01)

    async def send_down(self, *values: Mapping[str, Any] | bytes, key: str = "c-1") -> None:
        """Write downstream records."""
        topic = self.topics.downstream(self.gateway.gateway_id)
        tickets = []
        for value in values:
            raw = value if isinstance(value, bytes) else json.dumps(value).encode()
            tickets.append(Published())
            assert self.back_end.offer(OutgoingRecord(topic, key.encode(), raw), tickets[-1])
        for ticket in tickets:
            await ticket.written.wait()

    async def settled(self) -> None:
        """Return when every downstream record is settled, and its position committed."""
        topics, gateway_id = self.topics, self.gateway.gateway_id
        topic, group = topics.downstream(gateway_id), topics.downstream_group(gateway_id)

        def all_committed() -> bool:
            committed = self.broker.committed(group, topic)
            ends = [end for _, end in self.broker.bounds(topic)]
            return all(committed.get(partition, 0) == end for partition, end in enumerate(ends))

        await eventually(all_committed)


@attrs.frozen
class Problem:
    """A problem body (RFC 9457), and what came with it."""

    status: int
    retry_after: str | None
    body: Data

    @property
    def code(self) -> str:
        """The code of ours."""
        return str(self.body["code"])


def mint(user_id: str = "alice", /, *, secret: str = SECRET, seconds: float = 86_400, **claims: Any) -> str:
    """A token. A claim given as None is left out."""
    all_claims = {"sub": user_id, "exp": time.time() + seconds, **claims}
    present = {name: value for name, value in all_claims.items() if value is not None}
    return jwt.encode(present, secret, "HS256")


async def eventually(holds: Callable[[], bool], seconds: float = PATIENCE_SECONDS) -> None:
    """Return when `holds` does, for what no event tells of."""
    with anyio.fail_after(seconds):
        while not holds():
            await anyio.sleep(0.01)


def _application_server(app: Starlette, settings: Settings) -> uvicorn.Config:
    """uvicorn as somebody would run it who knows nothing of our protocol classes."""
    return uvicorn.Config(
        app,
        host=settings.server.host,
        port=0,
        ws="websockets-sansio",
        ws_max_size=settings.server.max_frame_bytes,
        lifespan="on",
        log_config=None,
        log_level="critical",
        proxy_headers=False,
        # Without it uvicorn waits for ever for a client that does not read.
        timeout_graceful_shutdown=5,
        access_log=False,
    )


@asynccontextmanager
async def running_gateway(
    server: Server = Server.SOCKET,
    *,
    network: ServerSettings | None = None,
    gateway: GatewaySettings | None = None,
    auth: AuthSettings = AUTH,
    connections: ConnectionSettings | None = None,
    authenticator: Authenticator | None = None,
    observer: GatewayObserver | None = None,
    embedded: Embedded | None = None,
    grpc: GrpcSettings | None = None,
    transcoder: Transcoder | None = None,
    wait_ready: bool = True,
) -> AsyncIterator[RunningGateway]:
    """A gateway with these settings, serving within the block; `embedded` is shared where several gateways are."""
    settings = Settings(
        server=network or ServerSettings(),
        gateway=gateway or GatewaySettings(id=GATEWAY_ID),
        auth=auth,
        connections=connections or ConnectionSettings(),
        grpc=grpc,
    )
    memory = embedded or Embedded()
    proves = authenticator or JwtAuthenticator.from_settings(settings.auth)
    counting = CountingObserver()
    async with AsyncExitStack() as stack:
        back_end = await stack.enter_async_context(MemoryPublisher(memory.broker, max_pending=1_000_000))
        publisher = FaultyPublisher(await stack.enter_async_context(MemoryPublisher(memory.broker)))
        store = FaultySessionStore(memory.sessions)
        topics, gateway_id = memory.topics, settings.gateway_id

        @asynccontextmanager
        async def open_parts() -> AsyncIterator[GatewayParts]:
            yield GatewayParts(
                authenticator=proves,
                publisher=publisher,
                consumer=lambda: MemoryConsumer(
                    memory.broker, topics.downstream(gateway_id), topics.downstream_group(gateway_id)
                ),
                sessions=store,
                registrar=memory.services.registrar(),
                ownership=memory.services.ownership(),
                observer=observer or counting,
                clock=memory.clock,
                topics=topics,
                transcoder=transcoder,
            )
            await proves.aclose()

        composed = Gateway(settings, open_parts)
        if server is Server.SOCKET:
            app = application(gateway_routes(composed))
            config = server_config(
                app, host=settings.server.host, port=0, max_frame_bytes=settings.server.max_frame_bytes
            )
            bound = await stack.enter_async_context(serving(config))
            await stack.enter_async_context(composed)
        else:
            app = Starlette(routes=gateway_routes(composed), lifespan=gateway_lifespan(composed))
            bound = await stack.enter_async_context(serving(_application_server(app, settings)))
        if wait_ready:
            await composed.wait_ready()
        yield RunningGateway(composed, bound.host, bound.port, memory, publisher, store, counting, back_end)
