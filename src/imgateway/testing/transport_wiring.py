"""Both ends of a connection, for the transports' contract."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import anyio
import anyio.lowlevel
import attrs

from imgateway.ports import Transport
from imgateway.testing.raw_peer import RawPeer
from imgateway.testing.suite import ContractSuite
from imgateway.wire.frames import Frame, binary_frame

Told = tuple[str, object]
"""One call of a listener: the method's name and its argument, or None."""

CHUNK = 16 * 1024
MORE_THAN_KERNELS_BUFFER = 32 * 1024 * 1024


class RecordingListener:
    """Implements `ports.TransportListener`: keeps what it is told.

    Attributes:
        told: every call, in order.
    """

    def __init__(self) -> None:
        self.told: list[Told] = []
        self._changed = anyio.Event()
        self._actions: dict[str | Told, Callable[[], None]] = {}

    def on(self, call: str | Told, action: Callable[[], None], /) -> None:
        """Do something from within a call: every one of that name, or only with that argument."""
        self._actions[call] = action

    def receive_text(self, text: str, /) -> None:
        """See the port."""
        self._tell("receive_text", text)

    def receive_binary(self, data: bytes, /) -> None:
        """See the port."""
        self._tell("receive_binary", data)

    def heard(self) -> None:
        """See the port."""
        self._tell("heard", None)

    def pinged(self) -> None:
        """See the port."""
        self._tell("pinged", None)

    def drained(self) -> None:
        """See the port."""
        self._tell("drained", None)

    def lost(self, close_code: int, /) -> None:
        """See the port."""
        self._tell("lost", close_code)

    @property
    def messages(self) -> list[object]:
        """The messages alone, in order."""
        return [argument for name, argument in self.told if name in ("receive_text", "receive_binary")]

    def count(self, name: str, /) -> int:
        """How often `name` was called."""
        return sum(told[0] == name for told in self.told)

    async def until(self, condition: Callable[[], bool], /) -> None:
        """Wait until a call makes `condition` true."""
        while not condition():
            await self._changed.wait()

    async def until_told(self, name: str, /, times: int = 1) -> None:
        """Wait until `name` was called `times` times in all."""
        await self.until(lambda: self.count(name) >= times)

    async def until_lost(self) -> object:
        """Wait for the end; the close code."""
        await self.until_told("lost")
        return next(argument for name, argument in self.told if name == "lost")

    def _tell(self, name: str, argument: object) -> None:
        self.told.append((name, argument))
        changed, self._changed = self._changed, anyio.Event()
        changed.set()
        for call in (name, (name, argument)):
            if call in self._actions:
                self._actions[call]()


@attrs.frozen
class Wired:
    """Both ends of a connection: the transport with its listener, and the client."""

    transport: Transport
    listener: RecordingListener
    peer: RawPeer


class TransportHooks(ContractSuite):
    """What `TransportSuite` needs to be told. Override `make`.

    A clause may take `patience` seconds; the transport's deadline for a peer's close frame must be well below that.
    The switches are for transports on servers that don't do everything themselves; each one that is off is a weakness
    to be documented.

    Attributes:
        max_message_bytes: the limit that `make` sets up.
        hears_every_frame: whether fragments and pongs are heard, not only messages.
        tells_pings: whether `pinged` is told.
        limits_fragments: whether a message of very many fragments ends the connection before it is complete.
        cuts_off: whether `abort`, and `close` with a peer that does not react, also end the socket in bounded time.
            That `lost` is told is required of all.
        exact_endings: whether what came in one segment with a violation, but before it, is told, and `lost` tells 1006
            where the peer went without a close frame.
    """

    quiet_seconds = 0.05

    max_message_bytes: int = 65536
    hears_every_frame: bool = True
    tells_pings: bool = True
    limits_fragments: bool = True
    cuts_off: bool = True
    exact_endings: bool = True

    def make(self, listener: RecordingListener, /) -> AbstractAsyncContextManager[tuple[Transport, RawPeer]]:
        """An upgraded connection: the transport, attached to `listener`, and its client; all ends with the block.

        Give the client a `receive_buffer` of about 64 KiB, so that one which does not read is soon felt.
        """
        raise NotImplementedError

    @asynccontextmanager
    async def wired(self) -> AsyncIterator[Wired]:
        """A connection for one clause."""
        listener = RecordingListener()
        async with self.make(listener) as (transport, peer):
            try:
                with anyio.fail_after(self.patience):
                    yield Wired(transport, listener, peer)
            finally:
                with anyio.CancelScope(shield=True):
                    await peer.aclose()

    async def stuffed(self, w: Wired) -> int:
        """Write until the kernel takes no more; how many frames that took."""
        for sent in range(MORE_THAN_KERNELS_BUFFER // CHUNK):
            if w.transport.buffered_bytes > 16 * CHUNK:
                return sent
            w.transport.write([filler(sent)])
            await anyio.lowlevel.checkpoint()
        raise AssertionError("nothing is buffered for a peer that does not read")


def filler(number: int) -> Frame:
    """The frame of that number."""
    return binary_frame(number.to_bytes(4, "big") * (CHUNK // 4))
