"""Asking real servers what they offer."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pool
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_reflection.v1alpha import reflection
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest, ServerReflectionResponse
from tests.grpc_describing import V1, Answer, answering, describing
from tests.grpc_loop import anyio_backend, one_loop  # noqa: F401  # fixtures: pytest finds them by name
from tests.grpc_protos import descriptors, pool_of
from tests.grpc_routes import EVERYWHERE, loaded
from tests.grpc_routes import table as library_table
from tests.grpc_servers import running_server

from imgateway.adapters.grpc.routing import RouteTable
from imgateway.adapters.grpc.schema import Loaded, reflect
from imgateway.adapters.grpc.schema import reflection as limits
from imgateway.core.settings_grpc import GrpcSettings
from imgateway.errors import ServiceUnavailableError

SECONDS = 20.0
ALPHA = "grpc.reflection.v1alpha.ServerReflection"


@asynccontextmanager
async def serving(prepare: Callable[[grpc.aio.Server], None]) -> AsyncIterator[grpc.aio.Channel]:
    """A channel to a server of this process."""
    async with running_server(prepare) as address, grpc.aio.insecure_channel(address) as channel:
        yield channel


def names(found: Loaded) -> set[str]:
    """Of its files."""
    return {file.name for file in found.files}


async def reason(prepare: Callable[[grpc.aio.Server], None], seconds: float = SECONDS) -> str:
    """Why a server can't be described."""
    async with serving(prepare) as channel:
        with pytest.raises(ServiceUnavailableError) as caught:
            await reflect(channel, seconds=seconds)
    return str(caught.value)


@pytest.mark.anyio
async def test_grpcs_own_reflection_service_is_understood() -> None:
    pool: DescriptorPool = pool_of("library.proto")
    offered = ("library.v1.Library", "library.v1.Elsewhere", reflection.SERVICE_NAME, "not.there.Service")
    async with serving(lambda server: reflection.enable_server_reflection(offered, server, pool=pool)) as channel:
        found = await reflect(channel, seconds=SECONDS)
    assert names(found) == names(loaded(descriptors("library.proto")))
    seen: set[str] = set()
    for file in found.files:
        assert seen.issuperset(file.dependency)
        seen.add(file.name)
    table = RouteTable.build(found, GrpcSettings(services=EVERYWHERE))
    expected = library_table()
    assert [r.rest for r in table.routes] == [r.rest for r in expected.routes]
    assert table.problems == ()


@pytest.mark.anyio
@pytest.mark.parametrize("services", [(V1,), (ALPHA,), (V1, ALPHA)])
@pytest.mark.parametrize("everything", [False, True])
async def test_both_versions_and_files_one_by_one_or_repeated(services: tuple[str, ...], everything: bool) -> None:
    files = descriptors("library.proto", "broken.proto")
    async with serving(answering(describing(files, everything=everything), *services)) as channel:
        found = await reflect(channel, seconds=SECONDS)
    assert names(found) == names(loaded(files))


@pytest.mark.anyio
async def test_what_everybody_has_need_not_be_described() -> None:
    files = descriptors("library.proto")
    own = FileDescriptorSet(file=[file for file in files.file if not file.name.startswith("google/")])
    async with serving(answering(describing(own))) as channel:
        found = await reflect(channel, seconds=SECONDS)
    assert names(found) == names(loaded(files))


@pytest.mark.anyio
async def test_a_server_without_services_of_its_own() -> None:
    health = FileDescriptorProto(name="health.proto", package="grpc.health.v1")
    health.service.add(name="Health")
    async with serving(answering(describing(FileDescriptorSet(file=[health])))) as channel:
        assert (await reflect(channel, seconds=SECONDS)).files == ()


@pytest.mark.anyio
async def test_no_reflection_service_and_no_server() -> None:
    assert await reason(lambda server: None) == "the server does not describe itself: it has no reflection service"
    async with serving(lambda server: None) as channel:
        pass
    with pytest.raises(ServiceUnavailableError, match="closed"):
        await reflect(channel, seconds=SECONDS)
    async with grpc.aio.insecure_channel("127.0.0.1:1") as nobody:
        with pytest.raises(ServiceUnavailableError, match="UNAVAILABLE"):
            await reflect(nobody, seconds=SECONDS)


def one_file(raw: bytes, then: Answer | None = None) -> Answer:
    """A server of one service whose file is this; other questions go to `then`."""
    listing = describing(FileDescriptorSet(), "a.B")

    def answer(request: ServerReflectionRequest) -> ServerReflectionResponse | bytes | list[bytes] | None:
        if request.file_containing_symbol:
            response = ServerReflectionResponse()
            response.file_descriptor_response.file_descriptor_proto.append(raw)
            return response
        return listing(request) if then is None or request.HasField("list_services") else then(request)

    return answer


def file(name: str, *imports: str) -> FileDescriptorProto:
    """A file with a message of its own."""
    made = FileDescriptorProto(name=name, package=name.removesuffix(".proto"), dependency=imports)
    made.message_type.add(name="M")
    return made


def endless(request: ServerReflectionRequest) -> ServerReflectionResponse:
    """Every file imports another one."""
    number = int(request.file_by_filename.removesuffix(".proto"))
    response = ServerReflectionResponse()
    response.file_descriptor_response.file_descriptor_proto.append(
        file(request.file_by_filename, f"{number + 1}.proto").SerializeToString()
    )
    return response


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (lambda request: b"\xff\xff", "nonsense"),
        (lambda request: b"", "does not list its services"),
        (lambda request: None, "broke off"),
        (lambda request: [b"", b""], "more answers than questions"),
        (one_file(b"\xff\xff"), "something else than files"),
        (one_file(b""), "something else than files"),
        (one_file(file("b.proto", "b.proto").SerializeToString()), "import each other"),
        (one_file(file("b.proto", "c.proto").SerializeToString()), "a file that another imports"),
        (
            one_file(
                file("b.proto", "c.proto").SerializeToString(),
                describing(FileDescriptorSet(file=[file("c.proto", "b.proto")])),
            ),
            "import each other",
        ),
        (one_file(file("0.proto", "1.proto").SerializeToString(), endless), "too large"),
    ],
)
async def test_servers_that_answer_garbage(answer: Answer, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_FILES", 50)
    assert why in await reason(answering(answer))


@pytest.mark.anyio
async def test_descriptions_have_a_largest_size(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = answering(describing(descriptors("library.proto")))
    monkeypatch.setattr(limits, "MAX_BYTES", 1000)
    assert "too large" in await reason(honest)
    monkeypatch.setattr(limits, "MAX_SERVICES", 1)
    assert "more than 1 services" in await reason(honest)


@pytest.mark.anyio
async def test_a_server_that_refuses() -> None:
    async def refuse(_requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        await context.abort(grpc.StatusCode.PERMISSION_DENIED, "not you, and here is a secret")
        yield b""

    handler: Any = grpc.stream_stream_rpc_method_handler(refuse)
    generic = grpc.method_handlers_generic_handler(V1, {"ServerReflectionInfo": handler})
    said = await reason(lambda server: server.add_generic_rpc_handlers([generic]))
    assert said == "the server does not describe itself: PERMISSION_DENIED"


@pytest.mark.anyio
async def test_a_server_that_never_answers_costs_the_time_given_and_no_more() -> None:
    asked, ended = asyncio.Event(), asyncio.Event()

    async def hang(requests: AsyncIterator[bytes], _context: Any) -> AsyncIterator[bytes]:
        try:
            async for _ in requests:
                asked.set()
                await asyncio.Event().wait()
            yield b""
        finally:
            ended.set()

    handler: Any = grpc.stream_stream_rpc_method_handler(hang)
    generic = grpc.method_handlers_generic_handler(V1, {"ServerReflectionInfo": handler})
    async with serving(lambda server: server.add_generic_rpc_handlers([generic])) as channel:
        with pytest.raises(ServiceUnavailableError, match=r"within 0\.2 s"):
            await reflect(channel, seconds=0.2)
        asked.clear()
        task = asyncio.ensure_future(reflect(channel, seconds=SECONDS))
        await asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await ended.wait()
        asked.clear()
        task = asyncio.ensure_future(reflect(channel, seconds=SECONDS))
        await asked.wait()
        await channel.close()  # as when the instance is gone: nobody has cancelled the question
        with pytest.raises(ServiceUnavailableError, match="closed"):
            await task


def test_the_default_pool_is_left_alone() -> None:
    loaded(descriptors("library.proto"))
    with pytest.raises(KeyError):
        descriptor_pool.Default().FindFileByName("library.proto")
