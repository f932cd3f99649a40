"""Closes connections that had to make room for newer ones, on whichever gateway those are."""

import attrs

from imgateway.codes import Code
from imgateway.core.topics import Topics
from imgateway.model import CloseReason, ConnectionId, Displaced, GatewayId, PublishFailure, Receipt, UserId
from imgateway.ports import ConnectionRegistry, UpstreamPublisher
from imgateway.wire.records import encode_eviction


def close_if_here(
    registry: ConnectionRegistry, user_id: UserId, connection_id: ConnectionId, code: Code = Code.REPLACED, /
) -> None:
    """Close the connection, unless it is another gateway's or has ended."""
    for connection in registry.of_user(user_id):
        if connection.connection_id == connection_id:
            connection.close(CloseReason.of(code))


@attrs.frozen(eq=False)
class Evictor:
    """Hears from presence who has to go. Implements `ports.PublishTicket`.

    Another gateway is told by a record in its downstream topic. Nothing is kept, and nothing is tried again: a gateway
    that does not get the record learns the same from the session store, when it refreshes its entries.
    """

    registry: ConnectionRegistry
    publisher: UpstreamPublisher
    topics: Topics
    gateway_id: GatewayId

    def evict(self, displaced: Displaced, /) -> None:
        """Close the connection, or tell its gateway to. Never blocks."""
        if displaced.gateway_id == self.gateway_id:
            close_if_here(self.registry, displaced.user_id, displaced.connection_id, displaced.code)
        else:
            self.publisher.offer(encode_eviction(displaced, self.topics.downstream(displaced.gateway_id)), self)

    def settled(self, outcome: Receipt | PublishFailure, /) -> None:
        """Whether it was written: no matter."""
