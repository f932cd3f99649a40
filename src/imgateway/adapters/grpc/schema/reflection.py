"""Asking a server what it offers (grpc.reflection.v1, or the older v1alpha)."""

import asyncio
from typing import Any, Final

import attrs
import grpc
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.message import DecodeError
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest, ServerReflectionResponse

from imgateway.adapters.grpc.schema.files import Loaded, completed, load
from imgateway.adapters.grpc.schema.installed import installed_file
from imgateway.adapters.grpc.tasks import is_cancelled
from imgateway.errors import ServiceUnavailableError

MAX_FILES: Final = 2000
"""Most files that one server may describe itself with."""

MAX_BYTES: Final = 64 * 1024 * 1024
"""Most bytes of them together."""

MAX_SERVICES: Final = 1000
"""Most services of one server."""

# The messages of both versions are the same on the wire; only the service's name differs.
_METHODS: Final = tuple(
    f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo" for version in ("v1", "v1alpha")
)


async def reflect(channel: grpc.aio.Channel, /, *, seconds: float) -> Loaded:
    """The files that describe a server's services.

    The services of gRPC itself (`grpc.…`) are left out, and so are those that the server names but can't describe.
    Cancelling ends the call.

    Args:
        channel: to one server; stays open.
        seconds: for everything.

    Raises:
        ServiceUnavailableError: the server does not describe itself, not in time, too largely, or answers nonsense.
    """
    try:
        async with asyncio.timeout(seconds):
            for method in _METHODS:
                if (found := await _Questions(channel, method).ask()) is not None:
                    return found
    except TimeoutError:
        raise ServiceUnavailableError(f"no description of the server within {seconds:g} s") from None
    except grpc.aio.AioRpcError as error:
        raise ServiceUnavailableError(f"the server does not describe itself: {error.code().name}") from None
    except (grpc.aio.UsageError, asyncio.InvalidStateError):
        raise ServiceUnavailableError("the channel to the server is closed") from None
    raise ServiceUnavailableError("the server does not describe itself: it has no reflection service")


@attrs.define(eq=False)
class _Questions:
    """What is asked of one version of the service, each question in a call of its own.

    They could all be asked in one call, but grpc.aio reports writing to a call that the server has just refused as
    INTERNAL, and then nobody knows whether the service is there.
    """

    channel: grpc.aio.Channel
    method: str
    files: dict[str, FileDescriptorProto] = attrs.field(factory=dict)
    size: int = 0

    async def ask(self) -> Loaded | None:
        """Everything, or None where the server does not know this version."""
        services = await self._services()
        if services is None:
            return None
        for service in services:
            await self._take(ServerReflectionRequest(file_containing_symbol=service))
        await self._imports()
        try:
            whole = completed(self.files.values())
        except ValueError as error:
            raise ServiceUnavailableError(f"the server describes itself wrongly: {error}") from None
        loaded = load(whole.files)
        if loaded.problems:
            raise ServiceUnavailableError(f"the server describes itself wrongly: {loaded.problems[0]}")
        return loaded

    async def _services(self) -> list[str] | None:
        try:
            answer = await self._answer(ServerReflectionRequest(list_services="*"))
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.UNIMPLEMENTED:
                return None
            raise
        if not answer.HasField("list_services_response"):
            raise ServiceUnavailableError("the server does not list its services")
        names = [service.name for service in answer.list_services_response.service]
        if len(names) > MAX_SERVICES:
            raise ServiceUnavailableError(f"the server lists more than {MAX_SERVICES} services")
        return [name for name in names if not name.startswith("grpc.")]

    async def _imports(self) -> None:
        waiting = list(self.files)
        while waiting:
            for name in self.files[waiting.pop()].dependency:
                if name in self.files:
                    continue
                waiting += await self._take(ServerReflectionRequest(file_by_filename=name))
                if name in self.files:
                    continue
                if (own := installed_file(name)) is None:
                    raise ServiceUnavailableError("the server does not describe a file that another imports")
                self.files[name] = own
                waiting.append(name)

    async def _take(self, question: ServerReflectionRequest) -> list[str]:
        """Keep the files of an answer; the names of those that are new."""
        answer = await self._answer(question)
        new: list[str] = []
        if answer.HasField("error_response"):
            return new
        for raw in answer.file_descriptor_response.file_descriptor_proto:
            try:
                file = FileDescriptorProto.FromString(raw)
            except DecodeError:
                raise ServiceUnavailableError("the server describes itself with something else than files") from None
            if not file.name:
                raise ServiceUnavailableError("the server describes itself with something else than files")
            if file.name in self.files:
                continue
            self.size += len(raw)
            if self.size > MAX_BYTES or len(self.files) >= MAX_FILES:
                raise ServiceUnavailableError("the server's description of itself is too large")
            self.files[file.name] = file
            new.append(file.name)
        return new

    async def _answer(self, question: ServerReflectionRequest) -> ServerReflectionResponse:
        # Generic over messages in the type stubs; these are bytes.
        start: Any = self.channel.unary_stream(self.method)
        call = start(question.SerializeToString())
        try:
            raw = await call.read()
            if raw is not grpc.aio.EOF and await call.read() is not grpc.aio.EOF:
                raise ServiceUnavailableError("the server describes itself with more answers than questions")
            code = await call.code()
            if code is not grpc.StatusCode.OK:
                raise grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata())
        except asyncio.CancelledError:
            if is_cancelled():
                raise
            raise ServiceUnavailableError("the channel to the server is closed") from None
        finally:
            call.cancel()
        if raw is grpc.aio.EOF:
            raise ServiceUnavailableError("the server broke off describing itself")
        try:
            return ServerReflectionResponse.FromString(raw)
        except DecodeError:
            raise ServiceUnavailableError("the server describes itself with nonsense") from None
