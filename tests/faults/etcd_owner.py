"""A process that owns a gateway id, to be stopped and killed by a test. It says what happens, a line each.

python etcd_owner.py URL GATEWAY_ID LEASE_SECONDS
"""

import signal
import sys

import anyio

from imgateway.adapters.etcd import EtcdAccess, EtcdOwnership
from imgateway.model import GatewayId


def say(*words: object) -> None:
    sys.stdout.write(f"{' '.join(map(str, words))}\n")
    sys.stdout.flush()


async def main(*arguments: str) -> None:
    url, gateway_id, lease_seconds = arguments
    async with EtcdOwnership.open(EtcdAccess((url,)), lease_seconds=float(lease_seconds)) as ownership:
        # Runs before any task does, when a stopped process goes on.
        signal.signal(signal.SIGCONT, lambda *_: say("resumed", ownership.held))
        await ownership.acquire(GatewayId(gateway_id))
        say("acquired", ownership.held)
        await ownership.wait_lost()
        say("lost", ownership.held)
        await ownership.release()
        say("released", ownership.held)
        await anyio.to_thread.run_sync(sys.stdin.readline)
        say("acquiring")
        await ownership.acquire(GatewayId(gateway_id))
        say("acquired", ownership.held)


if __name__ == "__main__":
    anyio.run(main, *sys.argv[1:])
