"""Client messages that a back end's methods answer: bounded, made side by side, each answered by one reply."""

import logging
import random
from collections import deque

import anyio
import anyio.lowlevel
import attrs

from imgateway.codes import Code, RpcCode
from imgateway.core.connection import LiveConnection
from imgateway.core.settings_grpc import GrpcSettings
from imgateway.model import Identity
from imgateway.ports import Clock, GatewayObserver, Transcoder
from imgateway.rpc import RETRY_AFTER_SECONDS, RestAnswer, RestProblem
from imgateway.wire.frames import Frame, text_frame
from imgateway.wire.messages import Call, Reply, ReplyError
from imgateway.wire.records import traceparent

MOST_CALLS = 10_000
"""So many are under way at once, over all connections."""
MOST_BYTES = 64 * 1024 * 1024
"""So much data they have together."""

_log = logging.getLogger(__name__)


_CANCELLED = RestProblem.of(RpcCode.CANCELLED, "The call was cancelled.")
_FAILED = RestProblem.of(RpcCode.INTERNAL, "The server has failed; its log says how.")
_NO_METHODS = RestProblem.of(RpcCode.UNIMPLEMENTED, "No method answers messages of this type.")
_FULL = RestProblem.of(Code.OVERLOADED, "The gateway makes too many calls already.", retry_after=RETRY_AFTER_SECONDS)


@attrs.define(eq=False)
class _OneCall:
    """One call between its client and the back end.

    Attributes:
        scope: cancels it; None before it has begun and when it is over.
    """

    connection: LiveConnection
    call: Call
    identity: Identity
    taken_at: float
    scope: anyio.CancelScope | None = None


@attrs.define(eq=False)
class Calls:
    """Makes clients' calls, and answers each exactly once while its connection lives.

    A connection's calls are made side by side: they have no order, and replies come as the back end answers. They count
    as messages in flight, so a connection with `max_inflight_messages` of both together is not read from, and a drain
    waits for them. Who calls is whom the connection's token proved last. When the connection ends its calls are
    cancelled. Whatever the transcoder does, the others' calls go on.
    """

    transcoder: Transcoder | None
    observer: GatewayObserver
    clock: Clock
    settings: GrpcSettings
    most: int = MOST_CALLS
    most_bytes: int = MOST_BYTES
    _new: deque[_OneCall] = attrs.field(factory=deque)
    _by_connection: dict[LiveConnection, set[_OneCall]] = attrs.field(factory=dict)
    _count: int = 0
    _bytes: int = 0
    _arrived: anyio.Event = attrs.field(factory=anyio.Event)

    def take(self, connection: LiveConnection, call: Call, /) -> None:
        """Take in a client's call. Never blocks; beyond `most` or `most_bytes` it is answered `OVERLOADED` at once."""
        one = _OneCall(connection, call, connection.identity, self.clock.monotonic())
        size = len(call.data)
        if self._count >= self.most or (self._count and self._bytes + size > self.most_bytes):
            self._answer(one, *self._reply(one, _FULL))
            return
        self._count += 1
        self._bytes += size
        self._by_connection.setdefault(connection, set()).add(one)
        connection.message_in_flight()
        self._new.append(one)
        self._arrived.set()

    def cancel(self, connection: LiveConnection, /) -> None:
        """Cancel what is under way for a connection that has ended."""
        for one in self._by_connection.get(connection, ()):
            if one.scope is not None:
                one.scope.cancel()

    async def run(self) -> None:
        """Make the calls that are taken, until cancelled; all of them end with it."""
        # Transports may call from outside any task, where no task can be started.
        async with anyio.create_task_group() as tasks:
            while True:
                await self._arrived.wait()
                self._arrived = anyio.Event()
                while self._new:
                    tasks.start_soon(self._make, self._new.popleft())

    async def _make(self, one: _OneCall) -> None:
        answer: tuple[str, Frame] | None = None
        try:
            # A connection may have ended between the call's arrival and this task's first turn.
            if not one.connection.closed:
                with anyio.CancelScope() as one.scope:
                    answer = await self._ask(one)
        finally:
            one.scope = None
            self._leave(one)
            self._answer(one, *(answer or self._reply(one, _CANCELLED)))
            one.connection.message_answered()

    async def _ask(self, one: _OneCall) -> tuple[str, Frame]:
        call = one.call
        if self.transcoder is None:
            return self._reply(one, _NO_METHODS)
        trace_id = random.randbytes(16).hex()
        metadata = (("x-request-id", trace_id), ("traceparent", traceparent(trace_id)))
        seconds = self.settings.default_deadline_seconds
        try:
            said = await self.transcoder.message(call.type, call.data, one.identity, metadata, seconds)
            return self._reply(one, said)
        except anyio.get_cancelled_exc_class():
            await anyio.lowlevel.checkpoint_if_cancelled()
            # Nobody has cancelled this: it is a library's own, and would end everybody's calls.
            return self._reply(one, _CANCELLED)
        except Exception:
            _log.exception("a client's call failed", extra={"type": call.type})
            return self._reply(one, _FAILED)

    def _reply(self, one: _OneCall, said: RestAnswer | RestProblem) -> tuple[str, Frame]:
        """The outcome's code, and the frame that tells the client."""
        if isinstance(said, RestAnswer):
            code, reply = RpcCode.OK.name, Reply.of(one.call, said.body)
        else:
            code, reply = said.code, Reply(one.call.client_msg_id, error=ReplyError.of(said))
        return code, text_frame(one.connection.codec.encode(reply, self.clock.now()))

    def _answer(self, one: _OneCall, code: str, frame: Frame) -> None:
        rpc = self.settings.messages.get(one.call.type, one.call.type)
        self.observer.call_finished(rpc, code, self.clock.monotonic() - one.taken_at)
        one.connection.send(frame)

    def _leave(self, one: _OneCall) -> None:
        self._count -= 1
        self._bytes -= len(one.call.data)
        under_way = self._by_connection[one.connection]
        under_way.discard(one)
        if not under_way:
            del self._by_connection[one.connection]
