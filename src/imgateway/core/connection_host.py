"""What a connection needs of the gateway it belongs to."""

from typing import TYPE_CHECKING, Protocol

from imgateway.core.settings import ConnectionSettings
from imgateway.ports import Clock, GatewayObserver
from imgateway.wire.messages import Call, MarkRead, SendMessage

if TYPE_CHECKING:
    from imgateway.core.connection import LiveConnection


class ConnectionHost(Protocol):
    """What a connection needs of its gateway. Synchronous; nothing blocks."""

    @property
    def clock(self) -> Clock:
        """Time."""
        ...

    @property
    def observer(self) -> GatewayObserver:
        """Who is told."""
        ...

    @property
    def limits(self) -> ConnectionSettings:
        """The settings of connections."""
        ...

    @property
    def wheel_time(self) -> float:
        """The heartbeat wheel's time."""
        ...

    @property
    def expiry_grace_ms(self) -> int:
        """How long a connection outlives its token."""
        ...

    def mark_dirty(self, connection: "LiveConnection", /) -> None:
        """It has something to flush."""
        ...

    def hurry(self) -> None:
        """A dirty connection has much to flush."""
        ...

    def message_arrived(self, connection: "LiveConnection", message: SendMessage | MarkRead, /) -> None:
        """A client's message for the back end."""
        ...

    def call_arrived(self, connection: "LiveConnection", call: Call, /) -> None:
        """A client's call of a back end's method."""
        ...

    def token_arrived(self, connection: "LiveConnection", token: str, /) -> None:
        """A client's newer token."""
        ...

    def retired(self, connection: "LiveConnection", /) -> None:
        """It takes no more frames: out of registry, presence and heartbeat. Once."""
        ...

    def gone(self, connection: "LiveConnection", close_code: int, /) -> None:
        """Its socket is closed. Once, after `retired`."""
        ...
