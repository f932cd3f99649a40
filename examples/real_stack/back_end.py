"""A back end as a program of its own: Kafka on one side, Redis on the other, and nothing of the gateway in between.

It is the demo's back end on real adapters: reads the upstream topic, gives each message its place in its conversation,
looks up who is where, and writes to the downstream topics of their gateways. It also serves the chat page and logins.
Conversations are kept in memory: a real back end has a database.

    IMGATEWAY_AUTH__SECRET=… python back_end.py --kafka 127.0.0.1:9092 --redis redis://127.0.0.1:6379/0 --port 8090
"""

import argparse
import os
import secrets
from contextlib import AsyncExitStack, aclosing

import anyio
from starlette.applications import Starlette

from imgateway import AuthSettings, ServerSettings, Settings, UserId
from imgateway.adapters.jwt import JwtAuthenticator, mint_token
from imgateway.adapters.kafka import KafkaAccess, KafkaConsumer, KafkaPublisher, TopicPlan
from imgateway.adapters.redis import RedisAccess, RedisSessionStore
from imgateway.core.clock import SystemClock
from imgateway.core.topics import Topics
from imgateway_cli import logs, serving
from imgateway_cli.demo.backend import DemoBackEnd
from imgateway_cli.demo.page import page_routes
from imgateway_cli.demo.routes import DemoRoutes, IssuedToken

GROUP = "im-logic-group"
TOKEN_SECONDS = 3600


async def main(kafka: str, redis: str, port: int, secret: str) -> None:
    """Serve and relay until cancelled."""
    clock, topics = SystemClock(), Topics()
    auth = AuthSettings(secret=secret)
    access = KafkaAccess((kafka,))

    def issue(user_id: UserId) -> IssuedToken:
        expires_at = (clock.now() // 1000 + TOKEN_SECONDS) * 1000
        return IssuedToken(mint_token(user_id, secret=secret, ttl_seconds=TOKEN_SECONDS, clock=clock), expires_at)

    async with AsyncExitStack() as stack:
        authenticator = await stack.enter_async_context(aclosing(JwtAuthenticator.from_settings(auth)))
        sessions = await stack.enter_async_context(aclosing(RedisSessionStore(RedisAccess(redis))))
        publisher = await stack.enter_async_context(KafkaPublisher(access))
        back_end = DemoBackEnd(
            upstream=KafkaConsumer(access, TopicPlan(topics.upstream, 10), GROUP, "im-logic"),
            downstream=publisher,
            sessions=sessions,
            clock=clock,
            topics=topics,
        )
        demo = DemoRoutes(back_end, authenticator, issue, 5000, secrets.token_hex(8))
        app = Starlette(routes=[*page_routes(), *demo.routes()])
        settings = Settings(server=ServerSettings(port=port))
        await stack.enter_async_context(serving.listening(app, settings))
        tasks = await stack.enter_async_context(anyio.create_task_group())
        await tasks.start(back_end.run)
        print("ready", flush=True)
        await anyio.sleep_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kafka", required=True)
    parser.add_argument("--redis", required=True)
    parser.add_argument("--port", type=int, default=8090)
    arguments = parser.parse_args()
    logs.configure(None, "warning")
    secret = os.environ["IMGATEWAY_AUTH__SECRET"]
    serving.run(lambda: main(arguments.kafka, arguments.redis, arguments.port, secret))
