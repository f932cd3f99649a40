"""The routes of services that describe themselves: of all places together, whatever one of them says."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest, ServerReflectionResponse
from tests.grpc_describing import Answer, answering, describing
from tests.grpc_files import chained, offering
from tests.grpc_instances import entry
from tests.grpc_loop import anyio_backend, one_loop  # noqa: F401  # fixtures: pytest finds them by name
from tests.grpc_servers import running_server

from imgateway.adapters.grpc import GrpcTranscoder
from imgateway.adapters.memory import MemoryServiceRegistry
from imgateway.core.settings_grpc import GrpcServiceSettings, GrpcSettings
from imgateway.model import Identity, UserId
from imgateway.rpc import RestProblem
from imgateway.testing import TranscoderSuite

ALICE = Identity(UserId("alice"), 2**52)

eventually = TranscoderSuite().eventually

Prepare = Callable[[grpc.aio.Server], None]
GOOD = answering(describing(offering("good")))


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
        package: answering(describing(offering(package, methods=300)), first=together.wait)
        for package in ("one", "two")
    }
    async with transcoding(servers) as transcoder:
        await eventually(lambda: serves(transcoder, "one", "two"), "both places are served")


def at_first(first: Answer, then: Answer) -> Answer:
    """A server that answers each kind of question badly once: `None` of `first` is the good answer."""
    asked = 0

    def answer(request: ServerReflectionRequest) -> Any:
        nonlocal asked
        asked += 1
        return (first(request) if asked <= 2 else None) or then(request)

    return answer


def importing_nonsense(request: ServerReflectionRequest) -> Any:
    """A file whose import has a name that is no text: nobody foresaw that."""
    if not request.file_containing_symbol:
        return None
    raw = FileDescriptorProto(name="bad.proto", dependency=["XX"]).SerializeToString().replace(b"XX", b"\xff\xfe")
    response = ServerReflectionResponse()
    response.file_descriptor_response.file_descriptor_proto.append(raw)
    return response


@pytest.mark.anyio
async def test_what_nobody_foresaw_is_logged_and_asked_again(caplog: pytest.LogCaptureFixture) -> None:
    odd = answering(at_first(importing_nonsense, describing(offering("odd"))))
    async with transcoding({"odd": odd, "good": GOOD}) as transcoder:
        await eventually(lambda: serves(transcoder, "odd", "good"), "both places are served")
    (said,) = [record for record in caplog.records if record.exc_info]
    assert said.message == "a service's description can't be used"


@pytest.mark.anyio
async def test_a_reason_is_logged_when_it_is_a_new_one(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("imgateway.core.retrying.FIRST_PAUSE_SECONDS", 0.01)
    attempts = 0

    def answer(request: ServerReflectionRequest) -> Any:
        nonlocal attempts
        attempts += request.HasField("list_services")
        if attempts <= 3:
            return importing_nonsense(request) or honest(request)
        return b"\xff" if attempts <= 6 else honest(request)

    honest = describing(offering("bad"))
    bad = answering(answer)
    async with transcoding({"bad": bad}) as transcoder:
        await eventually(lambda: serves(transcoder, "bad"), "it has thought better of it")
    said = [record.message for record in caplog.records if record.levelname in ("WARNING", "ERROR")]
    assert said == ["a service's description can't be used", "a service does not say what it offers"]


@pytest.mark.anyio
async def test_an_error_that_says_nothing_is_logged_too(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def reflect(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr("imgateway.adapters.grpc.transcoder.reflect", reflect)
    async with transcoding({"good": GOOD}):
        await eventually(lambda: any(record.exc_info for record in caplog.records), "it is logged")


@pytest.mark.anyio
async def test_a_new_instance_is_asked_at_once_however_long_the_one_before_did_not_answer_well(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("imgateway.core.retrying.FIRST_PAUSE_SECONDS", 3600.0)
    asked = asyncio.Event()

    def answer(_: ServerReflectionRequest) -> bytes:
        asked.set()
        return b"\xff"

    registry = MemoryServiceRegistry()
    settings = GrpcSettings(reflection=True, services={"*": GrpcServiceSettings(discover="back")})
    async with (
        running_server(answering(answer)) as bad,
        running_server(GOOD) as good,
        GrpcTranscoder.open(settings, registry.resolver()) as transcoder,
    ):
        await registry.registrar().register(entry(bad))
        await asked.wait()
        await registry.registrar().register(entry(good))
        await eventually(lambda: serves(transcoder, "good"), "the new one is served")


@pytest.mark.anyio
async def test_messages_too_deep_for_python_are_nobodys_end(caplog: pytest.LogCaptureFixture) -> None:
    async with transcoding({"deep": answering(describing(chained("deep", 2000))), "good": GOOD}) as transcoder:
        await eventually(lambda: serves(transcoder, "good"), "the good one is served")
        await eventually(lambda: "too long a chain" in str([vars(r) for r in caplog.records]), "the other is told")
        assert not serves(transcoder, "deep")
        assert serves(transcoder, "good")


@pytest.mark.anyio
async def test_settings_that_match_nothing_are_told_once_and_when_every_place_has_answered(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    asked = asyncio.Event()
    late = answering(describing(offering("late")), first=asked.wait)
    in_vain = {
        "messages": {"x": "late.S/Nothing", "y": "late.S/M0"},
        "public": ("late.S/M0", "late.S/Nowhere"),
    }
    async with transcoding({"good": GOOD, "late": late}, **in_vain) as transcoder:
        await eventually(lambda: serves(transcoder, "good"), "the first place is served")
        assert not warnings(caplog)
        for message_type in ("x", "y"):
            answer = await transcoder.message(message_type, b"{}", ALICE, (), 20.0)
            assert isinstance(answer, RestProblem)
            assert (answer.status, answer.code) == (503, "UNAVAILABLE")
        asked.set()
        await eventually(lambda: serves(transcoder, "late"), "the second place is served")
        said = warnings(caplog)
        assert said == [
            'grpc.public: "late.S/Nowhere" matches no method',
            "grpc.messages.x: late.S/Nothing: no such method",
        ]
        for _ in range(3):
            answer = await transcoder.message("x", b"{}", ALICE, (), 20.0)
            assert isinstance(answer, RestProblem)
            assert (answer.status, answer.code) == (501, "UNIMPLEMENTED")
        assert warnings(caplog) == said


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Why, of each."""
    return [vars(record)["why"] for record in caplog.records if record.levelname == "WARNING"]
