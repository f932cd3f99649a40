"""HTTP requests: closed loop by the number of connections, or open loop by a rate."""

import asyncio
import time
from collections import deque
from collections.abc import Iterator
from typing import Final

from imgateway_cli.bench.http import HttpConnection, refusal
from imgateway_cli.bench.link import Link
from imgateway_cli.bench.opening import connected, reason_of, together
from imgateway_cli.bench.plan import AT_A_TIME, STOPPED_SECONDS, Plan, Rest, Share
from imgateway_cli.bench.tally import Calls, Opening, count_reason

BURST: Final = 64
"""So many requests are sent before what has arrived is read."""
PAUSE_SECONDS: Final = 0.05
"""After an attempt to connect that failed, before the next one of the same caller."""

_POLL_SECONDS: Final = 0.01
_POLL_NS: Final = 10_000_000
_WATCH_SECONDS: Final = 0.05
_GAVE_UP: Final = "timeout"


class Calling:
    """The connections of a process, and what they ask.

    Attributes:
        opening: how connecting went.
        tally: how the requests go.
        waiting: requests that were sent or are due, and have no outcome yet.
    """

    def __init__(self, load: Rest, plan: Plan, share: Share, link: Link) -> None:
        self.opening = Opening()
        self.tally = Calls()
        self.waiting = 0
        self.load = load
        self.plan = plan
        self.tls = plan.target.ssl_context()
        self._share = share
        self._link = link
        self._left = None if load.requests is None else len(share.of(load.requests))
        self._over = False
        self._due: deque[int] = deque()
        self._callers: list[_Caller] = []
        self._idle: deque[_Caller] = deque()

    async def open(self, begin: int) -> None:
        """Connect all, or as many as there is time for until the link is stopped."""
        self._link.watch(lambda: (self.opening.opened, self.opening.failed.total()))
        numbers = iter(self._share.of(self.plan.connections))
        await self._link.sleep_until(begin)
        self.opening.span.see(begin)
        openers = max(1, AT_A_TIME // self.plan.processes)
        await self._link.wait(asyncio.ensure_future(together(self._opener(numbers) for _ in range(openers))))

    async def run(self, begin: int) -> None:
        """Ask what is to be asked, and wait for the answers."""
        load = self.load
        self._link.watch(lambda: (self.tally.succeeded, self.tally.errors.total()))
        await self._link.sleep_until(begin)
        end = None if load.seconds is None else begin + int(load.seconds * 1e9)
        watching = asyncio.create_task(self._watch())
        try:
            if not self._callers:
                return
            if load.rate is None:
                await self._closed_loop(end)
            else:
                await self._open_loop(load.rate, begin, end)
            self._over = True
            await self._answers()
        finally:
            self._over = True
            watching.cancel()
            self.tally.unanswered += self.waiting

    async def close(self) -> None:
        """End all connections."""
        for caller in self._callers:
            caller.close()
        await asyncio.sleep(0)

    def take(self) -> bool:
        """Whether one more request may be made; if so it counts."""
        if self._over or self._link.stopped or self._left == 0:
            return False
        if self._left is not None:
            self._left -= 1
        self.waiting += 1
        self.tally.requests += 1
        return True

    def settled(self, caller: "_Caller", since: int, status: int, body: bytes, failure: str) -> None:
        """A request has its outcome: a status, or where that is 0 a failure. Gives the caller its next one."""
        now, tally = time.monotonic_ns(), self.tally
        self.waiting -= 1
        tally.span.see(now)
        if status:
            tally.statuses[str(status)] += 1
        if 200 <= status < 300:
            tally.succeeded += 1
            tally.latency.add(now - since)
        else:
            count_reason(tally.errors, refusal(status, body) if status else failure)
        if self._due:
            caller.ask(self._due.popleft())
        elif self.load.rate is not None:
            self._idle.append(caller)
        elif self.take():
            caller.ask(now)

    async def _opener(self, numbers: Iterator[int]) -> None:
        for number in numbers:
            if self._link.stopped:
                return
            begin, caller = time.monotonic_ns(), _Caller(self, number)
            failure = await caller.connect()
            now = time.monotonic_ns()
            self.opening.span.see(now)
            if failure:
                count_reason(self.opening.failed, failure)
                continue
            self.opening.opened += 1
            self.opening.latency.add(now - begin)
            self._callers.append(caller)

    async def _closed_loop(self, end: int | None) -> None:
        for number, caller in enumerate(self._callers):
            if self.take():
                caller.ask(time.monotonic_ns())
            if number % BURST == 0:
                await asyncio.sleep(0)
        # What is answered asks again by itself, and nothing stays without an outcome for longer than the timeout.
        while self.waiting and self._left != 0 and not self._link.stopped:
            now = time.monotonic_ns()
            if end is not None and now >= end:
                return
            await self._link.sleep_until(min(now + _POLL_NS, end or now + _POLL_NS))

    async def _open_loop(self, rate: float, begin: int, end: int | None) -> None:
        self._idle.extend(self._callers)
        turn = 0
        while not self._link.stopped:
            due = self._share.due(turn, begin, rate)
            if (end is not None and due >= end) or not self.take():
                return
            await self._link.sleep_until(due)
            if self._idle:
                self._idle.popleft().ask(due)
            else:
                self._due.append(due)
            turn += 1
            if turn % BURST == 0:
                await asyncio.sleep(0)

    async def _answers(self) -> None:
        until = time.monotonic() + self.plan.timeout
        while self.waiting and time.monotonic() < until:
            if self._link.stopped:
                until = min(until, time.monotonic() + STOPPED_SECONDS)
                await asyncio.sleep(_POLL_SECONDS)
            else:
                await self._link.sleep_until(time.monotonic_ns() + _POLL_NS)

    async def _watch(self) -> None:
        """Give up on what has no answer for too long."""
        while True:
            await asyncio.sleep(_WATCH_SECONDS)
            late = time.monotonic_ns() - int(self.plan.timeout * 1e9)
            for caller in self._callers:
                if caller.sent and caller.sent < late:
                    caller.give_up(_GAVE_UP)


class _Caller:
    """One connection at a time, renewed where the server ends it, and the request on it.

    Attributes:
        sent: when the request that is under way was sent; 0 where none is.
    """

    __slots__ = ("_calling", "_closed", "_connecting", "_connection", "_number", "_since", "sent")

    def __init__(self, calling: Calling, number: int) -> None:
        self.sent = 0
        self._calling = calling
        self._number = number
        self._since = 0
        self._closed = False
        self._connection: HttpConnection | None = None
        self._connecting: asyncio.Task[None] | None = None

    def ask(self, since: int) -> None:
        """Send the request, over a new connection where there is none; its latency counts from `since`."""
        self._since, self.sent = since, time.monotonic_ns()
        self._calling.tally.span.see(self.sent)
        if self._connection is not None and self._connection.usable:
            self._connection.ask(self._calling.load.request)
        else:
            self._connecting = asyncio.create_task(self._ask_anew())

    async def connect(self) -> str:
        """Make a connection; why there is none, empty where there is."""
        calling = self._calling
        target, loop = calling.plan.target, asyncio.get_running_loop()
        connection = HttpConnection(self._answered, self._ended, headless=calling.load.headless)
        try:
            async with asyncio.timeout(calling.plan.timeout):
                await loop.create_connection(
                    lambda: connection,
                    sock=await connected(target, target.source(self._number, calling.plan.connections)),
                    ssl=calling.tls,
                    server_hostname=target.host if calling.tls is not None else None,
                )
        except TimeoutError:
            return _GAVE_UP
        except OSError as error:
            return reason_of(error)
        self._connection = connection
        return ""

    def give_up(self, reason: str) -> None:
        """The request has no answer."""
        if self._connection is not None and not self._connection.usable:
            self._connection.abort(reason)

    def close(self) -> None:
        """End it, whatever is under way."""
        self._closed = True
        if self._connecting is not None:
            self._connecting.cancel()
        if self._connection is not None:
            self._connection.abort("closed")

    async def _ask_anew(self) -> None:
        self._calling.tally.reconnects += 1
        if failure := await self.connect():
            await asyncio.sleep(PAUSE_SECONDS)
            self._settle(0, b"", failure)
        elif self._connection is not None:
            self._connection.ask(self._calling.load.request)

    def _answered(self, status: int, body: bytes) -> None:
        self._settle(status, body, "")

    def _ended(self, connection: HttpConnection, reason: str) -> None:
        if connection is not self._connection:
            return  # one that was replaced, or never came to be
        self._connection = None
        if self.sent and (self._connecting is None or self._connecting.done()):
            # Not from within the transport's callback: what follows may connect again.
            asyncio.get_running_loop().call_soon(self._settle, 0, b"", reason)

    def _settle(self, status: int, body: bytes, failure: str) -> None:
        if self.sent and not self._closed:
            self.sent = 0
            self._calling.settled(self, self._since, status, body, failure)
