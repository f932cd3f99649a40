"""A socket without a network: the gateway's end is a transport, the client's end is played by the test."""

import json
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import anyio
import attrs

from imgateway.codes import RFC_ABNORMAL
from imgateway.model import CloseReason
from imgateway.ports import TransportListener
from imgateway.wire.frames import Frame

if TYPE_CHECKING:
    from imgateway.ports import Transport


@attrs.define(eq=False)
class SimulatedSocket:
    """Implements `ports.Transport`. As with a real socket nothing is told from within the gateway's own calls.

    Attributes:
        sends_pings: as the port says.
        reads: whether the client reads; while it does not, what is written stays in the buffer.
        answers_close: whether the client answers a close frame.
        received: what the client got, frame by frame.
        pings: how many ping frames were sent to it.
        paused: whether the gateway does not read.
        close_reason: what the gateway's close frame said, or None.
        over: the close code with which the connection ended, or None.
    """

    sends_pings: bool = True
    reads: bool = True
    answers_close: bool = True
    received: list[dict[str, Any]] = attrs.field(factory=list)
    pings: int = 0
    paused: bool = False
    close_reason: CloseReason | None = None
    over: int | None = None
    _listener: TransportListener | None = None
    _buffer: deque[Frame] = attrs.field(factory=deque)
    _inbox: deque[str | bytes | None] = attrs.field(factory=deque)
    _ends_with: int | None = None
    _wake: anyio.Event = attrs.field(factory=anyio.Event)

    # The gateway's end.

    def attach(self, listener: TransportListener, /) -> "SimulatedSocket":
        self._listener = listener
        return self

    @property
    def buffered_bytes(self) -> int:
        return sum(frame.size for frame in self._buffer)

    def write(self, frames: Sequence[Frame], /) -> None:
        if self.close_reason is None and self.over is None:
            self._buffer.extend(frames)
            if self.reads:
                self._pass_on()

    def ping(self) -> None:
        self.pings += self.close_reason is None and self.over is None

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False
        self._wake.set()

    def close(self, reason: CloseReason, /) -> None:
        if self.close_reason is None and self.over is None:
            self.close_reason = reason
            self.paused = False
            self._wake.set()

    def abort(self) -> None:
        self._ends_with = RFC_ABNORMAL
        self._wake.set()

    # The client's end.

    def send(self, data: str | bytes, /) -> None:
        """Send a text or a binary message."""
        self._inbox.append(data)
        self._wake.set()

    def send_ping(self) -> None:
        """Send a protocol ping."""
        self._inbox.append(None)
        self._wake.set()

    def read_on(self) -> None:
        """Read what was written, and all that follows."""
        self.reads = True
        self._wake.set()

    def leave(self, code: int = RFC_ABNORMAL, /) -> None:
        """Close the connection, or lose it."""
        self._ends_with = code
        self._wake.set()

    async def carry(self) -> None:
        """Carry everything over until the connection has ended."""
        while self.over is None:
            await self._wake.wait()
            self._wake = anyio.Event()
            self._turn()

    def _turn(self) -> None:
        listener = self._listener
        assert listener is not None
        if self.reads and self._buffer:
            self._pass_on()
            listener.drained()
        while self._inbox and not self.paused and self.close_reason is None:
            data = self._inbox.popleft()
            listener.heard()
            if isinstance(data, str):
                listener.receive_text(data)
            elif data is None:
                listener.pinged()
            else:
                listener.receive_binary(data)
        if self._ends_with is None and self.close_reason is not None and self.answers_close and self.reads:
            self._ends_with = self.close_reason.code
        if self._ends_with is not None:
            self.over = self._ends_with if self.close_reason is None else self.close_reason.code
            self._buffer.clear()
            listener.lost(self.over)

    def _pass_on(self) -> None:
        while self._buffer:
            self.received.append(json.loads(self._buffer.popleft().payload))


if TYPE_CHECKING:

    def _conforms(socket: SimulatedSocket) -> Transport:
        return socket
