"""The demo as one process: an embedded gateway, the back end behind it, and the page in front."""

import secrets
from contextlib import AsyncExitStack
from typing import Final

import anyio
import click

from imgateway.adapters.memory import Embedded, MemoryConsumer, MemoryPublisher
from imgateway.adapters.starlette import application, gateway_routes
from imgateway.core.settings import AuthSettings, ServerSettings, Settings
from imgateway.core.settings_grpc import ANY_SERVICE, GrpcServiceSettings, GrpcSettings
from imgateway_cli import logs
from imgateway_cli import serving as clients
from imgateway_cli.demo.page import page_routes
from imgateway_cli.wiring import compose
from imgateway_im_logic.messaging import messaging
from imgateway_im_logic.server import PUBLIC, descriptor_set_path, serving
from imgateway_im_logic.tokens import ISSUER, Tokens

TOKEN_SECONDS: Final = 3600
BACK_END_GROUP: Final = "im-logic-group"


def run(port: int, *, token_seconds: int = TOKEN_SECONDS) -> None:
    """Serve the demo on the loopback address until SIGTERM or SIGINT, then drain. Blocks.

    Args:
        port: of the page and the gateway; 0 takes any free one.
        token_seconds: how long an access token holds; the page renews it in time.

    Raises:
        GatewayError: the port can't be bound.
    """
    logs.configure(None, "warning")
    clients.run(lambda: _main(port, secrets.token_urlsafe(32), token_seconds))


async def _main(port: int, secret: str, token_seconds: int) -> None:
    embedded = Embedded()
    async with AsyncExitStack() as stack:
        publisher = MemoryPublisher(embedded.broker)
        back_end = messaging(
            upstream=MemoryConsumer(embedded.broker, embedded.topics.upstream, BACK_END_GROUP),
            downstream=publisher,
            sessions=embedded.sessions,
            clock=embedded.clock,
            topics=embedded.topics,
        )
        tokens = Tokens(secret, embedded.clock, token_seconds)
        server = await stack.enter_async_context(serving(back_end, tokens, listen="127.0.0.1:0"))
        settings = demo_settings(port, secret, server.port)
        composition = compose(settings, embedded=embedded)
        app = application([*page_routes(), *gateway_routes(composition.gateway)])
        # The port first: one that is taken is told before anything else begins.
        bound = await stack.enter_async_context(clients.listening(app, settings))
        await stack.enter_async_context(publisher)
        tasks = await stack.enter_async_context(anyio.create_task_group())
        stack.callback(tasks.cancel_scope.cancel)
        await tasks.start(back_end.run)
        await stack.enter_async_context(composition.gateway)
        await composition.gateway.wait_ready()
        click.echo(f"Open http://{bound.host}:{bound.port}/ in two browser tabs. Ctrl+C ends the demo.")
        await clients.drain_on_signal(composition.gateway)


def demo_settings(port: int, secret: str, back_end_port: int, /) -> Settings:
    """The gateway's settings; they differ from the defaults by what the back end is."""
    return Settings(
        server=ServerSettings(port=port),
        auth=AuthSettings(secret=secret, issuer=ISSUER, required_claims={"type": "access"}),
        grpc=GrpcSettings(
            descriptor_set=descriptor_set_path(),
            public=PUBLIC,
            services={ANY_SERVICE: GrpcServiceSettings(target=f"127.0.0.1:{back_end_port}")},
        ),
    )
