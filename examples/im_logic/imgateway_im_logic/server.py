"""The services on a gRPC server, with health and reflection."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import Final

import attrs
import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health
from grpc_reflection.v1alpha import reflection

from imgateway_im_logic.attempts import LoginAttempts
from imgateway_im_logic.calls import CallGuard
from imgateway_im_logic.generated.im.logic.v1 import (
    auth_pb2,
    auth_pb2_grpc,
    conversation_pb2,
    conversation_pb2_grpc,
    message_pb2,
    message_pb2_grpc,
)
from imgateway_im_logic.messaging import Messaging
from imgateway_im_logic.passwords import Passwords
from imgateway_im_logic.services.auth import AuthService
from imgateway_im_logic.services.conversation import ConversationService
from imgateway_im_logic.services.message import MessageService
from imgateway_im_logic.tokens import Tokens

SERVICES: Final = tuple(
    file.services_by_name[name].full_name
    for file in (auth_pb2.DESCRIPTOR, conversation_pb2.DESCRIPTOR, message_pb2.DESCRIPTOR)
    for name in sorted(file.services_by_name)
)
PUBLIC: Final = tuple(
    f"im.logic.v1.AuthService/{method}" for method in ("Register", "Login", "GuestLogin", "RefreshToken")
)
"""What the gateway lets in without a token."""

MAX_CALLS: Final = 1000
MAX_REQUEST_BYTES: Final = 1 << 20
_GRACE_SECONDS: Final = 2.0


def descriptor_set_path() -> str:
    """The file that tells a gateway what these services offer."""
    return str(files(__package__).joinpath("generated", "im_logic.binpb"))


@attrs.frozen
class RunningServer:
    """A server that answers.

    Attributes:
        port: where it listens.
    """

    port: int


@asynccontextmanager
async def serving(messaging: Messaging, tokens: Tokens, /, *, listen: str) -> AsyncIterator[RunningServer]:
    """A server at `listen` ("host:port", port 0: any free one); healthy until the context is left.

    Raises:
        RuntimeError: the address can't be bound.
    """
    server = grpc.aio.server(
        interceptors=[CallGuard()],
        maximum_concurrent_rpcs=MAX_CALLS,
        options=[("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", MAX_REQUEST_BYTES)],
    )
    clock = messaging.clock
    auth = AuthService(messaging.accounts, tokens, clock, Passwords(), LoginAttempts(clock))
    auth_pb2_grpc.add_AuthServiceServicer_to_server(auth, server)
    conversation_pb2_grpc.add_ConversationServiceServicer_to_server(ConversationService(messaging), server)
    message_pb2_grpc.add_MessageServiceServicer_to_server(MessageService(messaging), server)
    state = health.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(state, server)
    health_name = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name
    reflection.enable_server_reflection([*SERVICES, health_name, reflection.SERVICE_NAME], server)
    port = server.add_insecure_port(listen)
    await server.start()
    try:
        for name in ("", *SERVICES):
            await state.set(name, health_pb2.HealthCheckResponse.SERVING)
        yield RunningServer(port)
    finally:
        # Whoever watches is told first, so that new calls go elsewhere while those under way end.
        await state.enter_graceful_shutdown()
        await server.stop(_GRACE_SECONDS)
