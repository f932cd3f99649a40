"""A server stream as an answer: a line (NDJSON) or an event (SSE) for each message, as the client can take them."""

import asyncio
import re
from contextlib import suppress
from typing import Final

import msgspec

from imgateway.adapters.starlette.rest.exchange import Exchange
from imgateway.adapters.starlette.rest.negotiation import Framing
from imgateway.adapters.starlette.rest.shown_metadata import shown
from imgateway.ports import RestStream
from imgateway.rpc import RestProblem
from imgateway.wire.messages import ReplyError

KEEP_ALIVE_SECONDS = 15.0
"""How long nothing is sent before an SSE comment is; also how long the head waits for a first message."""

# U+0085, U+2028 and U+2029: JSON leaves them as they are, and many readers of lines take them for ends (Unicode 5.8).
_LINE_ENDS: Final = {character.encode(): b"\\u%04x" % ord(character) for character in "\x85\u2028\u2029"}
_LINE_END: Final = re.compile(b"|".join(_LINE_ENDS))


async def answer_stream(exchange: Exchange, stream: RestStream, framing: Framing, /) -> str:
    """Send the stream to its end, and tell its code.

    The head waits for the first message, so that a call that fails before it is answered by a problem with a status.
    """
    answer = _StreamAnswer(exchange, stream, framing)
    if exchange.scope["method"] == "HEAD":
        with suppress(TimeoutError):
            async with asyncio.timeout(KEEP_ALIVE_SECONDS):
                async for _ in stream:
                    break
        return await _ended(answer, stream)
    keeping = asyncio.create_task(answer.keep_alive())
    try:
        async for message in stream:
            await answer.write(message)
        return await _ended(answer, stream)
    finally:
        keeping.cancel()


async def _ended(answer: "_StreamAnswer", stream: RestStream) -> str:
    problem = stream.problem
    await answer.end(problem)
    return "OK" if problem is None else problem.code


def _one_line(json: bytes) -> bytes:
    return _LINE_END.sub(lambda found: _LINE_ENDS[found[0]], json)


def error_line(problem: RestProblem, framing: Framing, /) -> bytes:
    """The end of a stream that broke off."""
    error = _one_line(msgspec.json.encode(ReplyError.of(problem)))
    if framing is Framing.NDJSON:
        return b'{"error":%b}\n' % error
    return b"event: error\ndata: %b\n\n" % error


class _StreamAnswer:
    def __init__(self, exchange: Exchange, stream: RestStream, framing: Framing) -> None:
        self._exchange = exchange
        self._stream = stream
        self._framing = framing
        self._before, self._after = (b'{"result":', b"}\n") if framing is Framing.NDJSON else (b"data: ", b"\n\n")
        self._sending = asyncio.Lock()
        self._loop = asyncio.get_running_loop()
        self._sent_at = self._loop.time()
        scope = exchange.scope
        asks = b"trailers" in (exchange.joined(b"te") or b"").lower()
        self._trailers = asks and "http.response.trailers" in (scope.get("extensions") or {})

    async def write(self, message: bytes) -> None:
        """Send a message; returns when the server takes more."""
        async with self._sending:
            if not self._exchange.begun:
                await self._begin()
            await self._send(self._before + _one_line(message) + self._after)

    async def end(self, problem: RestProblem | None) -> None:
        """Send what comes last."""
        async with self._sending:
            if problem is not None and not self._exchange.begun:
                await self._exchange.refuse(problem)
                return
            if not self._exchange.begun:
                await self._begin()
            rest = b"" if problem is None else error_line(problem, self._framing)
            await self._exchange.send({"type": "http.response.body", "body": rest})
            if self._trailers:
                lines = [*shown((), self._stream.trailers)]
                await self._exchange.send({"type": "http.response.trailers", "headers": lines})

    async def keep_alive(self) -> None:
        """Begin the answer if nothing comes, and keep proxies and browsers from taking an SSE stream for dead."""
        with suppress(OSError, RuntimeError):  # servers report a client that is gone in their own ways
            await self._keep_alive()

    async def _keep_alive(self) -> None:
        while True:
            left = self._sent_at + KEEP_ALIVE_SECONDS - self._loop.time()
            if left > 0:
                await asyncio.sleep(left)
                continue
            async with self._sending:
                if not self._exchange.begun:
                    await self._begin()
                if self._framing is Framing.NDJSON:
                    return
                await self._send(b": \n\n")

    async def _begin(self) -> None:
        exchange = self._exchange
        lines = exchange.lines(self._framing.value.encode())
        lines.append((b"x-accel-buffering", b"no"))
        lines += shown(self._stream.headers, ())
        exchange.begun = True
        await exchange.send(
            {"type": "http.response.start", "status": 200, "headers": lines, "trailers": self._trailers}
        )

    async def _send(self, data: bytes) -> None:
        await self._exchange.send({"type": "http.response.body", "body": data, "more_body": True})
        self._sent_at = self._loop.time()
