"""Log lines: one line an event, whatever is in it, and no credentials."""

import io
import json
import logging
import re
from collections.abc import Iterator

import pytest

from imgateway_cli import logs

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.c2lnbmF0dXJl"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    loggers = [root, *map(logging.getLogger, logs.QUIET_LOGGERS)]
    before = [(logger, logger.level, logger.handlers[:], logger.propagate) for logger in loggers]
    yield
    for logger, level, handlers, propagate in before:
        logger.setLevel(level)
        logger.handlers[:] = handlers
        logger.propagate = propagate


def json_lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_json_has_time_level_logger_message_and_extra_fields() -> None:
    stream = io.StringIO()
    logs.configure("json", "info", stream=stream)
    logging.getLogger("imgateway.core").warning("lost %s", "partition", extra={"offset": 7, "topic": "t", "none": None})
    (line,) = json_lines(stream)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", str(line.pop("ts")))
    assert line == {
        "level": "warning",
        "logger": "imgateway.core",
        "message": "lost partition",
        "offset": 7,
        "topic": "t",
        "none": None,
    }


def test_an_extra_field_does_not_pose_as_the_level() -> None:
    stream = io.StringIO()
    logs.configure("json", "info", stream=stream)
    logging.getLogger("x").info("m", extra={"level": "critical", "ts": "never"})
    (line,) = json_lines(stream)
    assert line["level"] == "info"
    assert line["ts"] != "never"


def test_console_has_time_level_logger_message_and_pairs() -> None:
    stream = io.StringIO()
    logs.configure("console", "info", stream=stream)
    logging.getLogger("imgateway.core").warning("lost", extra={"offset": 7})
    assert re.fullmatch(r"\d\d:\d\d:\d\d\.\d{3} warning imgateway\.core: lost offset=7\n", stream.getvalue())


def test_the_format_follows_the_stream_unless_it_is_given() -> None:
    terminal, pipe, forced = Terminal(), io.StringIO(), Terminal()
    for stream, log_format in ((terminal, None), (pipe, None)):
        logs.configure(log_format, "info", stream=stream)
        logging.getLogger("x").error("m")
    logs.configure("json", "info", stream=forced)
    logging.getLogger("x").error("m")
    assert "\x1b[31merror" in terminal.getvalue()
    assert json_lines(pipe)[0]["message"] == "m"
    assert json_lines(forced)[0]["message"] == "m"


def test_colours_can_be_declined(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    terminal = Terminal()
    logs.configure(None, "info", stream=terminal)
    logging.getLogger("x").error("m")
    assert "\x1b" not in terminal.getvalue()


@pytest.mark.parametrize("log_format", ["json", "console"])
@pytest.mark.parametrize("hostile", ["a\r\nb", "a\x1b[31mb", "a\x9b31mb", "a\u2028b", "a\u202eb", "a\x00b", "a\x85b"])
def test_nothing_logged_makes_a_second_line_or_reaches_the_terminal(log_format: str, hostile: str) -> None:
    stream = io.StringIO()
    logs.configure("json" if log_format == "json" else "console", "info", stream=stream)
    logging.getLogger("x").info("user %s", hostile, extra={"device": hostile, hostile: 1})
    line = stream.getvalue().removesuffix("\n")
    assert line.isprintable()
    assert line.count("a") >= 3


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_an_exception_can_not_forge_a_line(log_format: str) -> None:
    stream = io.StringIO()
    logs.configure("json" if log_format == "json" else "console", "info", stream=stream)
    try:
        raise ValueError(f"boom\n12:00:00.000 info forged: line token={JWT} \x1b[31m")
    except ValueError:
        logging.getLogger("x").exception("failed")
    output = stream.getvalue()
    assert "boom" in output
    assert JWT not in output
    first, *rest = output.splitlines()
    assert all(line.isprintable() for line in (first, *rest))
    assert all(line.startswith("    | ") for line in rest)
    assert log_format == "console" or not rest


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (f"GET /ws?token={JWT}&device_id=d1 HTTP/1.1", "device_id=d1"),
        ("GET /ws?device_id=d1&token=canary-value", "device_id=d1"),
        ("GET /ws?access_token=canary-value HTTP/1.1", "HTTP/1.1"),
        ("GET /ws?token%3Dcanary-value HTTP/1.1", "HTTP/1.1"),
        ("Sec-WebSocket-Protocol: imgateway.json.v1, bearer.canary-value", "imgateway.json.v1"),
        ("Authorization: Bearer canary-value", "Authorization"),
        ("authorization: basic canary-value, x", ", x"),
        ("[(b'authorization', b'Bearer canary-value'), (b'host', b'h')]", "b'host'"),
        ("sent Bearer canary-value-of-some-length to h", "to h"),
        ('{"type": "refresh-token", "data": {"token": "canary-value"}}', "refresh-token"),
        ("{'secret': 'canary-value', 'x': 1}", "'x': 1"),
        (f"verified {JWT} for alice", "for alice"),
        ("password=canary-value", "password="),
    ],
)
def test_what_looks_like_a_credential_is_masked_in_every_place(text: str, kept: str) -> None:
    stream = io.StringIO()
    logs.configure("json", "debug", stream=stream)
    logging.getLogger("x").info(text)
    logging.getLogger("x").info("%s", text, extra={"detail": text})
    output = stream.getvalue()
    assert "canary-value" not in output
    assert JWT not in output
    assert "[redacted]" in output
    for line in json_lines(stream):
        assert kept in str(line["message"])
    assert kept in str(json_lines(stream)[1]["detail"])


def test_a_field_that_is_called_a_token_is_masked() -> None:
    stream = io.StringIO()
    logs.configure("json", "debug", stream=stream)
    logging.getLogger("x").info("m", extra={"token": "canary-value", "client_secret": "canary-value", "user": "u"})
    (line,) = json_lines(stream)
    assert (line["token"], line["client_secret"], line["user"]) == ("[redacted]", "[redacted]", "u")


@pytest.mark.parametrize("text", ["the token is expired", "token: 3 characters", "Bearer token missing", "a=b, c.d.e"])
def test_ordinary_words_stay(text: str) -> None:
    assert logs.redact(text) == text


def test_arguments_that_do_not_fit_are_not_printed_by_logging_itself(capfd: pytest.CaptureFixture[str]) -> None:
    stream = io.StringIO()
    logs.configure("json", "debug", stream=stream)
    logging.getLogger("x").info("two %s %s", JWT)
    assert json_lines(stream)[0]["message"] == "two %s %s"
    assert JWT not in "".join(capfd.readouterr())


def test_a_huge_value_is_cut() -> None:
    stream = io.StringIO()
    logs.configure("json", "debug", stream=stream)
    logging.getLogger("x").info("m" * 1_000_000, extra={"field": "f" * 1_000_000})
    assert len(stream.getvalue()) < 20_000


@pytest.mark.parametrize("name", ["uvicorn.error", "uvicorn.access", "websockets.server"])
def test_servers_do_not_log_requests(name: str) -> None:
    stream = io.StringIO()
    logs.configure("json", "debug", stream=stream)
    logging.getLogger(name).info("GET /ws?device_id=d1")
    logging.getLogger(name).warning("important")
    assert [line["message"] for line in json_lines(stream)] == ["important"]


def test_the_level_holds_for_all() -> None:
    stream = io.StringIO()
    logs.configure("json", "error", stream=stream)
    for name in ("imgateway.core", "uvicorn.error", "other"):
        logging.getLogger(name).warning("no")
        logging.getLogger(name).error("yes")
    assert [line["message"] for line in json_lines(stream)] == ["yes"] * 3


def test_configuring_again_does_not_double_lines() -> None:
    stream = io.StringIO()
    for _ in range(2):
        logs.configure("json", "info", stream=stream)
    logging.getLogger("x").info("once")
    assert len(json_lines(stream)) == 1
