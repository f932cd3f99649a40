"""The load generator's client: however TCP cuts what a server says, it understands the same."""

import asyncio
import base64
import hashlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgateway.wire.frames import Frame, text_frame
from imgateway_cli.bench.client import MAX_ANSWER_BYTES, Client, Ended, upgrade_request
from imgateway_cli.bench.frames import CLOSE, PING, PONG, client_frame
from imgateway_cli.bench.target import CONNECTIONS_PER_SOURCE, Target

REQUEST = upgrade_request("host:8080", "/ws", "x.y.z")
CUTS = st.lists(st.integers(0, 400), max_size=6)


class Wire(asyncio.Transport):
    """What is written is kept; aborting tells the protocol, as a socket does."""

    def __init__(self, client: Client) -> None:
        super().__init__()
        self.client = client
        self.written = b""
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    abort = close


def accepted() -> bytes:
    found = re.search(rb"Sec-WebSocket-Key: (\S+)\r\n", REQUEST)
    assert found is not None
    proof = base64.b64encode(hashlib.sha1(found[1] + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
    return b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nsec-websocket-accept: " + proof + b"\r\n\r\n"


def talk(said: bytes, cuts: list[int]) -> tuple[Client, Wire, list[bytes], bytes | Ended]:
    """A client that hears this, in pieces, and then the end."""

    async def listen() -> tuple[Client, Wire, list[bytes], bytes | Ended]:
        client, texts = Client(REQUEST), list[bytes]()
        wire = Wire(client)
        client.on_text = texts.append
        client.connection_made(wire)
        places = sorted(min(cut, len(said)) for cut in cuts)
        for start, end in zip([0, *places], [*places, len(said)], strict=True):
            if start < end and not wire.closed:
                client.data_received(said[start:end])
        client.connection_lost(None)
        return client, wire, texts, await client.greeted

    return asyncio.run(listen())


@given(CUTS)
def test_a_welcome_messages_and_pings(cuts: list[int]) -> None:
    frames = (text_frame(b"welcome"), Frame(PING, b"are you there"), text_frame(b"one"), text_frame(b"two" * 50))
    client, wire, texts, greeting = talk(accepted() + b"".join(frame.wire for frame in frames), cuts)
    assert greeting == b"welcome"
    assert texts == [b"one", b"two" * 50]
    assert client.pings == 1
    assert wire.written == REQUEST + client_frame(PONG, b"are you there")


BODY = b'{"code": "RATE_LIMITED", "title": "x"}'


@given(
    CUTS,
    st.sampled_from(
        [
            (b"HTTP/1.1 429 Too Many\r\nContent-Length: %d\r\n\r\n%b" % (len(BODY), BODY), "HTTP 429 RATE_LIMITED"),
            (b"HTTP/1.1 429 Too Many\r\n\r\n" + BODY, "HTTP 429"),
            (b"HTTP/1.0 404 Not Found\r\ncontent-length: 2\r\n\r\n[]", "HTTP 404"),
            (b"HTTP/1.1 502 Bad Gateway\r\n\r\n<html>", "HTTP 502"),
            (b"HTTP/1.1 101 Switching\r\nSec-WebSocket-Accept: forged\r\n\r\n", "not a WebSocket"),
            (b"SSH-2.0-OpenSSH\r\n", "not HTTP"),
            (
                accepted() + Frame(CLOSE, (4501).to_bytes(2, "big") + b"UNAUTHENTICATED").wire,
                "close 4501 UNAUTHENTICATED",
            ),
            (accepted() + b"\x81\x85masked", "broken WebSocket: a masked frame"),
            (accepted(), "close 1006, no close frame"),
            (b"", "hung up"),
        ]
    ),
)
def test_why_there_is_no_welcome(cuts: list[int], case: tuple[bytes, str]) -> None:
    said, reason = case
    assert talk(said, cuts)[3] == Ended(reason)


def test_an_endless_answer_is_given_up() -> None:
    endless = b"HTTP/1.1 200 OK\r\nX: " + b"y" * (2 * MAX_ANSWER_BYTES)
    _, wire, _, greeting = talk(endless, [1000, MAX_ANSWER_BYTES + 1])
    assert wire.closed
    assert greeting == Ended("HTTP 200")


@pytest.mark.parametrize("connections", [1, CONNECTIONS_PER_SOURCE, CONNECTIONS_PER_SOURCE + 1, 100_000])
def test_no_source_address_runs_out_of_ports(connections: int) -> None:
    target = Target("127.0.0.1", 8080, "localhost", "/ws")
    sources = [target.source(number, connections) for number in range(connections)]
    assert max(map(sources.count, set(sources))) <= CONNECTIONS_PER_SOURCE
    assert set(sources) == {None} if connections <= CONNECTIONS_PER_SOURCE else None not in sources
    for elsewhere in ("::1", "192.0.2.1"):
        assert Target(elsewhere, 8080, "host", "/ws").source(0, connections) is None
