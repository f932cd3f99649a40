"""Opening connections, and closing them."""

import asyncio
import errno
import os
import socket
import ssl
import time
from collections import Counter
from collections.abc import Iterator
from typing import Final

import attrs
import msgspec

from imgateway_cli.bench.client import Client, Ended, upgrade_request
from imgateway_cli.bench.link import Link
from imgateway_cli.bench.plan import AT_A_TIME, AT_A_TIME_PACED, Plan, Share
from imgateway_cli.bench.tally import Opening, count_reason
from imgateway_cli.bench.target import Target

CLOSE_SECONDS: Final = 5.0
CLOSE_BATCH: Final = 200

# Linux's IP_BIND_ADDRESS_NO_PORT, which Python has no name for: the port is chosen by `connect`, where it is quick.
_BIND_ADDRESS_NO_PORT: Final = 24

_REASONS: Final = {
    errno.ECONNREFUSED: "connection refused",
    errno.ECONNRESET: "connection reset",
    errno.EADDRNOTAVAIL: "no free port on this machine",
    errno.EMFILE: "too many open files on this machine",
}


class _Data(msgspec.Struct):
    gatewayId: str = ""  # noqa: N815  # the protocol's names
    userId: str = ""  # noqa: N815
    code: str = ""


class _Greeting(msgspec.Struct):
    type: str
    data: _Data


_greeting: Final = msgspec.json.Decoder(_Greeting)


@attrs.frozen
class Member:
    """A connection that was welcomed, and what `welcome` said."""

    client: Client
    user_id: str
    gateway_id: str


class Crowd:
    """The connections of one process.

    Attributes:
        members: in the order of their `welcome`; those that have ended since stay.
        opening: how it went.
        lost: those that ended later, by reason.
    """

    def __init__(self, plan: Plan, share: Share) -> None:
        self.members: list[Member] = []
        self.opening = Opening()
        self.lost: Counter[str] = Counter()
        self._plan = plan
        self._share = share
        # Signed before anything is measured.
        self._tokens = {number: plan.tokens.token(number) for number in share.of(plan.connections)}
        self._tls = plan.target.ssl_context()

    @property
    def failed(self) -> int:
        """How many could not be opened."""
        return self.opening.failed.total()

    @property
    def pings(self) -> int:
        """How many pings they have answered."""
        return sum(member.client.pings for member in self.members)

    async def open(self, begin: int, link: Link) -> None:
        """Open all, or as many as there is time for until the link is stopped."""
        link.watch(lambda: (self.opening.opened, self.failed))
        turns = iter(list(enumerate(self._share.of(self._plan.connections))))
        at_a_time = AT_A_TIME if self._plan.rate is None else AT_A_TIME_PACED
        openers = max(1, min(at_a_time // self._plan.processes, len(self._tokens)))
        await link.sleep_until(begin)
        self.opening.span.see(begin)
        await link.wait(asyncio.ensure_future(together(self._opener(turns, begin, link) for _ in range(openers))))

    async def close(self) -> None:
        """Close all politely, and drop those whose server does not answer in time."""
        alive = [member.client for member in self.members if not member.client.ended]
        for start in range(0, len(alive), CLOSE_BATCH):
            for client in alive[start : start + CLOSE_BATCH]:
                client.close()
            await asyncio.sleep(0)
        until = time.monotonic() + CLOSE_SECONDS
        while time.monotonic() < until and any(not client.ended for client in alive):  # noqa: ASYNC110  # an event for each would weigh on all
            await asyncio.sleep(0.02)
        for client in alive:
            client.abort()
        await asyncio.sleep(0)

    async def _opener(self, turns: Iterator[tuple[int, int]], begin: int, link: Link) -> None:
        for turn, number in turns:
            start = None
            if self._plan.rate is not None:
                start = self._share.due(turn, begin, self._plan.rate)
                await link.sleep_until(start)
            if link.stopped:
                return
            await self._open(number, start or time.monotonic_ns())

    async def _open(self, number: int, start: int) -> None:
        target, loop = self._plan.target, asyncio.get_running_loop()
        client = Client(upgrade_request(target.authority, target.path, self._tokens[number]), number)
        greeting: bytes | Ended
        try:
            async with asyncio.timeout(self._plan.timeout):
                await loop.create_connection(
                    lambda: client,
                    sock=await connected(target, target.source(number, self._plan.connections)),
                    ssl=self._tls,
                    server_hostname=target.host if self._tls is not None else None,
                )
                greeting = await client.greeted
        except TimeoutError:
            client.abort()
            greeting = Ended("timeout")
        except OSError as error:
            greeting = Ended(reason_of(error))
        except asyncio.CancelledError:
            client.abort()
            raise
        now = time.monotonic_ns()
        self.opening.span.see(now)
        outcome = _member(client, greeting)
        if isinstance(outcome, Ended):
            client.abort()
            count_reason(self.opening.failed, outcome.reason)
            return
        client.on_end = lambda _, reason: count_reason(self.lost, reason)
        self.members.append(outcome)
        self.opening.opened += 1
        self.opening.latency.add(now - start)


async def connected(target: Target, source: str | None, /) -> socket.socket:
    """A socket that is connected to the target, from that address if one is given. Raises `OSError`."""
    sock = socket.socket(socket.AF_INET6 if ":" in target.address else socket.AF_INET)
    try:
        sock.setblocking(False)
        if source is not None:
            sock.setsockopt(socket.IPPROTO_IP, _BIND_ADDRESS_NO_PORT, 1)
            sock.bind((source, 0))
        await asyncio.get_running_loop().sock_connect(sock, (target.address, target.port))
    except BaseException:
        sock.close()
        raise
    return sock


def reason_of(error: OSError, /) -> str:
    """Why there is no connection, in a few words that are the same for all connections with that fate."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"TLS: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS: {(error.reason or 'failed').lower().replace('_', ' ')}"
    # With several addresses asyncio sums up in a text only.
    return _REASONS.get(error.errno or 0) or (os.strerror(error.errno).lower() if error.errno else "can't connect")


def _member(client: Client, greeting: bytes | Ended) -> Member | Ended:
    if isinstance(greeting, Ended):
        return greeting
    try:
        frame = _greeting.decode(greeting)
    except msgspec.DecodeError:
        return Ended("no welcome")
    if frame.type == "welcome":
        return Member(client, frame.data.userId, frame.data.gatewayId)
    return Ended(f"error {frame.data.code}" if frame.type == "error" else "no welcome")


async def together(coroutines: Iterator[object], /) -> None:
    """Run all of them at once, until the last is over."""
    async with asyncio.TaskGroup() as tasks:
        for coroutine in coroutines:
            tasks.create_task(coroutine)  # type: ignore[arg-type]  # of coroutines only
