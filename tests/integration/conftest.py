"""Real servers, shared by all tests of this folder: each keeps to names of its own. A missing server fails the run.

Where KAFKA_SERVERS, REDIS_URL or ETCD_URL name a server that runs already, that one is used and none is started. The
tests clean up what they made, but expect an etcd without other keys.
"""

import os
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from servers import EtcdServer, KafkaServer, RedisServer


class _GivenRedis(RedisServer):
    """Runs already, and is neither started nor ended by us; so do the others."""

    def __init__(self, url: str) -> None:
        self._given = url

    @property
    def url(self) -> str:
        return self._given


class _GivenEtcd(EtcdServer):
    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.host, self.port = parts.hostname or "127.0.0.1", parts.port or 2379


class _GivenKafka(KafkaServer):
    def __init__(self, address: str) -> None:
        self._given = address

    @property
    def address(self) -> str:
        return self._given


@pytest.fixture
def anyio_backend() -> str:
    """The libraries behind the adapters are bound to asyncio."""
    return "asyncio"


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    if given := os.environ.get("REDIS_URL"):
        yield _GivenRedis(given)
        return
    with RedisServer() as server:
        yield server


@pytest.fixture(scope="session")
def etcd_server() -> Iterator[EtcdServer]:
    if given := os.environ.get("ETCD_URL"):
        yield _GivenEtcd(given)
        return
    with EtcdServer() as server:
        yield server


@pytest.fixture(scope="session")
def kafka_server() -> Iterator[KafkaServer]:
    if given := os.environ.get("KAFKA_SERVERS"):
        yield _GivenKafka(given)
        return
    with KafkaServer() as server:
        yield server
