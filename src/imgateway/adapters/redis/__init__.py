"""Presence in Redis, with redis-py."""

from imgateway.adapters.redis.access import RedisAccess
from imgateway.adapters.redis.probing import probe
from imgateway.adapters.redis.sessions import RedisSessionStore

__all__ = ["RedisAccess", "RedisSessionStore", "probe"]
