"""Whether the server would do, before anything stands on it."""

from imgateway.adapters.redis.access import RedisAccess
from imgateway.adapters.redis.sessions import RedisSessionStore
from imgateway.model import ConnectionId, GatewayId, SessionRecord, UserId


async def probe(url: str, /, *, key_prefix: str = "") -> None:
    """Remove an entry that does not exist: connects, and tells whether the server takes changes. Bounded in time.

    Raises:
        ServiceUnavailableError: it does not; the text names the setting and no password.
    """
    store = RedisSessionStore(RedisAccess(url), key_prefix=key_prefix)
    try:
        nobody = SessionRecord(UserId("imgateway"), ConnectionId("none"), GatewayId("none"), None, None, connected_at=0)
        await store.remove([nobody])
    finally:
        await store.aclose()
