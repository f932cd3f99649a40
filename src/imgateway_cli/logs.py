"""Log lines for people on a terminal and for machines elsewhere, one line an event, without credentials.

No part of imgateway logs a token. The redaction here is a second line of defence, for other libraries' lines.
"""

import json
import logging
import os
import re
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final, Literal, TextIO

import attrs
import click

from imgateway_cli.printable import printable

MASK: Final = "[redacted]"
_MAX_CHARS: Final = 8192

QUIET_LOGGERS: Final = ("uvicorn", "uvicorn.error", "uvicorn.access", "uvicorn.asgi", "websockets")
"""Below WARNING these write request lines and headers, and with them tokens."""

MUTED_LOGGERS: Final = ("aiokafka",)
"""While a broker is away it writes many lines a second; the adapter says that once, and when it is back."""

_SECRETS: Final[tuple[tuple[re.Pattern[str], str], ...]] = (
    (re.compile(r"eyJ[\w-]{4,}(?:\.[\w-]*){2,4}"), MASK),
    (
        re.compile(r"(?i)(authorization['\"]?\s*[:=,]\s*(?:b?['\"])?(?:(?:bearer|basic|digest)\s+)?)[^\s'\",;)\]}]+"),
        rf"\1{MASK}",
    ),
    (re.compile(r"(?i)(bearer\.)[^\s'\",;)\]}]+"), rf"\1{MASK}"),
    (re.compile(r"(?i)(bearer\s+)[\w.~+/=-]{16,}"), rf"\1{MASK}"),
    (re.compile(r"(?i)((?:token|secret|password)(?:=|%3d|['\"]\s*:\s*b?['\"]))[^\s'\"&,;)\]}]+"), rf"\1{MASK}"),
)

_SECRET_NAME: Final = re.compile(r"(?i)(token|secret|password|authorization)$")
_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}
_COLOURS: Final = {logging.WARNING: "yellow", logging.ERROR: "red", logging.CRITICAL: "red"}


def redact(text: str, /) -> str:
    """`text` with everything that looks like a credential masked: JWTs, `token=…`, `bearer.…`, `Authorization: …`."""
    for pattern, replacement in _SECRETS:
        text = pattern.sub(replacement, text)
    return text


def configure(
    log_format: Literal["json", "console"] | None,
    log_level: str,
    /,
    *,
    stream: TextIO | None = None,
    worker: str | None = None,
) -> None:
    """Send all logging of this process to `stream` (stderr), replacing what was configured before.

    Args:
        log_format: how lines look; None: `console` where the stream is a terminal, else `json`.
        log_level: the least severe level that is logged, in lower case.
        stream: where lines go.
        worker: the id of this worker, which then stands in every line; None: this process is none.
    """
    target = sys.stderr if stream is None else stream
    on_terminal = target.isatty()
    handler = logging.StreamHandler(target)
    if (log_format or ("console" if on_terminal else "json")) == "json":
        handler.setFormatter(JsonFormatter())
    else:
        handler.setFormatter(ConsoleFormatter(coloured=on_terminal and "NO_COLOR" not in os.environ))
    if worker is not None:
        handler.addFilter(partial(_mark, worker))
    level = logging.getLevelNamesMapping()[log_level.upper()]
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in QUIET_LOGGERS:
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
        logger.setLevel(max(level, logging.WARNING))
    mute()


def _mark(worker: str, record: logging.LogRecord) -> bool:
    record.worker = worker
    return True


def mute() -> None:
    """Silence what only repeats what our own lines and messages say."""
    for name in MUTED_LOGGERS:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)


@attrs.frozen
class _Line:
    """A record's parts, redacted and bounded, but not yet escaped."""

    moment: datetime
    message: str
    extra: Mapping[str, Any]
    traceback: str


def _clean(text: str) -> str:
    # Cut first with room to spare, so that a huge text costs no more, and again after the masks.
    redacted = redact(text[: 2 * _MAX_CHARS])
    return redacted if len(redacted) <= _MAX_CHARS else f"{redacted[:_MAX_CHARS]}…"


def _scalar(name: str, value: object) -> object:
    if value is None or isinstance(value, bool | int | float):
        return value
    return MASK if _SECRET_NAME.search(name) else _clean(str(value))


def _parts(formatter: logging.Formatter, record: logging.LogRecord) -> _Line:
    try:
        message = record.getMessage()
    except Exception:  # whatever the arguments are: logging itself would print them unmasked
        message = str(record.msg)
    traceback = formatter.formatException(record.exc_info) if record.exc_info and record.exc_info[0] else ""
    extra = {name: _scalar(name, value) for name, value in vars(record).items() if name not in _STANDARD}
    return _Line(datetime.fromtimestamp(record.created, UTC), _clean(message), extra, _clean(traceback))


class JsonFormatter(logging.Formatter):
    """One JSON object a line: `ts` (UTC, RFC 3339), `level`, `logger`, `message`, extra fields, `exception`."""

    def format(self, record: logging.LogRecord) -> str:
        """One line of ASCII: every control character is escaped by JSON (RFC 8259 section 7)."""
        line = _parts(self, record)
        fields: dict[str, Any] = {
            "ts": line.moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": line.message,
        }
        for name, value in line.extra.items():
            fields.setdefault(name, value)
        if line.traceback:
            fields["exception"] = line.traceback
        return json.dumps(fields)


class ConsoleFormatter(logging.Formatter):
    """Local time, level, logger, message and `name=value` pairs; a traceback follows, each line of it indented."""

    def __init__(self, *, coloured: bool) -> None:
        super().__init__()
        self._coloured = coloured

    def format(self, record: logging.LogRecord) -> str:
        """One line, and one more for each line of a traceback; control characters in all of them are escaped."""
        line = _parts(self, record)
        level = f"{record.levelname.lower():<7}"
        if self._coloured:
            level = click.style(level, fg=_COLOURS.get(record.levelno), dim=record.levelno < logging.INFO or None)
        pairs = "".join(f" {printable(name)}={printable(str(value))}" for name, value in line.extra.items())
        clock = line.moment.astimezone().strftime("%H:%M:%S.%f")[:-3]
        text = f"{clock} {level} {record.name}: {printable(line.message)}{pairs}"
        return "\n    | ".join((text, *map(printable, line.traceback.splitlines())))
