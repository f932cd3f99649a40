"""From a downstream record to the connections it is for."""

from collections.abc import Callable
from typing import Protocol

from imgateway.model import ConsumedRecord


class DownstreamRouter(Protocol):
    """Fans one record out to local connections."""

    def route(self, record: ConsumedRecord, on_settled: Callable[[], None], /) -> None:
        """Hand the record to every connection of every target. Synchronous, never blocks, never raises.

        Order: each connection gets records in the order of the calls. `on_settled` is called exactly once, possibly
        before this returns: when every target has the record (its last byte reached the kernel), or the rest is
        durable in the undelivered topic. A record that can't be parsed is counted, logged by its offset and settled
        at once; signals are settled at once as well. So is another gateway's word that a connection was replaced
        (`wire.records.EVICTION_HEADER`): it is closed if it is here.
        """
        ...
