"""The load generator's reading of frames: however TCP cuts the stream, the same messages come out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgateway.wire.frames import Frame
from imgateway_cli.bench.frames import (
    CLOSE,
    CONTINUATION,
    MAX_MESSAGE_BYTES,
    PING,
    TEXT,
    FrameError,
    FrameReader,
    client_frame,
)

SIZES = (0, 1, 125, 126, 127, 65535, 65536, 70_000)


def fragment(opcode: int, payload: bytes, *, final: bool) -> bytes:
    wire = Frame(opcode, payload).wire
    return wire if final else bytes((wire[0] & 0x7F,)) + wire[1:]


messages = st.one_of(
    st.tuples(st.just(TEXT), st.binary(max_size=300)),
    st.tuples(st.just(TEXT), st.sampled_from(SIZES).map(lambda size: b"x" * size)),
    st.tuples(st.sampled_from((PING, CLOSE)), st.binary(max_size=125)),
)


@st.composite
def streams(draw: st.DrawFn) -> tuple[bytes, list[tuple[int, bytes]]]:
    """What a server sends, some messages in fragments with pings in between, and what it means."""
    wire, meant = b"", []
    for opcode, payload in draw(st.lists(messages, max_size=6)):
        cuts = sorted(draw(st.lists(st.integers(0, len(payload)), max_size=3))) if opcode == TEXT else []
        pieces = [payload[start:end] for start, end in zip([0, *cuts], [*cuts, len(payload)], strict=True)]
        for number, piece in enumerate(pieces):
            wire += fragment(CONTINUATION if number else opcode, piece, final=number == len(pieces) - 1)
            if number < len(pieces) - 1 and draw(st.booleans()):
                wire += fragment(PING, b"between", final=True)
                meant.append((PING, b"between"))
        meant.append((opcode, payload))
    return wire, meant


@given(streams(), st.data())
def test_any_cut_gives_the_same_messages(stream: tuple[bytes, list[tuple[int, bytes]]], data: st.DataObject) -> None:
    wire, meant = stream
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=8)))
    reader, read = FrameReader(), []
    for start, end in zip([0, *cuts], [*cuts, len(wire)], strict=True):
        read += list(reader.feed(wire[start:end]))
    assert read == meant


def test_byte_by_byte() -> None:
    wire = b"".join(Frame(TEXT, b"y" * size).wire for size in (3, 126, 66_000))
    reader, read = FrameReader(), []
    for at in range(len(wire)):
        read += [len(payload) for _, payload in reader.feed(wire[at : at + 1])]
    assert read == [3, 126, 66_000]


@pytest.mark.parametrize(
    "wire",
    [
        client_frame(TEXT, b"masked"),
        client_frame(TEXT, b"masked" * 100),
        fragment(CONTINUATION, b"of nothing", final=True),
        fragment(TEXT, b"one", final=False) + fragment(TEXT, b"two", final=True),
        fragment(PING, b"", final=False),
        Frame(PING, b"x" * 126).wire,
        bytes((0xC1, 0)),
        bytes((0x81, 127)) + (MAX_MESSAGE_BYTES + 1).to_bytes(8, "big"),
    ],
    ids=["masked", "masked, long", "continuation", "text in text", "part of a ping", "long ping", "rsv", "too large"],
)
def test_what_no_server_may_send(wire: bytes) -> None:
    with pytest.raises(FrameError):
        list(FrameReader().feed(wire))
