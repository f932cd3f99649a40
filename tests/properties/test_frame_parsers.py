"""Both frame parsers against each other, and against what was sent, however the bytes are cut."""

import asyncio
import importlib.metadata
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgateway.adapters.uvicorn.picows_parser import PicowsParser
from imgateway.adapters.uvicorn.websockets_parser import WebsocketsParser
from imgateway.testing.raw_peer import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, client_frame, close_payload
from imgateway.wire.inbound import MAX_FRAGMENTS, Arrival, FrameParser, PeerClosed, Ping, Violation

MAX_BYTES = 1000
PARSERS: list[Callable[[int], FrameParser]] = [PicowsParser, WebsocketsParser]


@pytest.fixture(autouse=True, scope="module")
def _event_loop() -> Iterator[None]:
    """picows asks for the running one; nothing else of it is used."""
    loop = asyncio.new_event_loop()
    asyncio._set_running_loop(loop)
    yield
    asyncio._set_running_loop(None)
    loop.close()


def fed(make: Callable[[int], FrameParser], pieces: list[bytes]) -> list[Arrival]:
    """What a parser makes of the pieces, up to an ending."""
    parser = make(MAX_BYTES)
    arrived: list[Arrival] = []
    try:
        for piece in pieces:
            arrived += parser.feed(piece)
            if arrived and isinstance(arrived[-1], PeerClosed | Violation):
                break
    finally:
        parser.close()
    return arrived


def without_words(arrived: list[Arrival]) -> list[object]:
    """Violations by their code alone: each parser has words of its own."""
    return [item.code if isinstance(item, Violation) else item for item in arrived]


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """The data in pieces."""
    bounds = sorted({place % (len(data) + 1) for place in places})
    return [data[start:end] for start, end in zip([0, *bounds], [*bounds, len(data)], strict=True) if start < end]


texts = st.text(max_size=300)
sizes = st.sampled_from([0, 1, 125, 126, 127, 999, 1000])
messages = st.one_of(
    texts.map(lambda text: (client_frame(TEXT, text.encode()), text)),
    sizes.map(lambda size: (client_frame(BINARY, bytes(size)), bytes(size))),
    st.binary(max_size=125).map(lambda data: (client_frame(PING, data), Ping(data))),
    st.just((client_frame(PONG, b"x"), None)),
)


@given(st.lists(messages, min_size=1, max_size=20), st.lists(st.integers(0, 10**6), max_size=30))
@pytest.mark.parametrize("make", PARSERS)
def test_whole_messages_arrive_however_the_bytes_are_cut(
    make: Callable[[int], FrameParser], sent: list[tuple[bytes, Arrival]], places: list[int]
) -> None:
    data = b"".join(frame for frame, _ in sent)
    assert fed(make, cut(data, places)) == [arrival for _, arrival in sent]


@given(st.text(min_size=1, max_size=200), st.lists(st.integers(0, 10**6), max_size=10), st.booleans())
@pytest.mark.parametrize("make", PARSERS)
def test_fragments_are_put_together(
    make: Callable[[int], FrameParser], text: str, places: list[int], with_pings: bool
) -> None:
    """Cut in the middle of a character as well."""
    pieces = cut(text.encode(), places)
    data = b""
    for number, piece in enumerate(pieces):
        data += client_frame(CONTINUATION if number else TEXT, piece, fin=number == len(pieces) - 1)
        data += client_frame(PING, b"between") if with_pings else b""
    assert [item for item in fed(make, [data]) if isinstance(item, str)] == [text]


raw_frames = st.builds(
    client_frame,
    st.sampled_from([CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG, 0x3, 0xB]),
    st.one_of(st.binary(max_size=20), sizes.map(bytes), texts.map(str.encode), st.just(close_payload(1000))),
    fin=st.sampled_from([True, True, True, False]),
    masked=st.sampled_from([True] * 9 + [False]),
    rsv=st.sampled_from([0] * 9 + [1, 2, 4]),
)


@given(st.lists(raw_frames | st.binary(max_size=30), max_size=12), st.lists(st.integers(0, 10**6), max_size=10))
def test_both_parsers_say_the_same_of_anything(frames: list[bytes], places: list[int]) -> None:
    """Which rule was broken where several are may differ, and one may notice before the frame is complete."""
    pieces = cut(b"".join(frames), places)
    one, other = sorted((fed(make, pieces) for make in PARSERS), key=len)
    if one and isinstance(one[-1], Violation):
        assert isinstance(other[-1], Violation)
        assert one[:-1] == other[:-1]
    else:
        rest = other[len(one) :]
        assert other[: len(one)] == one
        assert rest == [] or (len(rest) == 1 and isinstance(rest[0], Violation))


@pytest.mark.parametrize("make", PARSERS)
def test_nothing_follows_an_ending(make: Callable[[int], FrameParser]) -> None:
    behind = client_frame(TEXT, b"behind") * 3
    assert fed(make, [client_frame(TEXT, b"1") + client_frame(CLOSE, close_payload(4001)) + behind]) == [
        "1",
        PeerClosed(4001),
    ]
    assert without_words(fed(make, [client_frame(TEXT, b"1") + client_frame(TEXT, b"\xff") + behind])) == ["1", 1007]
    assert without_words(fed(make, [client_frame(TEXT, b"1") + client_frame(TEXT, b"x", masked=False) + behind])) == [
        "1",
        1002,
    ]


@pytest.mark.parametrize("make", PARSERS)
def test_fragments_are_counted(make: Callable[[int], FrameParser]) -> None:
    start, middle, end = (
        client_frame(TEXT, b"", fin=False),
        client_frame(CONTINUATION, b"", fin=False),
        client_frame(CONTINUATION, b""),
    )
    assert fed(make, [start + middle * (MAX_FRAGMENTS - 2) + end])[-1] == ""
    assert without_words(fed(make, [start + middle * (MAX_FRAGMENTS - 1) + end]))[-1] == 1009


@pytest.mark.parametrize("size", [2**16, 2**31, 2**63 - 1, 2**63, 2**64 - 1])
@pytest.mark.parametrize("make", PARSERS)
def test_a_size_that_is_only_announced_takes_no_memory(make: Callable[[int], FrameParser], size: int) -> None:
    head = bytes((0x80 | BINARY, 0x80 | 127)) + size.to_bytes(8, "big")
    arrived = fed(make, [head])
    assert len(arrived) == 1
    assert isinstance(arrived[0], Violation)
    assert arrived[0].code in (1002, 1009)


def test_the_version_of_picows_is_one_that_was_tried() -> None:
    """The parser leans on what picows does inside; the other tests here say on what."""
    assert importlib.metadata.version("picows").startswith("2.3.")
