"""The contract of `ports.Balancer`."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Final

import anyio
import attrs

from imgateway.codes import RpcCode
from imgateway.ports import Balancer, RpcStream
from imgateway.rpc import RpcAnswer, RpcFailure
from imgateway.testing.suite import ContractSuite

_SECONDS = 20.0
_SOON = 0.05

SAID: Final = "there is nothing here"
"""The words with which a service under test refuses."""


@attrs.frozen
class BalancerUnderTest:
    """A balancer and the methods that the clauses call, as `pkg.Service/Method`.

    Attributes:
        echo: unary; answers with the request, unknown fields included.
        fails: unary; refuses with `NOT_FOUND` and `SAID`, no trailers.
        hangs: unary; never answers.
        counts: streams `request` three times, then the good end.
        breaks: streams `request` once, then `ABORTED` and `SAID`.
        endless: streams `request` once, and nothing more for ever.
        request: a serialised message that all of them take.
        under_way: how many calls of `hangs` and `endless` the service has not finished with.
    """

    balancer: Balancer
    echo: str
    fails: str
    hangs: str
    counts: str
    breaks: str
    endless: str
    request: bytes
    under_way: Callable[[], int]

    async def unary(self, rpc: str, /, seconds: float = _SECONDS) -> RpcAnswer | RpcFailure:
        """One call."""
        return await self.balancer.unary(rpc, self.request, (), seconds, False)

    async def stream(self, rpc: str, /, seconds: float = _SECONDS) -> RpcStream:
        """One stream."""
        stream = await self.balancer.stream(rpc, self.request, (), seconds)
        assert not isinstance(stream, RpcFailure), stream
        return stream


class BalancerSuite(ContractSuite):
    """Every balancer holds to this."""

    def make(self) -> AbstractAsyncContextManager[BalancerUnderTest]:
        """A balancer and its service."""
        raise NotImplementedError

    async def test_a_call_is_answered(self) -> None:
        """With the service's message."""
        async with self.make() as made:
            answer = await made.unary(made.echo)
            assert isinstance(answer, RpcAnswer), answer
            assert answer.message == made.request

    async def test_calls_at_the_same_time_have_their_own_answers(self) -> None:
        """Each the one to its request."""
        async with self.make() as made:
            answers: dict[bytes, object] = {}

            async def ask(request: bytes) -> None:
                answers[request] = await made.balancer.unary(made.echo, request, (), _SECONDS, False)

            async with anyio.create_task_group() as tasks:
                for number in range(50):
                    # A field that the message does not know, number 15, with two bytes.
                    tasks.start_soon(ask, made.request + b"\x7a\x02%02d" % number)
            for request, answer in answers.items():
                assert isinstance(answer, RpcAnswer), answer
                assert answer.message == request

    async def test_a_refusal_is_a_value(self) -> None:
        """With the service's code and words."""
        async with self.make() as made:
            self._is(RpcCode.NOT_FOUND, await made.unary(made.fails), SAID)

    async def test_a_method_that_is_not_there_is_unimplemented(self) -> None:
        """As the service says."""
        async with self.make() as made:
            self._is(RpcCode.UNIMPLEMENTED, await made.unary(f"{made.echo}NotThere"))

    async def test_a_call_ends_with_its_time(self) -> None:
        """At the service as well."""
        async with self.make() as made:
            self._is(RpcCode.DEADLINE_EXCEEDED, await made.unary(made.hangs, seconds=_SOON))
            await self.eventually(lambda: made.under_way() == 0, "the service knows that the time is over")

    async def test_cancelling_cancels_the_call(self) -> None:
        """At the service as well, and no more than the scope that was cancelled; the next call is answered."""
        async with self.make() as made:
            scope = anyio.CancelScope()
            went_on = anyio.Event()

            async def ask() -> None:
                with scope:
                    await made.unary(made.hangs)
                went_on.set()

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(ask)
                await self.eventually(lambda: made.under_way() == 1, "the service is asked")
                scope.cancel()
                await self.eventually(lambda: made.under_way() == 0, "the call is cancelled")
            assert went_on.is_set(), "more was cancelled than the call"
            assert isinstance(await made.unary(made.echo), RpcAnswer)

    async def test_a_stream_has_all_messages(self) -> None:
        """And after a good end no failure."""
        async with self.make() as made:
            stream = await made.stream(made.counts)
            assert len([message async for message in stream]) == 3
            assert stream.failure is None
            await stream.aclose()

    async def test_a_stream_that_breaks_off_says_why(self) -> None:
        """After the messages that came before."""
        async with self.make() as made:
            stream = await made.stream(made.breaks)
            assert len([message async for message in stream]) == 1
            self._is(RpcCode.ABORTED, stream.failure, SAID)
            await stream.aclose()

    async def test_a_stream_ends_with_its_time(self) -> None:
        """With `DEADLINE_EXCEEDED`, after what had come."""
        async with self.make() as made:

            async def read(seconds: float) -> list[bytes]:
                stream = await made.stream(made.endless, seconds)
                messages = [message async for message in stream]
                self._is(RpcCode.DEADLINE_EXCEEDED, stream.failure)
                await stream.aclose()
                return messages

            messages = await self.once_begun(read)
            assert len(messages) == 1

    async def test_closing_a_stream_cancels_the_call(self) -> None:
        """As often as one likes."""
        async with self.make() as made:
            stream = await made.stream(made.endless)
            async for _ in stream:
                break
            for _ in range(2):
                await stream.aclose()
            await self.eventually(lambda: made.under_way() == 0, "the call is cancelled")

    async def test_closing_ends_what_is_under_way(self) -> None:
        """With a value for whoever waits, and for whoever comes later."""
        outcomes: list[object] = []
        async with self.make() as made:

            async def ask() -> None:
                outcomes.append(await made.unary(made.hangs))

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(ask)
                await self.eventually(lambda: made.under_way() == 1, "the service is asked")
                for _ in range(2):
                    await made.balancer.aclose()
            outcomes.append(await made.unary(made.echo))
            outcomes.append(await made.balancer.stream(made.counts, made.request, (), _SECONDS))
            for outcome in outcomes:
                self._is(RpcCode.UNAVAILABLE, outcome)

    async def test_closing_ends_streams(self) -> None:
        """At the service as well; whoever reads finds it unavailable."""
        async with self.make() as made:
            stream = await made.stream(made.endless)
            async for _ in stream:
                break
            await made.balancer.aclose()
            assert [message async for message in stream] == []
            self._is(RpcCode.UNAVAILABLE, stream.failure)
            await self.eventually(lambda: made.under_way() == 0, "the call is cancelled")
            await stream.aclose()

    def _is(self, code: RpcCode, outcome: object, words: str | None = None) -> None:
        assert isinstance(outcome, RpcFailure), outcome
        assert outcome.code is code
        if words is not None:
            assert (outcome.message, outcome.reached) == (words, True)
