"""`imgateway connect`: a WebSocket client for people."""

import asyncio
import re
import sys

import click

from imgateway_cli.stdin_lines import stdin_lines
from imgateway_cli.terminal_client import talk
from imgateway_cli.websocket_url import websocket_url

_TOKEN = re.compile(r"[\x21-\x7e]+")


def _token(_: click.Context, __: click.Parameter, value: str) -> str:
    if not _TOKEN.fullmatch(value):
        raise click.BadParameter("expected visible ASCII characters only")
    return value


@click.command()
@click.argument("url", callback=websocket_url)
@click.option(
    "--token",
    required=True,
    envvar="IMGATEWAY_TOKEN",
    show_envvar=True,
    metavar="T",
    callback=_token,
    help="Who you are; the variable keeps it out of the process list.",
)
@click.option("--conversation", default="demo", show_default=True, metavar="ID", help="Where plain text goes.")
@click.option(
    "--wait",
    type=click.FloatRange(0),
    metavar="SECONDS",
    help="How long to print frames after the input ended.  [default: 2; 0 on a terminal]",
)
def connect(url: str, token: str, conversation: str, wait: float | None) -> None:
    """Connect to a gateway: type text or JSON, see frames.

    A line that is a JSON object is sent as it is, and one that begins like one but is none is not sent; any other text
    is sent as a message. Ends on Ctrl-D or Ctrl-C.
    """
    if wait is None:
        wait = 0.0 if sys.stdin.isatty() else 2.0
    try:
        well = asyncio.run(talk(url, token, stdin_lines(), conversation=conversation, wait=wait))
    except KeyboardInterrupt:
        return
    if not well:
        raise click.exceptions.Exit(1)
