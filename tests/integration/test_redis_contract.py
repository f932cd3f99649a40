"""The session store in Redis holds to the same contract as its memory twin; two stores are two gateways."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from servers import RedisServer

from imgateway.adapters.redis import RedisAccess, RedisSessionStore
from imgateway.ports import SessionStore
from imgateway.testing import SessionStoreSuite

ENDING = {
    "test_an_entry_expires",
    "test_a_dead_gateways_entry_ends_under_anothers_refresh",
    "test_refreshing_writes_again_what_is_gone",
    "test_closing_leaves_the_entries",
}
"""Clauses that wait for an entry's end."""


@pytest.mark.anyio
class TestRedisSessionStore(SessionStoreSuite):
    ttl_seconds = 6.0  # an entry that is to live outlasts it that the machine stands still for a while
    _url: str

    @pytest.fixture(autouse=True)
    def _server(self, redis_server: RedisServer, request: pytest.FixtureRequest) -> None:
        self._url = redis_server.url
        if request.function.__name__ in ENDING:
            self.ttl_seconds = 1.5  # waited for: nothing turns the server's clock

    @asynccontextmanager
    async def make(self) -> AsyncIterator[tuple[SessionStore, SessionStore]]:
        one, other = (RedisSessionStore(RedisAccess(self._url), self.ttl_seconds) for _ in range(2))
        try:
            yield one, other
        finally:
            await one.aclose()
            await other.aclose()
