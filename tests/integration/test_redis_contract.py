"""The session store in Redis holds to the same contract as its memory twin; two stores are two gateways."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from servers import RedisServer

from imgateway.adapters.redis import RedisAccess, RedisSessionStore
from imgateway.ports import SessionStore
from imgateway.testing import SessionStoreSuite


@pytest.mark.anyio
class TestRedisSessionStore(SessionStoreSuite):
    ttl_seconds = 1.5  # waited for: nothing turns the server's clock
    _url: str

    @pytest.fixture(autouse=True)
    def _server(self, redis_server: RedisServer) -> None:
        self._url = redis_server.url

    @asynccontextmanager
    async def make(self) -> AsyncIterator[tuple[SessionStore, SessionStore]]:
        one, other = (RedisSessionStore(RedisAccess(self._url), self.ttl_seconds) for _ in range(2))
        try:
            yield one, other
        finally:
            await one.aclose()
            await other.aclose()
