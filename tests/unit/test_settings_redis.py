"""The address of Redis: what is taken, the library takes as well; what it would stumble over is refused before."""

import pytest

from imgateway.adapters.redis import RedisAccess
from imgateway.core.settings_loading import load
from imgateway.errors import SettingsError

VARIABLE = "IMGATEWAY_REDIS__URL"


@pytest.fixture
def anyio_backend() -> str:
    """The library is bound to asyncio."""
    return "asyncio"


@pytest.mark.parametrize(
    "url",
    [
        "redis://redis",
        "redis://redis/",
        "redis://redis:6379/15",
        "redis://:p%40ss%2Fword@redis",
        "redis://user:p%23ss@127.0.0.1:1/0",
        "rediss://[::1]:6380/3",
        "rediss://redis?ssl_ca_certs=/etc/ca.pem&ssl_certfile=/etc/us.pem&ssl_keyfile=/etc/us.key",
        "redis+cluster://node-1:7000",
        "redis+cluster://node-1:7000/",
        "rediss+cluster://user:word@node-1/0?ssl_ca_certs=/etc/ca.pem",
    ],
)
@pytest.mark.anyio
async def test_what_is_taken_the_library_takes(url: str) -> None:
    redis = load(None, {VARIABLE: url}, {}).settings.redis
    assert redis is not None
    assert redis.url is not None
    await RedisAccess(redis.url).aclose()


@pytest.mark.parametrize(
    "url",
    [
        "redis",
        "redis:6379",
        "http://redis",
        "unix:///run/redis.sock",
        "redis+sentinel://redis",
        "redis+://redis",
        "redis://",
        "redis://:hunter2@",
        "redis://:hunter2@redis:port/0",
        "redis://:hunter2@redis:0/0",
        "redis://[::1",
        "redis://:hunter2/hunter2@redis",
        "redis://:hunter2#hunter2@redis",
        "redis://redis/zero",
        "redis://redis/0/1",
        "redis://redis/-1",
        "redis+cluster://node-1/3",
        "redis://redis?socket_timeout=60",
        "redis://redis?ssl_ca_certs=/etc/ca.pem",
        "rediss://redis?ssl_cert_reqs=none",
        "rediss://redis?password=hunter2",
        "redis://redis/0#hunter2",
        "redis://re dis",
        "redis://redis/0\n",
    ],
)
def test_anything_else_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(None, {VARIABLE: url}, {})
    (problem,) = caught.value.problems
    assert problem.startswith("redis.url: expected redis://host:port/database, or rediss:// with TLS, got a text of ")
    assert "hunter2" not in problem
