"""The raw socket side of a connection, and who listens to it."""

from collections.abc import Sequence
from typing import Protocol

from imgateway.model import CloseReason
from imgateway.wire.frames import Frame


class TransportListener(Protocol):
    """What a transport tells. All calls are synchronous, must not block, and come from the event loop's thread.

    Nothing is told before `Transport` was handed over, and nothing after `lost`.
    """

    def receive_text(self, text: str, /) -> None:
        """A whole text message, in the order of arrival. Not called while reading is paused."""
        ...

    def receive_binary(self, data: bytes, /) -> None:
        """A whole binary message, likewise."""
        ...

    def heard(self) -> None:
        """Any frame arrived, a fragment or a pong included: the peer lives. Comes before the message it completes."""
        ...

    def pinged(self) -> None:
        """The peer sent a ping frame (already answered by the transport)."""
        ...

    def drained(self) -> None:
        """After a time of buffering everything that was written has reached the kernel."""
        ...

    def lost(self, close_code: int, /) -> None:
        """The connection is over: once, and last.

        `close_code` is the one that ended it: sent by us, else received, else 1006 (RFC 6455 section 7.1.5).
        """
        ...


class Transport(Protocol):
    """Writes to one socket and steers its reading. Every call is synchronous and never blocks.

    After `close`, `abort` or `lost` every call is a no-op. RFC 6455 is the transport's own matter: it answers pings,
    ends the connection on violations (1002, 1007, 1009) and bounds what it keeps of an unfinished message.
    """

    @property
    def buffered_bytes(self) -> int:
        """Bytes taken by `write` that have not reached the kernel."""
        ...

    @property
    def sends_pings(self) -> bool:
        """Whether `ping` works here; where it does not, the server has a heartbeat of its own."""
        ...

    def write(self, frames: Sequence[Frame], /) -> None:
        """Take `frames`, in order, after everything taken before. Unbounded: the caller minds `buffered_bytes`."""
        ...

    def ping(self) -> None:
        """Send one ping frame (RFC 6455 section 5.5.2)."""
        ...

    def pause_reading(self) -> None:
        """Tell nothing more to the listener and let the peer feel it (TCP back-pressure). Idempotent."""
        ...

    def resume_reading(self) -> None:
        """Tell what was held back, in order, and read on. Idempotent."""
        ...

    def close(self, reason: CloseReason, /) -> None:
        """Send a close frame behind everything written, and end the connection when the peer answers it.

        A peer that does not answer within a few seconds is cut off: `lost` follows in bounded time, whatever the peer
        does. Idempotent; the first reason counts.
        """
        ...

    def abort(self) -> None:
        """Cut the connection off, dropping what is buffered. `lost` follows."""
        ...


class TransportOffer(Protocol):
    """What a server puts into `scope["extensions"]["imgateway"]` when it can hand out the transport itself.

    The ASGI application accepts the upgrade as usual and then attaches; from then on the listener is told
    everything and the ASGI channel is silent. The application may return: the connection lives on.
    """

    def attach(self, listener: TransportListener, /) -> Transport:
        """Hand over the transport; the listener hears from now on. Once, after the upgrade was accepted."""
        ...
