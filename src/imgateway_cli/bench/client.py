"""One connection of the load: an asyncio protocol that knows just enough of HTTP and RFC 6455 to be light."""

import asyncio
import base64
import hashlib
import json
import os
import re
from collections.abc import Callable
from typing import Final, cast

import attrs

from imgateway.codes import RFC_ABNORMAL, RFC_NO_STATUS, RFC_NORMAL
from imgateway.wire.json_codec import JSON_V1
from imgateway_cli.bench.frames import CLOSE, PING, PONG, TEXT, FrameError, FrameReader, client_frame

MAX_ANSWER_BYTES: Final = 65536

# One key for all: it only has to prove that the server speaks WebSocket, and costs two hashes less for each connection.
_KEY: Final = base64.b64encode(os.urandom(16))
_ACCEPT: Final = base64.b64encode(hashlib.sha1(_KEY + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())  # noqa: S324  # RFC 6455 section 4.2.2 wants SHA-1
_ACCEPT_LINE: Final = re.compile(rb"(?i)\r\nsec-websocket-accept:[ \t]*" + re.escape(_ACCEPT) + rb"[ \t]*\r\n")
_LENGTH_LINE: Final = re.compile(rb"(?i)\r\ncontent-length:[ \t]*(\d{1,9})[ \t]*\r\n")
_STATUS_LINE: Final = re.compile(rb"HTTP/1\.[01] (\d{3})")
_HEAD_END: Final = b"\r\n\r\n"


@attrs.frozen
class Ended:
    """A connection that is over, or never was: why, as it is counted."""

    reason: str


def upgrade_request(authority: str, path: str, token: str, /) -> bytes:
    """The request for a WebSocket (RFC 6455 section 4.1)."""
    return (
        f"GET {path} HTTP/1.1\r\nHost: {authority}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {_KEY.decode()}\r\n"
        f"Sec-WebSocket-Protocol: {JSON_V1}\r\nAuthorization: Bearer {token}\r\n\r\n"
    ).encode()


class Client(asyncio.Protocol):
    """A connection to a gateway.

    Args:
        request: what to ask for, see `upgrade_request`.

    Attributes:
        number: which of all connections it is.
        greeted: the first message, or why there is none. Never raises.
        on_text: gets each later message.
        on_end: is told why the connection ended, if it ended after the first message.
        pings: pings answered.
        ended: whether the socket is closed.
    """

    __slots__ = (
        "_closing",
        "_head",
        "_reader",
        "_reason",
        "_request",
        "_transport",
        "ended",
        "greeted",
        "number",
        "on_end",
        "on_text",
        "pings",
    )

    def __init__(self, request: bytes, number: int = 0) -> None:
        self.number = number
        self.greeted: asyncio.Future[bytes | Ended] = asyncio.get_running_loop().create_future()
        self.on_text: Callable[[bytes], None] | None = None
        self.on_end: Callable[[Client, str], None] | None = None
        self.pings = 0
        self.ended = False
        self._request = request
        self._head: bytes | None = b""
        self._reader = FrameReader()
        self._reason = ""
        self._closing = False
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the upgrade."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(self._request)
        self._request = b""

    def data_received(self, data: bytes) -> None:
        """Take in what the server says."""
        if self._head is not None:
            data = self._upgraded(self._head + data)
            if not data:
                return
        try:
            for opcode, payload in self._reader.feed(data):
                if opcode == TEXT:
                    self._message(payload)
                elif opcode == PING:
                    self.pings += 1
                    self._write(client_frame(PONG, payload))
                elif opcode == CLOSE:
                    self._closed(payload)
        except FrameError as error:
            self._give_up(f"broken WebSocket: {error}")

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell whoever waits, and why."""
        self.ended = True
        if self._head:
            self._reason = self._reason or self._refusal(self._head)
        if not self._reason:
            self._reason = f"close {RFC_ABNORMAL}, no close frame"
            if self._head is not None:
                self._reason = "connection reset" if exc else "hung up"
        if not self.greeted.done():
            self.greeted.set_result(Ended(self._reason))
        elif self.on_end is not None and not self._closing:
            self.on_end(self, self._reason)

    def send(self, payload: bytes, /) -> None:
        """Send a text message; never blocks, and does nothing on a connection that is over."""
        self._write(client_frame(TEXT, payload))

    def close(self) -> None:
        """Say goodbye; the server ends the connection."""
        self._closing = True
        self._write(client_frame(CLOSE, RFC_NORMAL.to_bytes(2, "big")))

    def abort(self) -> None:
        """Drop the connection."""
        self._closing = True
        if self._transport is not None:
            self._transport.abort()

    def _write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def _message(self, payload: bytes) -> None:
        if not self.greeted.done():
            self.greeted.set_result(payload)
        elif self.on_text is not None:
            self.on_text(payload)

    def _closed(self, payload: bytes) -> None:
        code = int.from_bytes(payload[:2], "big") if payload else RFC_NO_STATUS
        self._reason = f"close {code} {payload[2:].decode('utf-8', 'replace')}".strip()
        if self._closing or self._transport is None:
            return  # the answer to ours: the server hangs up, so that the port is not ours to keep waiting
        self._write(client_frame(CLOSE, payload[:2]))
        self._transport.close()

    def _give_up(self, reason: str) -> None:
        self._reason = self._reason or reason
        if self._transport is not None:
            self._transport.abort()

    def _upgraded(self, answer: bytes) -> bytes:
        """What follows the head of an answer that agrees to the upgrade; of any other answer nothing."""
        self._head = answer
        end = answer.find(_HEAD_END)
        if end < 0 or not answer.startswith(b"HTTP/1.1 101"):
            length = _LENGTH_LINE.search(answer, 0, max(end, 0) + 2)
            whole = end >= 0 and (length is None or len(answer) >= end + len(_HEAD_END) + int(length[1]))
            if whole or len(answer) > MAX_ANSWER_BYTES or not answer.startswith(b"HTTP/1."[: len(answer)]):
                self._give_up(self._refusal(answer))
            return b""
        if _ACCEPT_LINE.search(answer, 0, end + 2) is None:
            self._give_up("not a WebSocket")
            return b""
        self._head = None
        return answer[end + len(_HEAD_END) :]

    @staticmethod
    def _refusal(answer: bytes) -> str:
        status = _STATUS_LINE.match(answer)
        if status is None:
            return "not HTTP"
        head, _, body = answer.partition(_HEAD_END)
        try:
            # A body of unknown length is not waited for: whether it is here by now is chance.
            code = json.loads(body)["code"] if _LENGTH_LINE.search(head + _HEAD_END) else ""
        except (ValueError, LookupError, TypeError, RecursionError):
            code = ""
        return f"HTTP {status[1].decode()} {code if isinstance(code, str) else ''}".strip()
