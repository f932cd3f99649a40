"""The contract of `ports.Transcoder`."""

import json
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import anyio
import attrs

from imgateway.codes import RPC_HTTP_STATUS, RpcCode
from imgateway.model import Identity, UserId
from imgateway.ports import RestMatch, RestStream, Transcoder
from imgateway.rpc import RestAnswer, RestProblem, RestRequest
from imgateway.testing.suite import ContractSuite

_ALICE = Identity(UserId("alice"), 2**52)
_BOB = Identity(UserId("bob"), 2**52)
_SECONDS = 20.0
_SOON = 0.05

_HOSTILE_PATHS = (
    "", "/", "//", "?", "%", "%zz", "%00", "/\x00", "/..", "/../..", "/%2e%2e/", "/a//b", "/" + "a/" * 5000,
    "/" + "x" * 30_000, "/%ff%fe", "/{id}", "/*", "/**", "/a:b:c", "/\u4e1c", "/\ud800", "https://host/path",
)  # fmt: skip


@attrs.frozen
class TranscoderUnderTest:
    """A transcoder and the back end that the clauses ask, by method and path.

    Attributes:
        echo: a private unary route that takes a body: `{"text": …}` is answered by `{"text": …, "userId": …}`, with
            the text given and the verified user.
        lookup: a GET route that is answered by some JSON object.
        fails: a GET route whose back end refuses with `NOT_FOUND`.
        hangs: a GET route whose back end never answers.
        counts: a server-streaming GET route: `{"number": 1}`, then 2, then 3, then the good end.
        breaks: a server-streaming GET route: `{"number": 1}`, then `ABORTED`.
        endless: a server-streaming GET route: `{"number": 1}`, and nothing more for ever.
        unknown: a path that has no route.
        message: a type of client message whose data and answer are those of `echo`.
        under_way: how many calls the back end has not finished with; falls when one is cancelled.
    """

    transcoder: Transcoder
    echo: tuple[str, str]
    lookup: tuple[str, str]
    fails: tuple[str, str]
    hangs: tuple[str, str]
    counts: tuple[str, str]
    breaks: tuple[str, str]
    endless: tuple[str, str]
    unknown: str
    message: str
    under_way: Callable[[], int]

    def match(self, route: tuple[str, str], /) -> RestMatch:
        """The match of one of the routes above."""
        found = self.transcoder.find(*route)
        assert not isinstance(found, frozenset), f"no route for {route}, only {sorted(found)}"
        return found

    async def stream(self, route: tuple[str, str], /, seconds: float = _SECONDS) -> RestStream:
        """The stream of one of the routes above."""
        stream = await self.match(route).stream(_request(seconds=seconds))
        assert not isinstance(stream, RestProblem), stream
        return stream


class TranscoderSuite(ContractSuite):
    """Every transcoder holds to this."""

    def make(self) -> AbstractAsyncContextManager[TranscoderUnderTest]:
        """A transcoder that knows its routes, and its back end."""
        raise NotImplementedError

    # Routes.

    async def test_a_route_is_found_by_method_and_path(self) -> None:
        """The match says which it is."""
        async with self.make() as made:
            for method, path in (made.echo, made.lookup, made.fails, made.hangs, made.counts):
                route = made.match((method, path)).route
                assert route.http_method == method
                assert route.server_streaming == ((method, path) == made.counts)
            assert made.match(made.echo).route.takes_body
            assert not made.match(made.echo).route.public

    async def test_an_unknown_path_has_no_methods(self) -> None:
        """Whatever the method, nothing is found."""
        async with self.make() as made:
            for method in ("GET", "POST", "OPTIONS", "PURGE", ""):
                assert made.transcoder.find(method, made.unknown) == frozenset()

    async def test_a_wrong_method_is_told_the_right_ones(self) -> None:
        """For `Allow`: exactly those that would find something."""
        async with self.make() as made:
            found = made.transcoder.find("PURGE", made.echo[1])
            assert isinstance(found, frozenset)
            assert made.echo[0] in found
            for method in found:
                assert not isinstance(made.transcoder.find(method, made.echo[1]), frozenset), method

    async def test_head_finds_what_get_finds(self) -> None:
        """RFC 9110 section 9.3.2."""
        async with self.make() as made:
            assert made.match(("HEAD", made.lookup[1])).route == made.match(made.lookup).route

    async def test_no_path_is_too_strange(self) -> None:
        """What clients may write finds something or nothing; it never raises."""
        async with self.make() as made:
            for path in (*_HOSTILE_PATHS, *(made.lookup[1] + path for path in _HOSTILE_PATHS)):
                for method in ("GET", "POST"):
                    made.transcoder.find(method, path)

    async def test_it_describes_itself(self) -> None:
        """Loaded; an OpenAPI 3.1 document with the path of every route."""
        async with self.make() as made:
            assert made.transcoder.loaded
            document = json.loads(made.transcoder.openapi())
            assert document["openapi"].startswith("3.1")
            assert document["paths"]

    # Unary calls.

    async def test_a_call_is_answered(self) -> None:
        """By a JSON text, of what the client sent and of who it is proven to be."""
        async with self.make() as made:
            answer = await made.match(made.echo).unary(_request({"text": "东 \u2028 \U0001f600"}))
            assert _json(answer) == {"text": "东 \u2028 \U0001f600", "userId": "alice"}

    async def test_calls_do_not_mix(self) -> None:
        """Many at a time each get their own answer, also from one match."""
        answers: dict[int, Any] = {}
        async with self.make() as made:
            match = made.match(made.echo)

            async def ask(number: int) -> None:
                identity = _BOB if number % 2 else _ALICE
                answers[number] = _json(await match.unary(_request({"text": str(number)}, identity)))

            async with anyio.create_task_group() as tasks:
                for number in range(20):
                    tasks.start_soon(ask, number)
        users = ("alice", "bob")
        assert answers == {number: {"text": str(number), "userId": users[number % 2]} for number in range(20)}

    async def test_a_refusal_is_a_problem(self) -> None:
        """With gRPC's name for it, and the status that goes with the name."""
        async with self.make() as made:
            self._is(RpcCode.NOT_FOUND, await made.match(made.fails).unary(_request()))

    async def test_a_senseless_body_is_a_problem(self) -> None:
        """And the back end is not asked."""
        async with self.make() as made:
            for body in (b"{", b"[]", b"\xff", b'{"text": 1}', b'{"text": "a"} x', b"[" * 100_000):
                request = attrs.evolve(_request(), body=body)
                self._is(RpcCode.INVALID_ARGUMENT, await made.match(made.echo).unary(request))

    async def test_a_call_ends_with_its_time(self) -> None:
        """At the back end as well."""
        async with self.make() as made:
            answer = await made.match(made.hangs).unary(_request(seconds=_SOON))
            self._is(RpcCode.DEADLINE_EXCEEDED, answer)
            await self.eventually(lambda: made.under_way() == 0, "the back end knows that the time is over")

    async def test_cancelling_cancels_the_call(self) -> None:
        """At the back end as well, and no more than the scope that was cancelled; the next one is answered."""
        async with self.make() as made:
            scope = anyio.CancelScope()
            went_on = anyio.Event()

            async def ask() -> None:
                with scope:
                    await made.match(made.hangs).unary(_request())
                went_on.set()

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(ask)
                await self.eventually(lambda: made.under_way() == 1, "the back end is asked")
                scope.cancel()
                await self.eventually(lambda: made.under_way() == 0, "the call is cancelled")
            assert went_on.is_set(), "more was cancelled than the call"
            assert _json(await made.match(made.echo).unary(_request({"text": "a"})))["text"] == "a"

    # Streams.

    async def test_a_stream_has_all_messages_in_order(self) -> None:
        """Each a JSON text on one line; after the last one there is no problem."""
        async with self.make() as made:
            stream = await made.stream(made.counts)
            messages = [message async for message in stream]
            assert [json.loads(message) for message in messages] == [{"number": number} for number in (1, 2, 3)]
            assert not any(b"\n" in message or b"\r" in message for message in messages)
            assert stream.problem is None
            await stream.aclose()
            assert stream.problem is None

    async def test_a_stream_that_breaks_off_says_why(self) -> None:
        """After the messages that came before."""
        async with self.make() as made:
            stream = await made.stream(made.breaks)
            assert stream.problem is None
            assert [json.loads(message) async for message in stream] == [{"number": 1}]
            self._is(RpcCode.ABORTED, stream.problem)
            await stream.aclose()

    async def test_a_stream_ends_with_its_time(self) -> None:
        """With `DEADLINE_EXCEEDED`, after what had come."""
        async with self.make() as made:

            async def read(seconds: float) -> list[bytes]:
                stream = await made.stream(made.endless, seconds)
                messages = [message async for message in stream]
                self._is(RpcCode.DEADLINE_EXCEEDED, stream.problem)
                await stream.aclose()
                return messages

            messages = await self.once_begun(read)
            assert [json.loads(message) for message in messages] == [{"number": 1}]
            await self.eventually(lambda: made.under_way() == 0, "the back end knows that the time is over")

    async def test_closing_a_stream_cancels_the_call(self) -> None:
        """At any moment, and as often as one likes."""
        async with self.make() as made:
            unread = await made.stream(made.endless)
            await unread.aclose()
            begun = await made.stream(made.endless)
            async for _ in begun:
                break
            for _ in range(2):
                await begun.aclose()
            await self.eventually(lambda: made.under_way() == 0, "the calls are cancelled")

    async def test_cancelling_the_reader_and_closing_cancels_the_call(self) -> None:
        """As when a client leaves while nothing comes."""
        async with self.make() as made:

            async def read() -> None:
                stream = await made.stream(made.endless)
                try:
                    async for _ in stream:
                        pass
                finally:
                    with anyio.CancelScope(shield=True):
                        await stream.aclose()

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(read)
                await self.eventually(lambda: made.under_way() == 1, "the back end is asked")
                await self.quiet()
                tasks.cancel_scope.cancel()
            await self.eventually(lambda: made.under_way() == 0, "the call is cancelled")

    # Clients' messages.

    async def test_a_message_is_answered(self) -> None:
        """Like a request with its data as the body."""
        async with self.make() as made:
            assert made.message in made.transcoder.message_types
            answer = await made.transcoder.message(made.message, b'{"text": "a"}', _BOB, (), _SECONDS)
            assert _json(answer) == {"text": "a", "userId": "bob"}

    async def test_a_senseless_message_is_a_problem(self) -> None:
        """Its data is not what the method takes."""
        async with self.make() as made:
            answer = await made.transcoder.message(made.message, b'{"text": []}', _BOB, (), _SECONDS)
            self._is(RpcCode.INVALID_ARGUMENT, answer)

    def _is(self, code: RpcCode, answer: object) -> None:
        assert isinstance(answer, RestProblem), answer
        assert (answer.code, answer.status) == (code.name, RPC_HTTP_STATUS[code])


def _request(body: object = None, identity: Identity = _ALICE, *, seconds: float = _SECONDS) -> RestRequest:
    return RestRequest("", b"" if body is None else json.dumps(body).encode(), identity, (), seconds)


def _json(answer: RestAnswer | RestProblem) -> Any:
    assert isinstance(answer, RestAnswer), answer
    return json.loads(answer.body)
