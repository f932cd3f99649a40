"""The demo as one process: an embedded gateway, the back end behind it, and the page in front."""

import secrets
from contextlib import aclosing
from typing import Final

import anyio
import click

from imgateway.adapters.jwt import mint_token
from imgateway.adapters.memory import MemoryConsumer, MemoryPublisher
from imgateway.adapters.starlette import application, gateway_routes
from imgateway.core.settings import AuthSettings, ServerSettings, Settings
from imgateway.model import UserId
from imgateway.plugins import load_authenticator
from imgateway_cli import logs, serving
from imgateway_cli.demo.backend import DemoBackEnd
from imgateway_cli.demo.page import page_routes
from imgateway_cli.demo.routes import DemoRoutes, IssuedToken
from imgateway_cli.wiring import compose

TOKEN_SECONDS: Final = 3600
BACK_END_GROUP: Final = "demo-back-end"


def run(port: int, *, token_seconds: int = TOKEN_SECONDS) -> None:
    """Serve the demo on the loopback address until SIGTERM or SIGINT, then drain. Blocks.

    Args:
        port: of the page and the gateway; 0 takes any free one.
        token_seconds: how long a login holds; the page renews it in time.

    Raises:
        GatewayError: the port can't be bound.
    """
    logs.configure(None, "warning")
    secret = secrets.token_urlsafe(32)
    settings = Settings(server=ServerSettings(port=port), auth=AuthSettings(secret=secret))
    serving.run(lambda: _main(settings, secret, token_seconds))


async def _main(settings: Settings, secret: str, token_seconds: int) -> None:
    composition = compose(settings)
    embedded = composition.embedded
    clock = embedded.clock

    def issue(user_id: UserId) -> IssuedToken:
        expires_at = (clock.now() // 1000 + token_seconds) * 1000
        return IssuedToken(mint_token(user_id, secret=secret, ttl_seconds=token_seconds, clock=clock), expires_at)

    authenticator = load_authenticator(settings.auth)
    publisher = MemoryPublisher(embedded.broker)
    back_end = DemoBackEnd(
        upstream=MemoryConsumer(embedded.broker, embedded.topics.upstream, BACK_END_GROUP),
        downstream=publisher,
        sessions=embedded.sessions,
        clock=clock,
        topics=embedded.topics,
    )
    demo = DemoRoutes(
        back_end=back_end,
        authenticator=authenticator,
        issue=issue,
        max_content_bytes=settings.connections.max_content_bytes,
        epoch=secrets.token_hex(8),
    )
    app = application([*page_routes(), *demo.routes(), *gateway_routes(composition.gateway)])
    # The port first: one that is taken is told before anything else begins.
    async with (
        serving.listening(app, settings) as bound,
        aclosing(authenticator),
        publisher,
        anyio.create_task_group() as tasks,
    ):
        await tasks.start(back_end.run)
        async with composition.gateway:
            await composition.gateway.wait_ready()
            click.echo(f"Open http://{bound.host}:{bound.port}/ in two browser tabs. Ctrl+C ends the demo.")
            await serving.drain_on_signal(composition.gateway)
        tasks.cancel_scope.cancel()
