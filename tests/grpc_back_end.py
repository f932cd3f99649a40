"""The service of `grpc_protos/back.proto` on a real server, in this process or as a program of its own."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import attrs
import grpc
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as aio_health
from grpc_reflection.v1alpha import reflection
from tests.grpc_protos import descriptors, pool_of

from imgateway.testing.balancer import SAID

HealthServicer = aio_health.HealthServicer

SERVICE = "back.v1.Back"
FILE = "back.proto"


@attrs.define(eq=False)
class BackEnd:
    """What the methods do.

    Attributes:
        under_way: calls that never end by themselves.
        go: lets the unary ones of them end.
        metadata: what came with the last call.
        calls: how many were made.
    """

    under_way: int = 0
    calls: int = 0
    go: asyncio.Event = attrs.field(factory=asyncio.Event)
    metadata: dict[str, str | bytes] = attrs.field(factory=dict)
    health: HealthServicer = attrs.field(factory=HealthServicer)
    _pool: DescriptorPool = attrs.field(factory=lambda: pool_of(FILE))

    def message(self, name: str) -> Any:
        return GetMessageClass(self._pool.FindMessageTypeByName(f"back.v1.{name}"))

    async def echo(self, request: Any, context: Any) -> Any:
        self.calls += 1
        self.metadata = dict(context.invocation_metadata())
        return request

    lookup = echo

    async def fails(self, request: Any, context: Any) -> Any:
        """`NOT_FOUND`, or the code that the key names; the details are in the trailers."""
        self.calls += 1
        code = grpc.StatusCode[request.key] if request.key in grpc.StatusCode.__members__ else grpc.StatusCode.NOT_FOUND
        status = status_pb2.Status(code=code_pb2.Code.Value(code.name), message="10.0.0.1 says no")
        for detail in (
            error_details_pb2.ErrorInfo(reason="WHY", domain="back"),
            error_details_pb2.RetryInfo(retry_delay={"seconds": 6, "nanos": 1}),
            error_details_pb2.DebugInfo(detail="secret stack"),
        ):
            status.details.add().Pack(detail)
        trailers = (("grpc-status-details-bin", status.SerializeToString()), ("x-seen", "yes"), ("x-hidden", "no"))
        await context.abort(code, "10.0.0.1 says no", trailers)

    async def refuses(self, request: Any, context: Any) -> None:
        """`NOT_FOUND`, or the code that the key names, in few words; no trailers."""
        code = grpc.StatusCode[request.key] if request.key in grpc.StatusCode.__members__ else grpc.StatusCode.NOT_FOUND
        await context.abort(code, SAID)

    async def takes(self, request: Any, _: Any) -> Any:
        """Answers after as many milliseconds as the key says."""
        self.calls += 1
        await asyncio.sleep(int(request.key) / 1000)
        return request

    async def hangs(self, request: Any, _: Any) -> Any:
        self.under_way += 1
        try:
            await self.go.wait()
        finally:
            self.under_way -= 1
        return request

    async def told(self, request: Any, context: Any) -> Any:
        """Tells what came with the call by metadata of its own."""
        self.metadata = dict(context.invocation_metadata())
        await context.send_initial_metadata((("x-seen", "first"), ("x-hidden", "no")))
        context.set_trailing_metadata((("x-seen", "last"),))
        return request

    async def boasts(self, request: Any, context: Any) -> Any:
        """With so many bytes of metadata."""
        context.set_trailing_metadata((("x-seen", "x" * int(request.key)),))
        return request

    async def counts(self, _: Any, __: Any) -> AsyncIterator[Any]:
        for number in (1, 2, 3):
            yield self.message("Number")(number=number)

    async def nothing(self, _: Any, __: Any) -> AsyncIterator[Any]:
        """To whoever calls it as a unary method: a good status, and no message."""
        none: tuple[Any, ...] = ()
        for message in none:
            yield message

    async def breaks(self, _: Any, context: Any) -> AsyncIterator[Any]:
        yield self.message("Number")(number=1)
        await context.abort(grpc.StatusCode.ABORTED, SAID)

    async def endless(self, _: Any, __: Any) -> AsyncIterator[Any]:
        self.under_way += 1
        try:
            yield self.message("Number")(number=1)
            await asyncio.Event().wait()
        finally:
            self.under_way -= 1

    def add_to(self, server: grpc.aio.Server) -> None:
        """Serve everything, with health and reflection."""
        said, asked = self.message("Said").FromString, self.message("Asked").FromString

        def serialise(message: Any) -> bytes:
            data: bytes = message.SerializeToString()
            return data

        unary, stream = grpc.unary_unary_rpc_method_handler, grpc.unary_stream_rpc_method_handler
        handlers = {
            "Echo": unary(self.echo, said, serialise),
            "Lookup": unary(self.lookup, asked, serialise),
            "Fails": unary(self.fails, asked, serialise),
            "Refuses": unary(self.refuses, asked, serialise),
            "Takes": unary(self.takes, asked, serialise),
            "Hangs": unary(self.hangs, asked, serialise),
            "Garbage": unary(self.echo, asked, lambda _: b"\xff\xff"),
            "Metadata": unary(self.told, asked, serialise),
            "Boasts": unary(self.boasts, asked, serialise),
            "Counts": stream(self.counts, asked, serialise),
            "Nothing": stream(self.nothing, asked, serialise),
            "Breaks": stream(self.breaks, asked, serialise),
            "Endless": stream(self.endless, asked, serialise),
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
        health_pb2_grpc.add_HealthServicer_to_server(self.health, server)
        pool = DescriptorPool()
        for file in descriptors(FILE).file:
            pool.Add(file)
        reflection.enable_server_reflection([SERVICE, reflection.SERVICE_NAME], server, pool=pool)


@asynccontextmanager
async def running_back_end(address: str = "127.0.0.1:0") -> AsyncIterator[tuple[BackEnd, str]]:
    """The back end and its address."""
    back_end, server = BackEnd(), grpc.aio.server()
    back_end.add_to(server)
    port = server.add_insecure_port(address)
    await back_end.health.set("", health_pb2.HealthCheckResponse.SERVING)
    await server.start()
    try:
        yield back_end, f"127.0.0.1:{port}"
    finally:
        await server.stop(None)


async def _main(address: str) -> None:
    async with running_back_end(address) as (_, bound):
        print(bound, flush=True)  # noqa: T201  # whoever started this program reads it
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1]))
