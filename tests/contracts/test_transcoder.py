"""Transcoders: the one in memory holds to the contract, broken ones do not."""

import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio
import attrs
import pytest

from imgateway.adapters.memory import MemoryTranscoder
from imgateway.adapters.memory.transcoder import AnswersMessage, Captures, MemoryMatch, MemoryStream, Said
from imgateway.codes import RpcCode
from imgateway.model import Identity, UserId
from imgateway.rpc import Metadata, RestAnswer, RestProblem, RestRequest
from imgateway.testing import TranscoderSuite, TranscoderUnderTest, assert_caught


def problem(code: RpcCode) -> RestProblem:
    return RestProblem.of(code, "")


def echo(data: bytes, identity: Identity | None) -> RestAnswer | RestProblem:
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return problem(RpcCode.INVALID_ARGUMENT)
    if not isinstance(document, dict) or not isinstance(document.get("text"), str) or identity is None:
        return problem(RpcCode.INVALID_ARGUMENT)
    return RestAnswer(json.dumps({"text": document["text"], "userId": identity.user_id}).encode())


class BackEnd:
    """What the clauses ask for.

    Attributes:
        under_way: calls that never end by themselves.
    """

    under_way = 0

    async def echo(self, request: RestRequest, _: Captures) -> RestAnswer | RestProblem:
        await anyio.lowlevel.checkpoint()
        return echo(request.body, request.identity)

    async def echo_message(self, data: bytes, identity: Identity) -> RestAnswer | RestProblem:
        return echo(data, identity)

    async def lookup(self, _: RestRequest, captures: Captures) -> RestAnswer:
        return RestAnswer(json.dumps(dict(captures)).encode())

    async def fails(self, _: RestRequest, __: Captures) -> RestProblem:
        return problem(RpcCode.NOT_FOUND)

    async def hangs(self, _: RestRequest, __: Captures) -> RestAnswer:
        self.under_way += 1
        try:
            await anyio.sleep_forever()
            raise AssertionError
        finally:
            self.under_way -= 1

    async def counts(self, _: RestRequest, __: Captures) -> AsyncGenerator[Said, None]:
        for number in (1, 2, 3):
            yield b'{"number": %d}' % number

    async def breaks(self, _: RestRequest, __: Captures) -> AsyncGenerator[Said, None]:
        yield b'{"number": 1}'
        yield problem(RpcCode.ABORTED)

    async def endless(self, _: RestRequest, __: Captures) -> AsyncGenerator[Said, None]:
        self.under_way += 1
        try:
            yield b'{"number": 1}'
            await anyio.sleep_forever()
        finally:
            self.under_way -= 1


@pytest.mark.anyio
class TestMemoryTranscoder(TranscoderSuite):
    transcoder: Callable[[], MemoryTranscoder] = MemoryTranscoder

    @asynccontextmanager
    async def make(self) -> AsyncIterator[TranscoderUnderTest]:
        back_end, transcoder = BackEnd(), self.transcoder()
        transcoder.answer("POST", "/api/echo", back_end.echo, takes_body=True)
        transcoder.answer("GET", "/api/users/{id}", back_end.lookup)
        transcoder.answer("GET", "/api/fails", back_end.fails, public=True)
        transcoder.answer("GET", "/api/hangs", back_end.hangs)
        transcoder.stream("GET", "/api/counts", back_end.counts)
        transcoder.stream("GET", "/api/breaks", back_end.breaks)
        transcoder.stream("GET", "/api/endless", back_end.endless)
        transcoder.answer_message("echo", back_end.echo_message)
        yield TranscoderUnderTest(
            transcoder,
            echo=("POST", "/api/echo"),
            lookup=("GET", "/api/users/7"),
            fails=("GET", "/api/fails"),
            hangs=("GET", "/api/hangs"),
            counts=("GET", "/api/counts"),
            breaks=("GET", "/api/breaks"),
            endless=("GET", "/api/endless"),
            unknown="/api/nowhere",
            message="echo",
            under_way=lambda: back_end.under_way,
        )


class MatchOf(MemoryTranscoder):
    """Makes matches of another kind."""

    kind: type[MemoryMatch] = MemoryMatch

    def find(self, http_method: str, path: str, /) -> MemoryMatch | frozenset[str]:
        found = super().find(http_method, path)
        if isinstance(found, frozenset):
            return found
        return self.kind(found.route, found._answers, found._streams, found._captures)


class KnowsNoHead(MemoryTranscoder):
    def find(self, http_method: str, path: str, /) -> MemoryMatch | frozenset[str]:
        return super().find("TRACE" if http_method == "HEAD" else http_method, path)


class AllowsEverything(MemoryTranscoder):
    def find(self, http_method: str, path: str, /) -> MemoryMatch | frozenset[str]:
        found = super().find(http_method, path)
        return frozenset({"GET", "POST"}) if isinstance(found, frozenset) and found else found


class ForgetsTheOthers(MemoryTranscoder):
    def find(self, http_method: str, path: str, /) -> MemoryMatch | frozenset[str]:
        found = super().find(http_method, path)
        return frozenset() if isinstance(found, frozenset) else found


class TakesPrefixes(MemoryTranscoder):
    def find(self, http_method: str, path: str, /) -> MemoryMatch | frozenset[str]:
        return super().find(http_method, "/api/counts" if path == "/api/nowhere" else path)


class DecodesStrictly(MemoryTranscoder):
    def find(self, http_method: str, path: str, /) -> MemoryMatch | frozenset[str]:
        path.encode()
        return super().find(http_method, path)


class DeniesStreams(MemoryTranscoder):
    def find(self, http_method: str, path: str, /) -> MemoryMatch | frozenset[str]:
        found = super().find(http_method, path)
        if isinstance(found, frozenset):
            return found
        return attrs.evolve(found, route=attrs.evolve(found.route, server_streaming=False))


class DescribesNothing(MemoryTranscoder):
    def openapi(self) -> bytes:
        return b"{}"


class TakesTheFirstUser(MatchOf):
    class kind(MemoryMatch):  # noqa: N801  # overrides an attribute
        first: Identity | None = None

        async def unary(self, request: RestRequest, /) -> RestAnswer | RestProblem:
            kind = type(self)
            kind.first = kind.first or request.identity
            return await super().unary(attrs.evolve(request, identity=kind.first))


class RaisesProblems(MatchOf):
    class kind(MemoryMatch):  # noqa: N801  # overrides an attribute
        async def unary(self, request: RestRequest, /) -> RestAnswer | RestProblem:
            answer = await super().unary(request)
            if isinstance(answer, RestProblem) and answer.code == "NOT_FOUND":
                raise ValueError
            return answer


class SaysTwoHundred(MatchOf):
    class kind(MemoryMatch):  # noqa: N801  # overrides an attribute
        async def unary(self, request: RestRequest, /) -> RestAnswer | RestProblem:
            answer = await super().unary(request)
            return attrs.evolve(answer, status=200) if isinstance(answer, RestProblem) else answer


class TakesItsTime(MatchOf):
    class kind(MemoryMatch):  # noqa: N801  # overrides an attribute
        async def unary(self, request: RestRequest, /) -> RestAnswer | RestProblem:
            return await super().unary(attrs.evolve(request, seconds=3600.0))


class FinishesAnyway(MatchOf):
    class kind(MemoryMatch):  # noqa: N801  # overrides an attribute
        async def unary(self, request: RestRequest, /) -> RestAnswer | RestProblem:
            answer: RestAnswer | RestProblem = problem(RpcCode.CANCELLED)
            with anyio.CancelScope(shield=True):
                answer = await super().unary(attrs.evolve(request, seconds=0.5))
            return answer


class StreamsOf(MatchOf):
    class kind(MemoryMatch):  # noqa: N801  # overrides an attribute
        of: type[MemoryStream] = MemoryStream

        async def stream(self, request: RestRequest, /) -> MemoryStream | RestProblem:
            stream = await super().stream(request)
            assert isinstance(stream, MemoryStream)
            return self.of(stream._source, stream._ends_at)


def streams_of(stream: type[MemoryStream]) -> Callable[[], MemoryTranscoder]:
    match = type("kind", (StreamsOf.kind,), {"of": stream})
    return type("Streams", (MatchOf,), {"kind": match})


class HidesTheProblem(MemoryStream):
    async def __anext__(self) -> bytes:
        try:
            return await super().__anext__()
        finally:
            self.problem = None


class BreaksLines(MemoryStream):
    async def __anext__(self) -> bytes:
        return json.dumps(json.loads(await super().__anext__()), indent=1).encode()


class LosesTheSecond(MemoryStream):
    async def __anext__(self) -> bytes:
        message = await super().__anext__()
        return await super().__anext__() if b"2" in message else message


class NeverTooLate(MemoryStream):
    async def __anext__(self) -> bytes:
        self._ends_at = float("inf")
        return await super().__anext__()


class StaysOpen(MemoryStream):
    async def aclose(self) -> None:
        self.__class__.kept.append(self._source)

    kept: list[object] = []  # noqa: RUF012  # shared on purpose: nothing ends the generators


class ForgetsTheUser(MemoryTranscoder):
    def answer_message(self, message_type: str, answers: AnswersMessage, /) -> None:
        async def anybody(data: bytes, identity: Identity) -> RestAnswer | RestProblem:
            return await answers(data, attrs.evolve(identity, user_id=UserId("nobody")))

        super().answer_message(message_type, anybody)


class HasNoMessages(MemoryTranscoder):
    @property
    def message_types(self) -> frozenset[str]:
        return frozenset()


class MessagesRaise(MemoryTranscoder):
    async def message(
        self, message_type: str, data: bytes, identity: Identity, metadata: Metadata, seconds: float, /
    ) -> RestAnswer | RestProblem:
        answer = await super().message(message_type, data, identity, metadata, seconds)
        if isinstance(answer, RestProblem):
            raise ValueError
        return answer


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("broken", "clauses"),
    [
        (KnowsNoHead, "head_finds_what_get_finds"),
        (AllowsEverything, "a_wrong_method_is_told_the_right_ones"),
        (ForgetsTheOthers, "a_wrong_method_is_told_the_right_ones"),
        (TakesPrefixes, "an_unknown_path_has_no_methods"),
        (DecodesStrictly, "no_path_is_too_strange"),
        (DeniesStreams, "a_route_is_found_by_method_and_path"),
        (DescribesNothing, "it_describes_itself"),
        (TakesTheFirstUser, "calls_do_not_mix"),
        (RaisesProblems, "a_refusal_is_a_problem"),
        (SaysTwoHundred, "a_refusal_is_a_problem a_senseless_body_is_a_problem"),
        (TakesItsTime, "a_call_ends_with_its_time"),
        (FinishesAnyway, "cancelling_cancels_the_call"),
        (streams_of(HidesTheProblem), "a_stream_that_breaks_off_says_why a_stream_ends_with_its_time"),
        (streams_of(BreaksLines), "a_stream_has_all_messages_in_order"),
        (streams_of(LosesTheSecond), "a_stream_has_all_messages_in_order"),
        (streams_of(NeverTooLate), "a_stream_ends_with_its_time"),
        (streams_of(StaysOpen), "closing_a_stream_cancels_the_call"),
        (ForgetsTheUser, "a_message_is_answered"),
        (HasNoMessages, "a_message_is_answered"),
        (MessagesRaise, "a_senseless_message_is_a_problem"),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
async def test_broken_transcoders_are_caught(broken: Callable[[], MemoryTranscoder], clauses: str) -> None:
    suite = TestMemoryTranscoder()
    suite.transcoder = broken
    await assert_caught(suite, *clauses.split())
