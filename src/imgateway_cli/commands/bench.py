"""`imgateway bench`: how much a gateway can do, seen from outside."""

import re
import secrets
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import attrs
import click

from imgateway.core.settings import Settings
from imgateway.errors import SettingsError
from imgateway.model import is_valid_user_id
from imgateway_cli.commands.bench_rest import rest_command
from imgateway_cli.commands.bench_run import JSON, PROCESSES, Run, carry_out
from imgateway_cli.settings_sources import config_option, load_settings
from imgateway_cli.signing import SECRET_HELP, signing_settings
from imgateway_cli.websocket_url import websocket_url

if TYPE_CHECKING:
    from imgateway_cli.bench.plan import Tokens

_Command = TypeVar("_Command", bound=Callable[..., None])

DEFAULT_SECONDS: Final = 10.0
DEFAULT_BURST: Final = 10_000
OPEN_LOOP_WINDOW: Final = 64
"""As many as a gateway takes without an answer by default (`max_inflight_messages`)."""

_DAY: Final = 86_400
_RATE: Final = click.FloatRange(0, 10**7, min_open=True)
_TOKEN: Final = re.compile(r"[\x21-\x7e]+")


def _rate_or_burst(context: click.Context, option: click.Parameter, value: str) -> float | None:
    return None if value == "burst" else float(_RATE(value, option, context))


_SHARED: Final = (
    click.argument("url", callback=websocket_url),
    click.option(
        "--connections", type=click.IntRange(1, 10**6), required=True, metavar="N", help="How many, each a user."
    ),
    config_option,
    click.option("--secret", metavar="S", help=SECRET_HELP),
    click.option(
        "--tokens",
        "tokens_file",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Tokens made elsewhere, one a line and connection, instead of signing them.",
    ),
    click.option(
        "--user-prefix", default="bench", show_default=True, metavar="P", help="Users are P-0, P-1 and so on."
    ),
    PROCESSES,
    click.option(
        "--timeout",
        type=click.FloatRange(0, 600, min_open=True),
        default=10.0,
        show_default=True,
        metavar="SECONDS",
        help="How long a handshake may take, and the last answers.",
    ),
    click.option("--insecure", is_flag=True, help="With wss: take any certificate."),
    JSON,
)

_rate_option = click.option("--rate", type=_RATE, metavar="R", help="So many a second, evenly.")
_duration_option = click.option(
    "--duration", type=click.FloatRange(0, _DAY, min_open=True), metavar="S", help="Stop after so many seconds."
)
_messages_option = click.option(
    "--messages", type=click.IntRange(1, 10**9), metavar="M", help="Stop after so many messages."
)
_size_option = click.option(
    "--size", type=click.IntRange(1, 2**20), default=120, show_default=True, metavar="BYTES", help="Bytes of content."
)


def _shared_options(command: _Command) -> _Command:
    for option in reversed(_SHARED):
        command = option(command)
    return command


@attrs.frozen
class _Common(Run):
    """What the commands ask for that connect users."""

    config: Path | None
    secret: str | None = attrs.field(repr=False)
    tokens_file: Path | None
    user_prefix: str


@click.group()
def bench() -> None:
    """Measure a gateway from outside: connections, messages up, messages down, HTTP requests.

    Exit code 1 where nothing succeeded, a connection failed or was lost, or a message or a request was refused
    or lost. Ctrl-C ends early, with a report of what was measured so far.
    """


@bench.command("connect")
@_shared_options
@_rate_option
@click.option(
    "--hold",
    type=click.FloatRange(0, _DAY),
    default=0.0,
    show_default=True,
    metavar="SECONDS",
    help="Keep the connections open, and count those that are lost.",
)
def connect_command(rate: float | None, hold: float, **common: Any) -> None:
    """Open connections, each until its `welcome`, and keep them.

    Reports how many a second there were, how long they took, and why others failed. Without --rate 64 handshakes are
    on their way at a time.
    """
    from imgateway_cli.bench.plan import Hold

    options = _Common(**common)
    carry_out(options, Hold(hold), _tokens(options, None, hold), rate)


@bench.command("up")
@_shared_options
@click.option(
    "--window",
    type=click.IntRange(1, 10_000),
    metavar="W",
    help=f"Messages of a connection without an answer.  [default: 1; {OPEN_LOOP_WINDOW} with --rate]",
)
@_rate_option
@_duration_option
@_messages_option
@_size_option
@click.option(
    "--conversations", type=click.IntRange(1, 10**7), metavar="K", help="How many.  [default: as many as connections]"
)
def up_command(
    window: int | None,
    rate: float | None,
    duration: float | None,
    messages: int | None,
    size: int,
    conversations: int | None,
    **common: Any,
) -> None:
    """Send messages and wait until each is acknowledged.

    Without --rate each connection sends the next message when one is answered. With it messages are sent when they
    are due, and latency counts from then, even where the gateway or the window makes them wait.
    Stops after 10 seconds where neither --duration nor --messages is given.
    """
    from imgateway_cli.bench.plan import Up

    options = _Common(**common)
    if duration is None and messages is None:
        duration = DEFAULT_SECONDS
    if window is None:
        window = 1 if rate is None else OPEN_LOOP_WINDOW
    load = Up(window, rate, duration, messages, size, conversations or options.connections, _name())
    carry_out(options, load, _tokens(options, None, duration or _DAY))


@bench.command("down")
@_shared_options
@click.option("--kafka", metavar="HOST:PORT", help="Kafka's brokers, where no --config has them in its [kafka].")
@click.option(
    "--topic-prefix",
    metavar="P",
    help="Topics are P and a gateway's id.  [default: im-downstream-topic-, or [kafka]'s]",
)
@click.option(
    "--rate", callback=_rate_or_burst, default="burst", show_default=True, metavar="R", help="Records a second, evenly."
)
@click.option(
    "--fan-out", type=click.IntRange(1, 10_000), default=1, show_default=True, metavar="F", help="Users of a record."
)
@_duration_option
@click.option("--messages", type=click.IntRange(1, 10**9), metavar="M", help="Stop after so many records.")
@_size_option
def down_command(
    kafka: str | None,
    topic_prefix: str | None,
    rate: float | None,
    fan_out: int,
    duration: float | None,
    messages: int | None,
    size: int,
    **common: Any,
) -> None:
    """Write downstream records to Kafka and see them arrive.

    Each record goes to the topic of the gateway that its users are connected to. Stops after 10,000 records where
    neither --duration nor --messages is given, with --rate after 10 seconds.
    """
    if find_spec("aiokafka") is None:
        raise SettingsError(["kafka: expected aiokafka to be installed: pip install 'imgateway[kafka]'"])
    from imgateway_cli.bench.plan import Down

    options = _Common(**common)
    if fan_out > options.connections:
        raise click.BadParameter(f"expected at most --connections, {options.connections}", param_hint="--fan-out")
    if duration is None and messages is None:
        duration, messages = (None, DEFAULT_BURST) if rate is None else (DEFAULT_SECONDS, None)
    flags: dict[str, object] = {}
    if kafka is not None:
        flags["kafka__bootstrap_servers"] = kafka.split(",")
    settings = (
        load_settings(options.config, **flags).settings
        if options.tokens_file is not None
        else signing_settings(options.config, options.secret, **flags)
    )
    if settings.kafka is None:
        raise click.UsageError("no Kafka: give --kafka, or name a --config that has [kafka]")
    prefix = settings.kafka.downstream_topic_prefix if topic_prefix is None else topic_prefix
    load = Down(settings.kafka, prefix, rate, duration, messages, fan_out, size, _name())
    most = options.connections // fan_out
    carry_out(options, load, _tokens(options, settings, duration or _DAY), most_processes=most)


bench.add_command(rest_command)


def _name() -> str:
    return f"bench-{secrets.token_hex(4)}"


def _tokens(options: _Common, settings: Settings | None, seconds: float) -> "Tokens":
    from imgateway_cli.bench.plan import GivenTokens, MintedTokens

    if options.tokens_file is not None:
        if options.secret is not None:
            raise click.UsageError("--tokens and --secret exclude each other")
        return GivenTokens(_read(options.tokens_file, options.connections))
    if not is_valid_user_id(f"{options.user_prefix}-{options.connections}") or len(options.user_prefix) > 100:
        raise click.BadParameter("expected at most 100 characters, no control characters", param_hint="--user-prefix")
    auth = (settings or signing_settings(options.config, options.secret)).auth
    minted = MintedTokens(auth, options.user_prefix, 3600 + int(seconds))
    minted.token(0)  # what can't be signed is told here, not by each process
    return minted


def _read(file: Path, count: int) -> tuple[str, ...]:
    try:
        tokens = file.read_text("ascii").split()
    except OSError as error:
        raise click.BadParameter(f"{file} can't be read: {error.strerror}", param_hint="--tokens") from None
    except UnicodeDecodeError:
        tokens = [""]
    if not all(_TOKEN.fullmatch(token) for token in tokens):
        raise click.BadParameter(f"{file}: expected one token a line, of visible ASCII", param_hint="--tokens")
    if len(tokens) < count:
        text = f"{file}: expected a token for each of {count:,} connections, found {len(tokens):,}"
        raise click.BadParameter(text, param_hint="--tokens")
    return tuple(tokens[:count])
