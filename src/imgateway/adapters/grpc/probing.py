"""Trying a gRPC server out, for whoever wants to know why it doesn't work."""

from typing import Any, Final

import grpc
from grpc_health.v1 import health_pb2

from imgateway.adapters.grpc.balancing import TlsFiles, channel_maker
from imgateway.adapters.grpc.schema import Loaded, reflect
from imgateway.core.settings_grpc import GrpcSettings
from imgateway.errors import ServiceUnavailableError

ANSWER_SECONDS: Final = 5.0

_HEALTH: Final = "/grpc.health.v1.Health/Check"
_MAX_DETAIL_CHARS: Final = 200
# What a server answers that is reached and has no such service, or does not know the one that is asked about.
_NO_HEALTH: Final = frozenset({grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.NOT_FOUND})


async def probe(target: str, settings: GrpcSettings, /, *, service: str = "") -> str:
    """Connect and ask whether the server is healthy; what it says, in words. Bounded in time, calls nothing else.

    Args:
        target: `host:port`.
        settings: how back ends are spoken to.
        service: whose health is asked for; empty for the whole server's.

    Raises:
        SettingsError: a TLS file can't be used.
        ServiceUnavailableError: nobody answers there, or it is not healthy.
    """
    async with _channel(target, settings) as channel:
        ask: Any = channel.unary_unary(
            _HEALTH,
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        try:
            answer = await ask(health_pb2.HealthCheckRequest(service=service), timeout=ANSWER_SECONDS)
        except grpc.aio.AioRpcError as error:
            if error.code() in _NO_HEALTH:
                return "answers, and says nothing of its health"
            raise ServiceUnavailableError(_words(error)) from None
    if answer.status != health_pb2.HealthCheckResponse.SERVING:
        state = health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
        raise ServiceUnavailableError(f"answers, and says {state}")
    return "answers, and is healthy"


async def describe(target: str, settings: GrpcSettings, /) -> Loaded:
    """What the server says that it offers (gRPC server reflection). Bounded in time.

    Raises:
        SettingsError: a TLS file can't be used.
        ServiceUnavailableError: it can't be reached, or does not describe itself.
    """
    async with _channel(target, settings) as channel:
        return await reflect(channel, seconds=ANSWER_SECONDS)


def _channel(target: str, settings: GrpcSettings) -> grpc.aio.Channel:
    options = [("grpc.max_receive_message_length", settings.max_response_bytes), ("grpc.enable_http_proxy", 0)]
    return channel_maker(TlsFiles.of(settings), options)(target)


def _words(error: grpc.aio.AioRpcError) -> str:
    if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
        return f"no answer within {ANSWER_SECONDS:g} s"
    # gRPC tells the whole story of its attempts; the last part of it says why.
    why = (error.details() or "").rpartition("last error: ")[2][:_MAX_DETAIL_CHARS]
    return f"{error.code().name}: {why}" if why else error.code().name
