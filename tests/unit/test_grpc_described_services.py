"""The routes of services that describe themselves: of all places together, whatever one of them says."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import grpc
import pytest
from google.api import annotations_pb2
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from tests.grpc_describing import answering, describing, running_server
from tests.grpc_loop import anyio_backend, one_loop  # noqa: F401  # fixtures: pytest finds them by name

from imgateway.adapters.grpc import GrpcTranscoder
from imgateway.core.settings_grpc import GrpcServiceSettings, GrpcSettings
from imgateway.testing import TranscoderSuite

eventually = TranscoderSuite().eventually

Prepare = Callable[[grpc.aio.Server], None]


def offering(package: str, *, methods: int = 1) -> FileDescriptorSet:
    """A service `S` of methods `M0`, `M1` and so on, with the routes `GET /api/{package}/0` and so on."""
    file = FileDescriptorProto(
        name=f"{package}.proto", package=package, syntax="proto3", dependency=["google/api/annotations.proto"]
    )
    file.message_type.add(name="Message").field.add(name="text", number=1, type=9, label=1)
    service = file.service.add(name="S")
    for number in range(methods):
        method = service.method.add(
            name=f"M{number}", input_type=f".{package}.Message", output_type=f".{package}.Message"
        )
        method.options.Extensions[annotations_pb2.http].get = f"/{package}/{number}"
    return FileDescriptorSet(file=[file])


@asynccontextmanager
async def transcoding(servers: dict[str, Prepare], **more: object) -> AsyncIterator[GrpcTranscoder]:
    """A transcoder of servers by their packages, each a place of its own."""
    async with AsyncExitStack() as stack:
        services = {
            f"{package}.S": GrpcServiceSettings(target=await stack.enter_async_context(running_server(prepare)))
            for package, prepare in servers.items()
        }
        settings = GrpcSettings(reflection=True, services=services, **more)  # type: ignore[arg-type]  # any other one
        yield await stack.enter_async_context(GrpcTranscoder.open(settings, None))


def serves(transcoder: GrpcTranscoder, *packages: str) -> bool:
    """Whether there are routes of these."""
    return all(not isinstance(transcoder.find("GET", f"/api/{package}/0"), frozenset) for package in packages)


@pytest.mark.anyio
async def test_places_that_answer_at_once_are_all_served() -> None:
    together = asyncio.Barrier(2)
    servers = {
        package: answering(describing(offering(package, methods=300)), together=together) for package in ("one", "two")
    }
    async with transcoding(servers) as transcoder:
        await eventually(lambda: serves(transcoder, "one", "two"), "both places are served")
