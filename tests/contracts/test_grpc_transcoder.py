"""The transcoder of gRPC services holds to the contract, with a real server behind it; and what only it does."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import grpc
import pytest
from grpc_reflection.v1alpha import reflection
from tests.grpc_back_end import FILE, SERVICE, BackEnd, running_back_end
from tests.grpc_instances import available
from tests.grpc_loop import anyio_backend, one_loop  # noqa: F401  # fixtures: pytest finds them by name
from tests.grpc_protos import descriptors
from tests.grpc_servers import Handlers, offering_methods, running_server

from imgateway.adapters.grpc import GrpcTranscoder
from imgateway.core.settings_grpc import GrpcServiceSettings, GrpcSettings
from imgateway.errors import SettingsError
from imgateway.model import Identity, UserId
from imgateway.ports import RestStream
from imgateway.rpc import RestAnswer, RestProblem, RestRequest
from imgateway.testing import TranscoderSuite, TranscoderUnderTest

ALICE = Identity(UserId("alice"), 2**52)


@pytest.fixture(scope="module")
def descriptor_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("descriptors") / "back.binpb"
    file.write_bytes(descriptors(FILE).SerializeToString())
    return file


def settings(address: str, file: Path | None, **more: object) -> GrpcSettings:
    return GrpcSettings(
        descriptor_set=None if file is None else str(file),
        reflection=file is None,
        services={SERVICE: GrpcServiceSettings(target=address)},
        messages={"echo": f"{SERVICE}/Echo"},
        return_metadata=("x-seen",),
        **more,  # type: ignore[arg-type]  # any other setting
    )


async def connected(transcoder: GrpcTranscoder) -> None:
    """Return when the service can be called: until then a call waits for a second at most."""
    (balancer,) = transcoder._places.balancers.values()
    await TranscoderSuite().eventually(lambda: available(balancer), "the service is connected to")


@asynccontextmanager
async def transcoding(file: Path | None, **more: object) -> AsyncIterator[tuple[GrpcTranscoder, BackEnd]]:
    async with (
        running_back_end() as (back_end, address),
        GrpcTranscoder.open(settings(address, file, **more), None) as transcoder,
    ):
        await connected(transcoder)
        yield transcoder, back_end


async def ask(
    transcoder: GrpcTranscoder,
    path: str,
    body: bytes = b"",
    identity: Identity = ALICE,
    method: str = "GET",
    metadata: tuple[tuple[str, str], ...] = (),
) -> RestAnswer | RestProblem:
    found = transcoder.find(method, path)
    assert not isinstance(found, frozenset), found
    return await found.unary(RestRequest("", body, identity, metadata, 20.0))


@pytest.mark.anyio
class TestGrpcTranscoder(TranscoderSuite):
    @pytest.fixture(autouse=True)
    def _file(self, descriptor_set: Path) -> None:
        self.file = descriptor_set

    @asynccontextmanager
    async def make(self) -> AsyncIterator[TranscoderUnderTest]:
        async with transcoding(self.file) as (transcoder, back_end):
            yield TranscoderUnderTest(
                transcoder,
                echo=("POST", "/api/echo"),
                lookup=("GET", "/api/things/1"),
                fails=("GET", "/api/fails/x"),
                hangs=("GET", "/api/hangs"),
                counts=("GET", "/api/counts"),
                breaks=("GET", "/api/breaks"),
                endless=("GET", "/api/endless"),
                unknown="/api/nothing",
                message="echo",
                under_way=lambda: back_end.under_way,
            )


@pytest.mark.anyio
async def test_details_are_shown_but_for_those_of_the_inside(descriptor_set: Path) -> None:
    async with transcoding(descriptor_set) as (transcoder, _):
        problem = await ask(transcoder, "/api/fails/RESOURCE_EXHAUSTED")
    assert isinstance(problem, RestProblem)
    assert (problem.status, problem.code, problem.retry_after) == (429, "RESOURCE_EXHAUSTED", 7)
    assert [detail["@type"].rpartition(".")[2] for detail in problem.details] == ["ErrorInfo", "RetryInfo"]
    assert problem.trailers == (("x-seen", "yes"),)


@pytest.mark.anyio
@pytest.mark.parametrize("code", ["INTERNAL", "UNKNOWN", "DATA_LOSS"])
async def test_what_a_back_end_says_of_its_own_mistakes_stays_inside(descriptor_set: Path, code: str) -> None:
    async with transcoding(descriptor_set) as (transcoder, _):
        problem = await ask(transcoder, f"/api/fails/{code}")
    assert isinstance(problem, RestProblem)
    assert (problem.status, problem.code, problem.details) == (500, code, ())
    assert "10.0.0.1" not in problem.detail


@pytest.mark.anyio
async def test_garbage_is_a_failure_of_the_service(descriptor_set: Path) -> None:
    async with transcoding(descriptor_set) as (transcoder, _):
        problem = await ask(transcoder, "/api/garbage")
    assert isinstance(problem, RestProblem)
    assert (problem.status, problem.code) == (500, "INTERNAL")


@pytest.mark.anyio
async def test_an_answer_that_is_too_large_is_no_refusal_of_the_back_end(descriptor_set: Path) -> None:
    async with transcoding(descriptor_set, max_response_bytes=1024) as (transcoder, _):
        problem = await ask(transcoder, "/api/things/" + "x" * 2000)
    assert isinstance(problem, RestProblem)
    assert (problem.status, problem.code) == (500, "INTERNAL")
    assert "too large" in problem.detail


@asynccontextmanager
async def streaming(file: Path, *messages: bytes, **more: object) -> AsyncIterator[tuple[RestStream, anyio.Event]]:
    """The stream of a method that sends these bytes and then waits, and what is set when its call has ended."""
    ended = anyio.Event()

    async def sends(_: bytes, __: object) -> AsyncIterator[bytes]:
        try:
            for message in messages:
                yield message
            await anyio.sleep_forever()
        finally:
            ended.set()

    handlers: Handlers = {SERVICE: {"Counts": grpc.unary_stream_rpc_method_handler(sends)}}
    async with (
        running_server(offering_methods(handlers)) as address,
        GrpcTranscoder.open(settings(address, file, **more), None) as transcoder,
    ):
        await connected(transcoder)
        found = transcoder.find("GET", "/api/counts")
        assert not isinstance(found, frozenset)
        stream = await found.stream(RestRequest("", b"", ALICE, (), 20.0))
        assert not isinstance(stream, RestProblem), stream
        yield stream, ended


@pytest.mark.anyio
async def test_garbage_in_the_middle_of_a_stream_ends_it_and_its_call(descriptor_set: Path) -> None:
    async with streaming(descriptor_set, b"\x08\x01", b"\xff\xff", b"\x08\x02") as (stream, ended):
        assert [message async for message in stream] == [b'{"number":1}']
        assert stream.problem is not None
        assert (stream.problem.status, stream.problem.code) == (500, "INTERNAL")
        with anyio.fail_after(10):
            await ended.wait()


@pytest.mark.anyio
async def test_a_message_of_a_stream_that_is_too_large_ends_it_and_its_call(descriptor_set: Path) -> None:
    large = b"\x08\x02\x12\xd0\x0f" + b"x" * 2000  # also has a field that its type does not know
    async with streaming(descriptor_set, b"\x08\x01", large, max_response_bytes=1024) as (stream, ended):
        assert [message async for message in stream] == [b'{"number":1}']
        assert stream.problem is not None
        assert (stream.problem.status, stream.problem.code) == (500, "INTERNAL")
        assert "too large" in stream.problem.detail
        with anyio.fail_after(10):
            await ended.wait()
    async with streaming(descriptor_set, large, b"\xff\xff") as (stream, _):
        assert [message async for message in stream] == [b'{"number":2}']


@pytest.mark.anyio
async def test_metadata_is_shown_by_the_list_alone(descriptor_set: Path) -> None:
    async with transcoding(descriptor_set) as (transcoder, _):
        answer = await ask(transcoder, "/api/metadata/1")
    assert isinstance(answer, RestAnswer)
    assert (answer.headers, answer.trailers) == ((("x-seen", "first"),), (("x-seen", "last"),))


@pytest.mark.anyio
async def test_the_verified_user_goes_along_last_and_alone(descriptor_set: Path) -> None:
    forged = (("x-user-id", "mallory"), ("x-user-id-bin", "mallory"), ("x-request-id", "1"))
    async with transcoding(descriptor_set) as (transcoder, back_end):
        answer = await ask(
            transcoder, "/api/echo", b'{"text": "a", "user_id": "mallory"}', method="POST", metadata=forged
        )
        assert isinstance(answer, RestAnswer)
        assert answer.body == b'{"text":"a","userId":"alice"}'
        assert back_end.metadata["x-user-id"] == "alice"
        assert "x-user-id-bin" not in back_end.metadata
        assert back_end.metadata["x-request-id"] == "1"


@pytest.mark.anyio
@pytest.mark.parametrize("user_id", ["东京", " a ", "é"])
async def test_a_user_id_that_is_no_plain_text_goes_as_bytes(descriptor_set: Path, user_id: str) -> None:
    async with transcoding(descriptor_set) as (transcoder, back_end):
        await ask(transcoder, "/api/things/1", identity=Identity(UserId(user_id), 2**52))
        assert back_end.metadata["x-user-id-bin"] == user_id.encode()
        assert "x-user-id" not in back_end.metadata


@pytest.mark.anyio
async def test_with_nobody_there_the_answer_comes_at_once(descriptor_set: Path) -> None:
    async with running_back_end() as (_, address):
        pass
    async with GrpcTranscoder.open(settings(address, descriptor_set), None) as transcoder:
        for _ in range(3):
            problem = await ask(transcoder, "/api/things/1")
            assert isinstance(problem, RestProblem)
            assert (problem.status, problem.code, problem.retry_after) == (503, "UNAVAILABLE", 1)
            assert "127.0.0.1" not in problem.detail


@pytest.mark.anyio
async def test_services_say_themselves_what_they_offer(descriptor_set: Path) -> None:
    async with transcoding(descriptor_set) as (described, _):
        wanted = json.loads(described.openapi())["paths"].keys()
    async with transcoding(None) as (transcoder, _):
        while not transcoder.loaded:
            await TranscoderSuite().quiet()
        assert json.loads(transcoder.openapi())["paths"].keys() == wanted
        assert isinstance(await ask(transcoder, "/api/things/1"), RestAnswer)


@pytest.mark.anyio
async def test_a_message_of_no_method_is_an_error_of_the_settings(descriptor_set: Path) -> None:
    wrong = GrpcSettings(
        descriptor_set=str(descriptor_set),
        services={SERVICE: GrpcServiceSettings(target="127.0.0.1:1")},
        messages={"x": f"{SERVICE}/Nothing"},
    )
    with pytest.raises(SettingsError, match=r"grpc\.messages\.x"):
        async with GrpcTranscoder.open(wrong, None):
            pass


@pytest.mark.anyio
async def test_a_service_that_is_deployed_anew_is_asked_anew() -> None:
    bare = grpc.aio.server()
    reflection.enable_server_reflection([reflection.SERVICE_NAME], bare)
    port = bare.add_insecure_port("127.0.0.1:0")
    await bare.start()
    async with GrpcTranscoder.open(settings(f"127.0.0.1:{port}", None), None) as transcoder:
        while not transcoder.loaded:
            await TranscoderSuite().quiet()
        assert transcoder.find("GET", "/api/things/1") == frozenset()
        await bare.stop(None)
        async with running_back_end(f"127.0.0.1:{port}"):
            await TranscoderSuite().eventually(
                lambda: bool(transcoder.find("GET", "/api/things/1")), "the new one's routes are known"
            )
            await connected(transcoder)
            assert isinstance(await ask(transcoder, "/api/things/1"), RestAnswer)
