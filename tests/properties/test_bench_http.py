"""The load generator's HTTP connection: however TCP cuts an answer, it ends where it ends."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgateway_cli.bench.http import MAX_BODY_BYTES, MAX_HEAD_BYTES, HttpConnection, refusal, request_of

CUTS = st.lists(st.integers(0, 600), max_size=6)
BODIES = st.binary(max_size=300)
Told = list[tuple[int, bytes] | str]


class Wire(asyncio.Transport):
    """Closing tells the protocol, as a socket does."""

    def __init__(self, connection: HttpConnection) -> None:
        super().__init__()
        self.connection = connection
        self.written: list[bytes] = []
        self.open = True

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written.append(bytes(data))

    def close(self) -> None:
        if self.open:
            self.open = False
            self.connection.connection_lost(None)

    abort = close


def talk(*answers: bytes, cuts: list[int] | None = None, headless: bool = False, hang_up: bool = True) -> Told:
    """What a connection tells that asks again after each answer, and hears these."""
    told: Told = []

    def answered(status: int, body: bytes) -> None:
        told.append((status, body))
        if connection.usable:
            connection.ask(b"again")

    connection = HttpConnection(answered, lambda _, reason: told.append(reason), headless=headless)
    wire = Wire(connection)
    connection.connection_made(wire)
    connection.ask(b"first")
    for answer in answers:
        places = sorted(min(cut, len(answer)) for cut in cuts or [])
        for start, end in zip([0, *places], [*places, len(answer)], strict=True):
            if start < end and wire.open:
                connection.data_received(answer[start:end])
    if hang_up and wire.open:
        wire.open = False
        connection.connection_lost(None)
    return told


def chunked(body: bytes, sizes: list[int], trailer: bytes) -> bytes:
    written, at = b"", 0
    for size in sizes:
        if piece := body[at : at + size]:
            written += b"%X;ext=1\r\n%b\r\n" % (len(piece), piece)
            at += size
    if rest := body[at:]:
        written += b"%x\r\n%b\r\n" % (len(rest), rest)
    return written + b"0\r\n" + trailer + b"\r\n"


@given(
    status=st.sampled_from([200, 201, 404, 503]),
    body=BODIES,
    cuts=CUTS,
    name=st.sampled_from([b"content-length: ", b"Content-Length:", b"CONTENT-LENGTH: \t"]),
    interim=st.sampled_from([b"", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n"]),
)
def test_a_body_of_known_length(status: int, body: bytes, cuts: list[int], name: bytes, interim: bytes) -> None:
    answer = b"HTTP/1.1 %d Reason\r\nserver: x\r\n%b%d\r\nx: y\r\n\r\n%b" % (status, name, len(body), body)
    kept = (status, body if status >= 300 else b"")
    assert talk(interim + answer, answer, cuts=cuts) == [kept, kept, "hung up"]


@given(
    status=st.sampled_from([200, 400]),
    body=BODIES,
    sizes=st.lists(st.integers(1, 100), max_size=4),
    trailer=st.sampled_from([b"", b"grpc-trailer-x: y\r\n", b"a: b\r\nc: d\r\n"]),
    cuts=CUTS,
)
def test_a_body_in_chunks(status: int, body: bytes, sizes: list[int], trailer: bytes, cuts: list[int]) -> None:
    head = b"HTTP/1.1 %d OK\r\nTransfer-Encoding: chunked\r\n\r\n" % status
    answer = head + chunked(body, sizes, trailer)
    kept = (status, body if status >= 300 else b"")
    assert talk(answer, answer, cuts=cuts) == [kept, kept, "hung up"]


@given(body=BODIES, cuts=CUTS)
def test_a_body_that_lasts_to_the_end(body: bytes, cuts: list[int]) -> None:
    assert talk(b"HTTP/1.1 400 Bad\r\n\r\n" + body, cuts=cuts) == [(400, body), "hung up"]


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 304 Not Modified\r\ncontent-length: 10\r\n\r\n",
    ],
)
def test_answers_without_a_body(head: bytes) -> None:
    status = int(head[9:12])
    assert talk(head, head) == [(status, b""), (status, b""), "hung up"]


def test_an_answer_to_head_has_no_body() -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n"
    assert talk(head, head, headless=True) == [(200, b""), (200, b""), "hung up"]


@pytest.mark.parametrize(
    ("head", "stays"),
    [
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\ncontent-length: 0\r\n\r\n", False),
        (b"HTTP/1.1 200 OK\r\nconnection: Close, x\r\ncontent-length: 0\r\n\r\n", False),
        (b"HTTP/1.1 200 OK\r\nconnection: keep-alive\r\ncontent-length: 0\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\nx-close: close\r\ncontent-length: 0\r\n\r\n", True),
        (b"HTTP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n", False),
        (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\ncontent-length: 0\r\n\r\n", True),
    ],
)
def test_who_ends_the_connection_is_believed(head: bytes, stays: bool) -> None:
    assert talk(head, head) == [(200, b"")] * (2 if stays else 1) + ["hung up"]


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (b"SSH-2.0-OpenSSH\r\n", "not HTTP"),
        (b"HTTP/2 200\r\n\r\n", "not HTTP"),
        (b"HTTP/1.1 abc OK\r\n\r\n", "not HTTP"),
        (b"HTTP/1.1 200 OK\r\nx: " + b"y" * MAX_HEAD_BYTES, "not HTTP"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n", "a Content-Length that is none"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nab", "more than was said by Content-Length"),
        (b"HTTP/1.1 204 No\r\n\r\nab", "more than was said by Content-Length"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n", "a chunk that is none"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nabc\r\n", "a chunk that is longer than it says"),
        (
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nHTTP/1.1",
            "more than was said by the last chunk",
        ),
    ],
)
def test_what_is_no_http_ends_the_connection(said: bytes, why: str) -> None:
    assert talk(said) == [why]


def test_what_was_not_asked_for_ends_the_connection() -> None:
    told: Told = []
    connection = HttpConnection(lambda *_: None, lambda _, reason: told.append(reason))
    connection.connection_made(Wire(connection))
    connection.data_received(b"HTTP/1.1 408 Request Timeout\r\n\r\n")
    assert told == ["an answer to no request"]


@given(cuts=CUTS, end=st.integers(0, 60))
def test_an_answer_that_breaks_off_is_none(cuts: list[int], end: int) -> None:
    answer = b"HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\n" + b"x" * 20
    assert talk(answer[: min(end, len(answer) - 1)], cuts=cuts) == ["hung up"]


def test_of_a_long_refusal_the_beginning_is_kept() -> None:
    body = b"x" * (MAX_BODY_BYTES + 1)
    told = talk(b"HTTP/1.1 500 Oh\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
    assert told[0] == (500, body[:-1])


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b'{"code": "UNAUTHENTICATED"}', "HTTP 401 UNAUTHENTICATED"),
        (b'{"code": 1}', "HTTP 401"),
        (b"[]", "HTTP 401"),
        (b"\xff", "HTTP 401"),
        (b"[" * 60_000, "HTTP 401"),
        (b"", "HTTP 401"),
    ],
)
def test_a_refusal_is_counted_by_its_status_and_code(body: bytes, reason: str) -> None:
    assert refusal(401, body) == reason


def test_the_request_is_whole() -> None:
    assert request_of("POST", "/api/x?y=1", "h:1", "t", b"{}").decode().split("\r\n") == [
        "POST /api/x?y=1 HTTP/1.1", "Host: h:1", "Accept: */*", "User-Agent: imgateway-bench",
        "Authorization: Bearer t", "Content-Type: application/json", "Content-Length: 2", "", "{}",
    ]  # fmt: skip
    assert request_of("GET", "/", "h", None, None).endswith(b"\r\nUser-Agent: imgateway-bench\r\n\r\n")
