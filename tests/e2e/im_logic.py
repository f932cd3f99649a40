"""`im_logic` as a gRPC server in the test process, between a memory broker and a memory session store."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

import anyio
import attrs
import grpc
from google.rpc import error_details_pb2
from google.rpc.status_pb2 import Status

from imgateway.adapters.memory import MemoryBroker, MemoryConsumer, MemoryPublisher, MemorySessionStore
from imgateway.core.topics import Topics
from imgateway.model import ConnectionId, Delivery, GatewayId, SessionRecord, Signal, UserId
from imgateway.testing.clock import VirtualClock
from imgateway.wire.records import decode_downstream
from imgateway_im_logic.generated.im.logic.v1 import (
    auth_pb2,
    auth_pb2_grpc,
    conversation_pb2_grpc,
    message_pb2_grpc,
)
from imgateway_im_logic.messaging import Messaging, messaging
from imgateway_im_logic.server import serving
from imgateway_im_logic.tokens import Tokens

SECRET = "0123456789abcdef0123456789abcdef"
TOPICS = Topics()
GATEWAY = GatewayId("g1")
PATIENCE_SECONDS = 45


@attrs.define(eq=False)
class Down:
    """What arrives for one gateway."""

    _consumer: MemoryConsumer
    _waiting: list[Delivery | Signal] = attrs.field(factory=list)

    async def next(self) -> Delivery | Signal:
        with anyio.fail_after(PATIENCE_SECONDS):
            while not self._waiting:
                self._waiting += [decode_downstream(record.value) for record in await self._consumer.take()]
        return self._waiting.pop(0)

    async def delivery(self) -> Delivery:
        record = await self.next()
        assert isinstance(record, Delivery)
        return record

    async def signal(self) -> Signal:
        record = await self.next()
        assert isinstance(record, Signal)
        return record


@attrs.define(eq=False)
class ImLogic:
    """A running server and its stubs; the test plays the gateways."""

    clock: VirtualClock
    broker: MemoryBroker
    sessions: MemorySessionStore
    back_end: Messaging
    tokens: Tokens
    channel_target: str
    channel: grpc.aio.Channel
    auth: Any
    conversations: Any
    messages: Any
    _numbers: Any = attrs.field(factory=count)

    async def guest(self, name: str) -> str:
        """The id of a new guest."""
        info = {"device_id": f"device of {name:>20}", "nickname": name}
        answer = await self.auth.GuestLogin(auth_pb2.GuestLoginRequest(client_info=info))
        user_id: str = answer.user.id
        return user_id

    async def connect(self, user_id: str, gateway_id: GatewayId = GATEWAY) -> SessionRecord:
        """Presence, as a gateway writes it."""
        connection_id = ConnectionId(f"c{next(self._numbers)}")
        record = SessionRecord(UserId(user_id), connection_id, gateway_id, None, None, 0)
        await self.sessions.add([record])
        return record

    async def reader(self, gateway_id: GatewayId = GATEWAY) -> Down:
        consumer = MemoryConsumer(self.broker, TOPICS.downstream(gateway_id), TOPICS.downstream_group(gateway_id))
        await consumer.start()
        return Down(consumer)


def by(user_id: str) -> tuple[tuple[str, str], ...]:
    """The metadata that the gateway adds to a call of a verified user."""
    return (("x-user-id", user_id),)


async def refused(call: Any) -> grpc.aio.AioRpcError:
    """How a call fails; it must."""
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return error
    raise AssertionError("the call was answered")


def details_of(error: grpc.aio.AioRpcError, kind: type[Any]) -> Any:
    """The one detail of that kind in a status."""
    [packed] = [value for key, value in error.trailing_metadata() or () if key == "grpc-status-details-bin"]
    status = Status.FromString(packed)
    assert (status.code, status.message) == (error.code().value[0], error.details())
    found = kind()
    assert any(detail.Unpack(found) for detail in status.details)
    return found


def wrong_fields(error: grpc.aio.AioRpcError) -> set[str]:
    """The fields that an INVALID_ARGUMENT names."""
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    return {violation.field for violation in details_of(error, error_details_pb2.BadRequest).field_violations}


@asynccontextmanager
async def im_logic(presence_seconds: float = 3600) -> AsyncIterator[ImLogic]:
    clock, broker = VirtualClock(), MemoryBroker()
    sessions = MemorySessionStore(60, clock)
    async with MemoryPublisher(broker) as publisher, anyio.create_task_group() as tasks:
        back_end = messaging(
            upstream=MemoryConsumer(broker, TOPICS.upstream, "back-end"),
            downstream=publisher,
            sessions=sessions,
            clock=clock,
            presence_seconds=presence_seconds,
        )
        await tasks.start(back_end.run)
        tokens = Tokens(SECRET, clock)
        async with (
            serving(back_end, tokens, listen="127.0.0.1:0") as server,
            grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel,
        ):
            yield ImLogic(
                clock,
                broker,
                sessions,
                back_end,
                tokens,
                f"127.0.0.1:{server.port}",
                channel,
                auth_pb2_grpc.AuthServiceStub(channel),
                conversation_pb2_grpc.ConversationServiceStub(channel),
                message_pb2_grpc.MessageServiceStub(channel),
            )
        tasks.cancel_scope.cancel()
