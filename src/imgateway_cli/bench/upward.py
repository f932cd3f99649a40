"""Messages up: closed loop by a window, or open loop by a rate."""

import asyncio
import time
from collections import deque
from typing import Final

import msgspec

from imgateway_cli.bench.client import Client
from imgateway_cli.bench.link import Link
from imgateway_cli.bench.opening import Crowd
from imgateway_cli.bench.plan import STOPPED_SECONDS, Plan, Share, Up
from imgateway_cli.bench.tally import Upward, count_reason

BURST: Final = 64
"""So many messages are sent before what has arrived is read."""

_POLL_SECONDS: Final = 0.01
_POLL_NS: Final = 10_000_000


class _Data(msgspec.Struct):
    client_msg_id: str = ""
    status: str = ""
    code: str = ""


class _Answer(msgspec.Struct):
    type: str
    data: _Data


_answer: Final = msgspec.json.Decoder(_Answer)


class Sending:
    """What all connections of a process send.

    Attributes:
        tally: how it goes.
        waiting: messages that were sent or are due, and have no answer yet.
        alive: connections that have not ended.
    """

    def __init__(self, up: Up, plan: Plan, share: Share, crowd: Crowd, link: Link) -> None:
        self.tally = Upward()
        self.waiting = 0
        self.alive = len(crowd.members)
        self._up = up
        self._timeout = plan.timeout
        self._share = share
        self._link = link
        self._left = None if up.messages is None else len(share.of(up.messages))
        self._over = False
        self._senders = [_Sender(self, up, plan.connections, member.client) for member in crowd.members]

    async def run(self, begin: int) -> None:
        """Send what is to be sent, and wait for the answers."""
        self._link.watch(lambda: (self.tally.accepted, self.tally.errors.total()))
        await self._link.sleep_until(begin)
        end = None if self._up.seconds is None else begin + int(self._up.seconds * 1e9)
        if self._up.rate is None:
            await self._closed_loop(end)
        else:
            await self._open_loop(self._up.rate, begin, end)
        self._over = True
        await self._answers()
        self.tally.unanswered += self.waiting

    def take(self) -> bool:
        """Whether one more message may be sent; if so it counts."""
        if self._over or self._link.stopped or self._left == 0:
            return False
        if self._left is not None:
            self._left -= 1
        self.waiting += 1
        return True

    async def _closed_loop(self, end: int | None) -> None:
        for number, sender in enumerate(self._senders):
            for _ in range(self._up.window):
                if not sender.client.ended and self.take():
                    sender.send(time.monotonic_ns())
            if number % BURST == 0:
                await asyncio.sleep(0)
        while self.alive and self._left != 0 and not self._link.stopped:
            now = time.monotonic_ns()
            # Bounded in number only: no more than the patience for one answer without any.
            if now >= (self.tally.span.last + int(self._timeout * 1e9) if end is None else end):
                return
            await self._link.sleep_until(min(now + _POLL_NS, end or now + _POLL_NS))

    async def _open_loop(self, rate: float, begin: int, end: int | None) -> None:
        turn = 0
        while not self._link.stopped and (sender := self._next(turn)) is not None:
            due = self._share.due(turn, begin, rate)
            if (end is not None and due >= end) or not self.take():
                return
            await self._link.sleep_until(due)
            sender.send(min(due, time.monotonic_ns()))
            turn += 1
            if turn % BURST == 0:
                await asyncio.sleep(0)

    def _next(self, turn: int) -> "_Sender | None":
        """Whose turn it is among those that are still connected."""
        while self._senders:
            at = turn % len(self._senders)
            if not self._senders[at].client.ended:
                return self._senders[at]
            self._senders[at] = self._senders[-1]
            self._senders.pop()
        return None

    async def _answers(self) -> None:
        until = time.monotonic() + self._timeout
        while self.waiting and time.monotonic() < until:
            if self._link.stopped:
                until = min(until, time.monotonic() + STOPPED_SECONDS)
                await asyncio.sleep(_POLL_SECONDS)
            else:
                await self._link.sleep_until(time.monotonic_ns() + _POLL_NS)


class _Sender:
    """One connection: what it has sent, and what it has to send."""

    __slots__ = ("_connections", "_count_lost", "_due", "_sending", "_sent", "_serial", "_tail", "_up", "client")

    def __init__(self, sending: Sending, up: Up, connections: int, client: Client) -> None:
        self.client = client
        self._sending = sending
        self._up = up
        self._connections = connections
        self._serial = 0
        self._sent: dict[str, int] = {}
        self._due: deque[int] = deque()
        self._tail = b'","messageType":1,"content":"' + b"x" * up.size + b'","client_msg_id":"'
        self._count_lost = client.on_end
        client.on_text, client.on_end = self._received, self._ended

    def send(self, since: int) -> None:
        """Send a message that was taken, or do so when the window has room; its latency counts from `since`."""
        if self.client.ended:
            self._sending.tally.unanswered += 1
            self._sending.waiting -= 1
            return
        if len(self._sent) >= self._up.window:
            self._due.append(since)
            return
        # Conversations in turn: each connection has its own where there are enough of them.
        conversation = (self.client.number + self._serial * self._connections) % self._up.conversations
        self._serial += 1
        identity = f"{self._up.name}-{self.client.number}-{self._serial}"
        self._sent[identity] = since
        head = f'{{"type":"send-message","data":{{"conversationId":"{self._up.name}-c{conversation}'
        self._sending.tally.sent += 1
        self._sending.tally.span.see(since)
        self.client.send(head.encode() + self._tail + identity.encode() + b'"}}')

    def _received(self, text: bytes) -> None:
        try:
            answer = _answer.decode(text)
        except msgspec.DecodeError:
            return  # a signal or the like: not for us
        tally, now = self._sending.tally, time.monotonic_ns()
        since = self._sent.pop(answer.data.client_msg_id, None)
        if answer.type == "error":
            count_reason(tally.errors, answer.data.code or "unknown")
        if since is None:
            return
        self._sending.waiting -= 1
        tally.span.see(now)
        if answer.type == "message-ack" and answer.data.status == "accepted":
            tally.accepted += 1
            tally.latency.add(now - since)
        elif answer.type == "message-ack":
            tally.duplicates += 1
        if self._due:
            self.send(self._due.popleft())
        elif self._up.rate is None and self._sending.take():
            self.send(now)

    def _ended(self, client: Client, reason: str) -> None:
        forgotten = len(self._sent) + len(self._due)
        self._sending.tally.unanswered += forgotten
        self._sending.waiting -= forgotten
        self._sending.alive -= 1
        self._sent.clear()
        self._due.clear()
        if self._count_lost is not None:
            self._count_lost(client, reason)
