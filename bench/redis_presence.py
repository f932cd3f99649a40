"""How fast presence is written to a real Redis: additions, refreshes and removals a second.

python scripts/servers.py -- python bench/redis_presence.py
"""

import asyncio
import os
import statistics
import time
from collections.abc import Sequence

from imgateway.adapters.redis import RedisAccess, RedisSessionStore
from imgateway.core.presence import BATCH
from imgateway.model import ConnectionId, DeviceId, GatewayId, SessionRecord, UserId

CONNECTIONS = 10_000
ROUNDS = 5


def records() -> Sequence[SessionRecord]:
    return [
        SessionRecord(
            UserId(f"user-{number}"), ConnectionId(f"{number:022}"), GatewayId("gw-1"), DeviceId("phone"), "web", number
        )
        for number in range(CONNECTIONS)
    ]


async def main() -> None:
    store = RedisSessionStore(RedisAccess(os.environ["REDIS_URL"]), key_prefix="bench:")
    everyone = records()
    try:
        for size in (1, 20, BATCH):
            rates: dict[str, list[float]] = {}
            for _ in range(ROUNDS):
                for call in (store.add, store.refresh, store.remove):
                    start = time.perf_counter()
                    for first in range(0, len(everyone), size):
                        await call(everyone[first : first + size])
                    rates.setdefault(call.__name__, []).append(len(everyone) / (time.perf_counter() - start))
            for name, found in rates.items():
                print(f"{name:<8} {size:>4} a call: {statistics.median(found):>8,.0f}/s")
    finally:
        await store.aclose()


if __name__ == "__main__":
    asyncio.run(main())
