"""Servers that describe themselves, in whatever way a test wants it (grpc.reflection.v1)."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest, ServerReflectionResponse

V1 = "grpc.reflection.v1.ServerReflection"

Answer = Callable[[ServerReflectionRequest], ServerReflectionResponse | bytes | list[bytes] | None]


def answering(
    answer: Answer, *services: str, first: Callable[[], Awaitable[object]] | None = None
) -> Callable[[grpc.aio.Server], None]:
    """A reflection service of our own making: None ends the conversation, bytes go out as they are.

    Before each answer it awaits what `first` gives.
    """

    async def converse(requests: AsyncIterator[bytes], _context: Any) -> AsyncIterator[bytes]:
        async for raw in requests:
            if first is not None:
                await first()
            response = answer(ServerReflectionRequest.FromString(raw))
            for each in response if isinstance(response, list) else [response]:
                if each is None:
                    return
                yield each if isinstance(each, bytes) else each.SerializeToString()

    handler: Any = grpc.stream_stream_rpc_method_handler(converse)
    return lambda server: server.add_generic_rpc_handlers(
        [
            grpc.method_handlers_generic_handler(service, {"ServerReflectionInfo": handler})
            for service in services or (V1,)
        ]
    )


def describing(files: FileDescriptorSet, *services: str, everything: bool = False) -> Answer:
    """An honest server of these files, one by one or all at once."""
    by_name = {file.name: file.SerializeToString() for file in files.file}
    of_service = {f"{file.package}.{service.name}": file.name for file in files.file for service in file.service}

    def answer(request: ServerReflectionRequest) -> ServerReflectionResponse:
        response = ServerReflectionResponse()
        if request.HasField("list_services"):
            for name in services or of_service:
                response.list_services_response.service.add(name=name)
            return response
        name = request.file_by_filename or of_service.get(request.file_containing_symbol, "")
        if name not in by_name:
            response.error_response.error_code = grpc.StatusCode.NOT_FOUND.value[0]
            return response
        sent = by_name.values() if everything else [by_name[name]]
        response.file_descriptor_response.file_descriptor_proto.extend(sent)
        return response

    return answer
