"""Who is told what happens, for metrics."""

from typing import Protocol


class GatewayObserver(Protocol):
    """Hears what happens. Synchronous, must not block or raise; called on the hot path.

    Every string is from a small fixed set: nothing a client wrote, no id, no token.
    """

    def connect_decided(self, outcome: str, /) -> None:
        """A client that asked for a connection got it (`accepted`) or was refused (the code)."""
        ...

    def connection_opened(self) -> None:
        """A client's upgrade was accepted: its socket is open."""
        ...

    def connection_closed(self, close_code: int, /) -> None:
        """The socket of a connection that had been opened is closed."""
        ...

    def message_up(self, status: str, /) -> None:
        """A client's message was `accepted`, was a `duplicate`, or was refused (the code)."""
        ...

    def published(self, seconds: float, /) -> None:
        """A record became durable `seconds` after it was offered."""
        ...

    def delivery(self, outcome: str, count: int, /) -> None:
        """What became of `count` frames or records.

        Frames are `handed_over` to the kernel, or `missed` by a connection that ended; signals to nobody are
        `dropped`; a record may be `unparsable`.
        """
        ...

    def undelivered(self, reason: str, count: int, /) -> None:
        """`count` users' message went to the undelivered topic; where it was too large even for that, it is lost.

        The reason is then `dropped-too-large`.
        """
        ...

    def call_finished(self, rpc: str, code: str, seconds: float, /) -> None:
        """A call of a method (`pkg.Service/Method`) ended: `OK`, or the code of the problem that answered it.

        Calls that were refused before a back end was asked count as well; `CANCELLED` where the client went away. The
        methods are those of the routes and of the types of messages that are calls, nothing that a client named.
        """
        ...

    def outbox_bytes(self, change: int, /) -> None:
        """Bytes waiting for sockets, over all connections, changed by so many."""
        ...

    def downstream_lag(self, records: int, /) -> None:
        """So many downstream records are written but not yet read."""
        ...
