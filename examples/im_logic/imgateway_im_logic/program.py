"""The back end as a program of its own: Kafka and Redis on one side, gRPC on the other, found by its key in etcd.

One process: what it knows is in its memory, and gone when it ends. A real back end has a database.
"""

import argparse
import logging
import os
import signal
import sys
import uuid
from collections.abc import Sequence
from contextlib import AsyncExitStack, aclosing
from functools import partial
from typing import Final

import anyio
import attrs

from imgateway.adapters.etcd import EtcdAccess, EtcdRegistrar
from imgateway.adapters.kafka import KafkaAccess, KafkaConsumer, KafkaPublisher, TopicPlan
from imgateway.adapters.redis import RedisAccess, RedisSessionStore
from imgateway.core.clock import SystemClock
from imgateway.core.retrying import until_available
from imgateway.core.topics import Topics
from imgateway.errors import GatewayError
from imgateway.model import ServiceInstance
from imgateway_im_logic.messaging import messaging
from imgateway_im_logic.server import serving
from imgateway_im_logic.tokens import ACCESS_SECONDS, Tokens

SERVICE: Final = "im-logic"
GROUP: Final = "im-logic-group"
SECRET_VARIABLE: Final = "IMGATEWAY_AUTH__SECRET"  # noqa: S105  # the name of a variable
MIN_SECRET_BYTES: Final = 32
EVERYWHERE: Final = ("", "*", "0.0.0.0", "::")  # noqa: S104  # compared with, not bound to


@attrs.frozen
class Options:
    """What the command line says.

    Attributes:
        listen: where gRPC is served, "host:port".
        host: under which host others reach it.
        kafka: servers to begin with.
        redis: the URL.
        etcd: the endpoints; none: it is not registered.
        secret: signs tokens; the gateways have the same.
        access_seconds: how long an access token holds.
    """

    listen: str
    host: str
    kafka: Sequence[str]
    redis: str
    etcd: Sequence[str]
    upstream_partitions: int
    access_seconds: int
    secret: str = attrs.field(repr=False)


async def run(options: Options, /) -> None:
    """Serve and relay until SIGTERM or SIGINT.

    Raises:
        ServiceUnavailableError: Kafka can't be reached, or refuses.
        RuntimeError: the address can't be bound.
    """
    clock, topics = SystemClock(), Topics()
    access = KafkaAccess(tuple(options.kafka))
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with AsyncExitStack() as stack:
            sessions = await stack.enter_async_context(aclosing(RedisSessionStore(RedisAccess(options.redis))))
            publisher = await stack.enter_async_context(KafkaPublisher(access))
            back_end = messaging(
                upstream=KafkaConsumer(access, TopicPlan(topics.upstream, options.upstream_partitions), GROUP, SERVICE),
                downstream=publisher,
                sessions=sessions,
                clock=clock,
                topics=topics,
            )
            tasks = await stack.enter_async_context(anyio.create_task_group())
            stack.callback(tasks.cancel_scope.cancel)
            await tasks.start(back_end.run)
            tokens = Tokens(options.secret, clock, options.access_seconds)
            server = await stack.enter_async_context(serving(back_end, tokens, listen=options.listen))
            if options.etcd:
                registrar = await stack.enter_async_context(EtcdRegistrar.open(EtcdAccess(tuple(options.etcd))))
                instance = ServiceInstance(SERVICE, f"{SERVICE}-{uuid.uuid4().hex[:8]}", options.host, server.port)
                registering = await stack.enter_async_context(anyio.create_task_group())
                stack.callback(registering.cancel_scope.cancel)
                registering.start_soon(until_available, "etcd", partial(registrar.register, instance))
            print(f"ready on port {server.port}", flush=True)
            async for _ in signals:
                return


def parse(arguments: Sequence[str] | None = None, /) -> Options:
    """The options, or the end of the process with what is wrong with them."""
    parser = argparse.ArgumentParser(prog="python -m imgateway_im_logic", description=__doc__)
    parser.add_argument("--listen", default="127.0.0.1:9001", metavar="HOST:PORT", help="where gRPC is served")
    parser.add_argument(
        "--host", metavar="HOST", help="under which host the gateways reach it; by default where it listens"
    )
    parser.add_argument("--kafka", default="127.0.0.1:9092", metavar="HOST:PORT,…", help="Kafka's servers")
    parser.add_argument("--redis", default="redis://127.0.0.1:6379/0", metavar="URL", help="the gateways' Redis")
    parser.add_argument(
        "--etcd", default="", metavar="URL,…", help="etcd's endpoints; without them it is not registered"
    )
    parser.add_argument("--upstream-partitions", type=int, default=10, metavar="N", help="of a topic that is not there")
    parser.add_argument(
        "--access-seconds", type=int, default=ACCESS_SECONDS, metavar="N", help="life of an access token"
    )
    parser.epilog = f"The secret that signs tokens is read from {SECRET_VARIABLE}, which the gateways read too."
    given = parser.parse_args(arguments)
    secret = os.environ.get(SECRET_VARIABLE, "")
    if len(secret.encode()) < MIN_SECRET_BYTES:
        parser.error(f"{SECRET_VARIABLE}: expected at least {MIN_SECRET_BYTES} bytes")
    host = given.host or given.listen.rpartition(":")[0].strip("[]")
    etcd = [endpoint for endpoint in given.etcd.split(",") if endpoint]
    if etcd and host in EVERYWHERE:
        parser.error(f"--host: expected the host that gateways reach it under, since it listens on {given.listen}")
    return Options(
        listen=given.listen,
        host=host,
        kafka=given.kafka.split(","),
        redis=given.redis,
        etcd=etcd,
        upstream_partitions=given.upstream_partitions,
        access_seconds=given.access_seconds,
        secret=secret,
    )


def main() -> None:
    """The command line."""
    options = parse()
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s")
    try:
        anyio.run(run, options)
    except* (GatewayError, RuntimeError) as failures:
        raise SystemExit(f"im_logic has ended: {_first(failures)}") from None


def _first(failure: BaseException) -> BaseException:
    return _first(failure.exceptions[0]) if isinstance(failure, BaseExceptionGroup) else failure
