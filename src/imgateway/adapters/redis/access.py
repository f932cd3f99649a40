"""How the server is reached: bounded in connections and in time."""

import asyncio
import re
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import urlsplit

import attrs
from redis.asyncio import Redis, RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import MovedError, NoScriptError, RedisClusterException, RedisError

from imgateway.adapters.redis.scripts import Script
from imgateway.errors import ServiceUnavailableError

CALL_SECONDS: Final = 1.5
"""How long a call may take in all, connecting included: a server that is frozen is noticed by nothing else."""
MAX_CONNECTIONS: Final = 8
"""To one server, and calls at a time."""
CLUSTER: Final = "+cluster"

_PLACE: Final = re.compile(r" script: [0-9a-f]{40}, on @user_script.*", re.DOTALL)


def _client(url: str) -> Redis | RedisCluster:
    # The newer protocol makes the library ask for notifications that only one vendor's servers know.
    options: dict[str, Any] = {"max_connections": MAX_CONNECTIONS, "protocol": 2}
    scheme, _, rest = url.partition("://")
    if scheme.endswith(CLUSTER):
        return RedisCluster.from_url(f"{scheme.removesuffix(CLUSTER)}://{rest}", **options)
    # Not tried again by the library: whoever calls knows better how long it is worth waiting.
    return Redis.from_url(url, retry=Retry(NoBackoff(), 0), **options)


@attrs.define(eq=False)
class RedisAccess:
    """One Redis server, or a cluster. Connects when it is first used; belongs to one event loop.

    Attributes:
        url: `redis://` or `rediss://`, with user and password where the server wants them; `redis+cluster://` or
            `rediss+cluster://` for a cluster, of which it names one node.
    """

    url: str = attrs.field(repr=False)
    _client: Redis | RedisCluster = attrs.field(init=False, repr=False)
    _turns: asyncio.Semaphore = attrs.field(factory=lambda: asyncio.Semaphore(MAX_CONNECTIONS), init=False, repr=False)

    @_client.default
    def _connect_later(self) -> Redis | RedisCluster:
        return _client(self.url)

    async def run(self, script: Script, calls: Sequence[tuple[str, Sequence[str]]], /) -> list[Any]:
        """Run a script for each key with its arguments, in one round trip, in order; the answers, in order.

        Every call is made even if another one fails. Takes `CALL_SECONDS` at most; may be repeated. Cancelling leaves
        it open which calls were made.

        Raises:
            ServiceUnavailableError: the server can't be reached, does not answer in time, or refuses a call; the
                message names the setting, and no password.
        """
        if not calls:
            return []
        try:
            # Not a scope of anyio's, which would go on to cancel the library's clean-up.
            async with asyncio.timeout(CALL_SECONDS), self._turns:
                answers = await self._send("EVALSHA", script.sha, calls)
                if any(isinstance(answer, NoScriptError) for answer in answers):
                    # All of them again, so that their order holds.
                    answers = await self._send("EVAL", script.text, calls)
        except TimeoutError:
            # A server without TLS waits for the rest of what it takes for a command.
            hint = "; a server without TLS is written redis://" if self.url.startswith("rediss") else ""
            raise self._unavailable(f"no answer within {CALL_SECONDS} s{hint}") from None
        except (RedisError, RedisClusterException, OSError) as error:
            raise self._unavailable(_told(error)) from error
        for answer in answers:
            if isinstance(answer, RedisError):
                raise self._unavailable(_told(answer)) from answer
        return answers

    async def aclose(self) -> None:
        """Close every connection. Idempotent."""
        await self._client.aclose()

    async def _send(self, command: str, script: str, calls: Sequence[tuple[str, Sequence[str]]]) -> list[Any]:
        pipeline: Any = self._client.pipeline(transaction=False)
        for key, arguments in calls:
            pipeline.execute_command(command, script, 1, key, *arguments)
        answers: list[Any] = await pipeline.execute(raise_on_error=False)
        return answers

    def _unavailable(self, why: str) -> ServiceUnavailableError:
        parts = urlsplit(self.url)
        return ServiceUnavailableError(f"redis.url ({parts.scheme}://{parts.netloc.rpartition('@')[2]}): {why}")


def _told(error: Exception) -> str:
    if isinstance(error, MovedError):
        return "this server is one of a cluster, whose URLs begin with redis+cluster:// or rediss+cluster://"
    # Where in a script the server refused says nothing to whoever runs it.
    return f"{type(error).__name__}: {_PLACE.sub('', str(error))}"
