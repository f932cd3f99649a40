"""The WebSocket client behind `imgateway connect`."""

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator
from datetime import datetime
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlsplit

import attrs
import click
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as websocket
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.frames import CLOSE_CODE_EXPLANATIONS
from websockets.http11 import Response
from websockets.typing import Subprotocol

from imgateway.codes import RFC_ABNORMAL, RFC_NORMAL, TABLE, reconnect_advised
from imgateway.core.settings_rules import is_loopback
from imgateway.wire.json_codec import JSON_V1
from imgateway.wire.messages import SendMessage
from imgateway_cli.printable import printable

_CLOSE_SECONDS: Final = 2.0


async def talk(url: str, token: str, lines: AsyncIterator[str], *, conversation: str, wait: float) -> bool:
    """Connect, send what `lines` brings and print every frame, until the input or the connection ends.

    Frames go to stdout, what happens to the connection to stderr. Cancelling closes the connection.

    Args:
        url: `ws://` or `wss://`.
        token: sent in the `Authorization` header, so that no log of requests on the way holds it.
        lines: what to send, see `frame_of`.
        conversation: where plain text goes.
        wait: for so many seconds after the end of the input frames are still printed.

    Returns:
        Whether all went well: the connection was made, and was not ended by the gateway for a reason but 1000.
    """
    try:
        async with websocket(
            url,
            additional_headers={"Authorization": f"Bearer {token}"},
            subprotocols=[Subprotocol(JSON_V1)],
            close_timeout=_CLOSE_SECONDS,
            # A proxy named in the environment knows nothing of this machine's own ports.
            proxy=None if is_loopback(urlsplit(url).hostname or "") else True,
        ) as socket:
            _notice("connected", "green")
            return await _exchange(socket, lines, conversation, wait)
    except InvalidStatus as error:
        _notice(f"refused: {refusal_of(error.response)}", "red")
    except TimeoutError:
        _notice("no answer in time", "red")
    except InvalidHandshake as error:
        _notice(f"not a WebSocket: {error}", "red")
    except OSError as error:
        _notice(f"can't connect: {error.strerror or error}", "red")
    return False


async def _exchange(socket: ClientConnection, lines: AsyncIterator[str], conversation: str, wait: float) -> bool:
    receiving = asyncio.create_task(_show(socket))
    sending = asyncio.create_task(_send(socket, lines, conversation))
    try:
        await asyncio.wait({receiving, sending}, return_when=asyncio.FIRST_COMPLETED)
        if not receiving.done():
            await asyncio.wait({receiving}, timeout=wait)
        if not receiving.done():
            return True
    finally:
        for task in (sending, receiving):
            task.cancel()
        await asyncio.gather(sending, receiving, return_exceptions=True)
        # Here, because leaving the context by Ctrl-C would report an internal error (1011) to the gateway.
        await socket.close()
    code = RFC_ABNORMAL if socket.close_code is None else socket.close_code
    _notice(f"closed {code}: {meaning(code, socket.close_reason or '')}", "yellow")
    return code == RFC_NORMAL


async def _show(socket: ClientConnection) -> None:
    try:
        async for frame in socket:
            _print_frame("←", frame, "cyan")
    except ConnectionClosed:
        return  # what there is to say about it stands in the socket


async def _send(socket: ClientConnection, lines: AsyncIterator[str], conversation: str) -> None:
    try:
        async for line in lines:
            if line.startswith("{") and _json_object(line) is None:
                _notice("not sent, as it is not valid JSON; begin with a space to send it as text", "red")
            elif line.strip():
                frame = frame_of(line, conversation)
                await socket.send(frame)
                _print_frame("→", frame, "magenta")
    except ConnectionClosed:
        return


def frame_of(line: str, conversation: str, /) -> str:
    """A line as a frame: a JSON object as it is, any other text as a `send-message` for `conversation`."""
    if _json_object(line) is not None:
        return line.strip()
    data = {
        "conversationId": conversation,
        "content": line,
        "messageType": 1,
        "client_msg_id": uuid.uuid4().hex,
    }
    return json.dumps({"type": SendMessage.TYPE, "data": data, "timestamp": time.time_ns() // 1_000_000})


def meaning(code: int, reason: str, /) -> str:
    """What a close code says: the gateway's table, else RFC 6455, and what to do about it."""
    rows = [row for row in TABLE.values() if row.close_code == code]
    titles = [row.title for row in rows if row.code.value == reason] or [row.title for row in rows]
    text = " or ".join(titles) or CLOSE_CODE_EXPLANATIONS.get(code, "") or "unknown code"
    if reason and reason not in {row.code.value for row in rows}:
        text += f" ({printable(reason)})"
    if code == RFC_NORMAL:
        return text
    return f"{text}; {'connect again' if reconnect_advised(code) else 'connecting again would end the same way'}"


def refusal_of(response: Response, /) -> str:
    """A refused upgrade in one line: the status, and the problem body (RFC 9457) where there is one."""
    problem = _json_object((response.body or b"").decode("utf-8", "replace")) or {}
    try:
        phrase = HTTPStatus(response.status_code).phrase
    except ValueError:
        phrase = response.reason_phrase
    parts = [f"{response.status_code} {problem.get('title') or phrase}"]
    parts += [str(problem["detail"])] if problem.get("detail") else []
    parts += [f"code {problem['code']}"] if problem.get("code") else []
    retry_after = response.headers.get("Retry-After")
    parts += [f"try again after {retry_after} s"] if retry_after else []
    return printable("; ".join(parts))


def _json_object(text: str) -> dict[str, Any] | None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _print_frame(arrow: str, frame: str | bytes, colour: str) -> None:
    click.echo(f"{_clock()} {click.style(arrow, fg=colour)} {_Pretty.of(frame).styled(colour)}")


def _notice(text: str, colour: str) -> None:
    click.echo(click.style(f"{_clock(plain=True)} {text}", fg=colour), err=True)


def _clock(*, plain: bool = False) -> str:
    text = datetime.now().astimezone().strftime("%H:%M:%S.%f")[:-3]
    return text if plain else click.style(text, dim=True)


@attrs.frozen
class _Pretty:
    """A frame as a person reads it; all of it printable."""

    type: str
    rest: str

    @classmethod
    def of(cls, frame: str | bytes) -> "_Pretty":
        if isinstance(frame, bytes):
            return cls("binary", f"{len(frame)} bytes")
        value = _json_object(frame)
        if value is None or not isinstance(value.get("type"), str):
            return cls("", printable(frame))
        data = json.dumps(value.get("data"), ensure_ascii=False) if "data" in value else ""
        return cls(printable(value["type"]), printable(data))

    def styled(self, colour: str) -> str:
        return f"{click.style(self.type, fg=colour, bold=True)} {self.rest}".strip() if self.type else self.rest
