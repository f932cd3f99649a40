"""Who calls, and how a call ends that gets no answer. One interceptor for every method of our services."""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final, NoReturn, TypeAlias

import attrs
import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import error_details_pb2
from google.rpc.status_pb2 import Status

from imgateway.errors import ServiceUnavailableError
from imgateway_im_logic.refusals import RefusedError, forbidden, unproven

OURS: Final = "/im.logic.v1."
WITHOUT_USER: Final = frozenset(
    f"/im.logic.v1.AuthService/{method}"
    for method in ("Register", "Login", "GuestLogin", "RefreshToken", "ValidateToken")
)
USER_FIELDS: Final = ("user_id", "creator_id", "operator_id")
USER_METADATA: Final = "x-user-id"

_log = logging.getLogger(__name__)

# Requests and answers are of any of our messages. Only the stubs know of these parameters, hence the quotes.
_Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
_Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"


@attrs.frozen
class CallGuard(grpc.aio.ServerInterceptor):
    """Refuses calls whose user is not the one whom the gateway has verified, and turns refusals into statuses.

    The gateway sets both the field of the request and the metadata `x-user-id` to the verified user. Where they differ,
    the call did not come through it, or it is set up wrong.
    """

    async def intercept_service(
        self,
        continuation: "Callable[[grpc.HandlerCallDetails], Awaitable[_Handler | None]]",
        handler_call_details: grpc.HandlerCallDetails,
    ) -> "_Handler | None":
        """The handler, guarded if it is ours."""
        handler = await continuation(handler_call_details)
        method = handler_call_details.method
        if handler is None or not method.startswith(OURS):
            return handler
        serializers = handler.request_deserializer, handler.response_serializer
        if handler.response_streaming:
            return grpc.unary_stream_rpc_method_handler(_guarded_stream(handler.unary_stream, method), *serializers)
        return grpc.unary_unary_rpc_method_handler(_guarded(handler.unary_unary, method), *serializers)


def _guarded(inner: Any, method: str) -> Callable[[Message, _Context], Awaitable[Message]]:
    async def call(request: Message, context: _Context) -> Message:
        try:
            _check_user(request, method, context)
            answer: Message = await inner(request, context)
        except (RefusedError, ServiceUnavailableError) as refusal:
            await _refuse(context, refusal)
        return answer

    return call


def _guarded_stream(inner: Any, method: str) -> Callable[[Message, _Context], AsyncIterator[Message]]:
    async def call(request: Message, context: _Context) -> AsyncIterator[Message]:
        try:
            _check_user(request, method, context)
            async for answer in inner(request, context):
                yield answer
        except (RefusedError, ServiceUnavailableError) as refusal:
            await _refuse(context, refusal)

    return call


def _check_user(request: Message, method: str, context: _Context) -> None:
    if method in WITHOUT_USER:
        return
    verified = [value for key, value in context.invocation_metadata() or () if key == USER_METADATA]
    if len(verified) != 1 or not verified[0]:
        raise unproven("No gateway says who calls.")
    named = next(getattr(request, field) for field in USER_FIELDS if field in request.DESCRIPTOR.fields_by_name)
    if named != verified[0]:
        raise forbidden("The request names another user than the one who was verified.")


async def _refuse(context: _Context, refusal: RefusedError | ServiceUnavailableError) -> NoReturn:
    if isinstance(refusal, ServiceUnavailableError):
        _log.warning("a call failed", extra={"why": str(refusal)})
        refusal = RefusedError(grpc.StatusCode.UNAVAILABLE, "A part of the back end is not available.", retry_after=1)
    details: list[Message] = []
    if refusal.fields:
        bad = error_details_pb2.BadRequest()
        for field, why in refusal.fields.items():
            bad.field_violations.add(field=field, description=why)
        details.append(bad)
    if refusal.retry_after is not None:
        delay = Duration()
        delay.FromMilliseconds(round(refusal.retry_after * 1000))
        details.append(error_details_pb2.RetryInfo(retry_delay=delay))
    status = Status(code=refusal.code.value[0], message=str(refusal))
    for detail in details:
        status.details.append(AnyMessage())
        status.details[-1].Pack(detail)
    trailers = (("grpc-status-details-bin", status.SerializeToString()),)
    await context.abort(refusal.code, str(refusal), trailers)
