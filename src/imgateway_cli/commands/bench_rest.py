"""`imgateway bench rest`: how many HTTP requests a gateway answers."""

import re
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import click
from click.core import ParameterSource

from imgateway.adapters.jwt import mint_token
from imgateway.core.settings import authority
from imgateway.model import UserId, is_valid_user_id
from imgateway_cli.commands.bench_run import JSON, PROCESSES, Run, carry_out
from imgateway_cli.http_url import http_url, is_request_path
from imgateway_cli.settings_sources import config_option
from imgateway_cli.signing import SECRET_HELP, signing_settings

DEFAULT_SECONDS: Final = 10.0
DEFAULT_USER: Final = "bench"

_DAY: Final = 86_400
_TOKEN: Final = re.compile(r"[\x21-\x7e]+")
_METHOD: Final = re.compile(r"[A-Z]{1,20}")


@click.command("rest")
@click.argument("url", callback=http_url)
@click.option(
    "--connections", type=click.IntRange(1, 10**5), default=32, show_default=True, metavar="N", help="Kept alive."
)
@click.option("--method", metavar="M", help="The HTTP method.  [default: GET, with --body POST]")
@click.option("--path", metavar="P", help="Path and query, in the place of those in URL.")
@click.option("--body", metavar="JSON", help="What each request brings; @FILE reads it from a file.")
@click.option("--token", envvar="IMGATEWAY_TOKEN", show_envvar=True, metavar="T", help="Who asks.")
@click.option("--user-id", metavar="U", help=f"Sign a token for this user.  [default: {DEFAULT_USER}]")
@config_option
@click.option("--secret", metavar="S", help=SECRET_HELP)
@click.option("--rate", type=click.FloatRange(0, 10**7, min_open=True), metavar="R", help="Requests a second, evenly.")
@click.option(
    "--seconds", type=click.FloatRange(0, _DAY, min_open=True), metavar="S", help="Stop after so many seconds."
)
@click.option("--requests", type=click.IntRange(1, 10**9), metavar="M", help="Stop after so many requests.")
@PROCESSES
@click.option(
    "--timeout",
    type=click.FloatRange(0, 600, min_open=True),
    default=10.0,
    show_default=True,
    metavar="SECONDS",
    help="How long connecting may take, and each answer.",
)
@click.option("--insecure", is_flag=True, help="With https: take any certificate.")
@JSON
def rest_command(
    url: str,
    connections: int,
    method: str | None,
    path: str | None,
    body: str | None,
    token: str | None,
    user_id: str | None,
    config: Path | None,
    secret: str | None,
    rate: float | None,
    seconds: float | None,
    requests: int | None,
    processes: int | None,
    timeout: float,
    insecure: bool,
    as_json: bool,
) -> None:
    """Ask over HTTP, the same each time.

    Without --rate each connection asks again when it is answered. With it requests are sent when they are due, and
    latency counts from then, even where no connection is free. A token is sent where --token, --user-id, --secret or
    --config says whose. Stops after 10 seconds where neither --seconds nor --requests is given.
    """
    # Imported here: `--help` should not wait for it.
    from imgateway_cli.bench.http import request_of
    from imgateway_cli.bench.plan import GivenTokens, Rest

    if seconds is None and requests is None:
        seconds = DEFAULT_SECONDS
    content = _content(body)
    verb = _verb(method, content)
    parts = urlsplit(url)
    if path is not None and not is_request_path(path):
        raise click.BadParameter("expected a path that begins with /, of visible ASCII", param_hint="--path")
    if path is None:
        path = f"{parts.path}?{parts.query}" if parts.query else parts.path
    host = authority(parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80))
    who = _token(token, user_id, config, secret, seconds or _DAY)
    load = Rest(request_of(verb, path, host, who, content), verb == "HEAD", rate, seconds, requests)
    carry_out(Run(url, connections, processes, timeout, insecure, as_json), load, GivenTokens(()))


def _verb(method: str | None, content: bytes | None) -> str:
    if method is None:
        return "GET" if content is None else "POST"
    verb = method.upper()
    if _METHOD.fullmatch(verb) is None or verb == "CONNECT":
        raise click.BadParameter("expected a method like GET", param_hint="--method")
    return verb


def _content(body: str | None) -> bytes | None:
    if body is None or not body.startswith("@"):
        return None if body is None else body.encode()
    try:
        return Path(body[1:]).read_bytes()
    except OSError as error:
        raise click.BadParameter(f"{body[1:]} can't be read: {error.strerror}", param_hint="--body") from None


def _token(
    token: str | None, user_id: str | None, config: Path | None, secret: str | None, seconds: float
) -> str | None:
    source = click.get_current_context().get_parameter_source("token")
    if token is not None and (user_id, secret) != (None, None):
        if source is ParameterSource.COMMANDLINE:
            raise click.UsageError("--token excludes --user-id and --secret: it says who asks already")
        token = None  # the variable is for whoever says nothing else
    if token is not None:
        if not _TOKEN.fullmatch(token):
            raise click.BadParameter("expected visible ASCII", param_hint="--token")
        return token
    if user_id is None and config is None and secret is None:
        return None
    user = DEFAULT_USER if user_id is None else user_id
    if not is_valid_user_id(user):
        raise click.BadParameter("expected 1 to 128 characters without control characters", param_hint="--user-id")
    auth = signing_settings(config, secret).auth
    return mint_token(UserId(user), secret=auth.secret or "", ttl_seconds=3600 + int(seconds), settings=auth)
