"""Server frames, read by the `websockets` library's own parser."""

from collections.abc import Generator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets import frames as theirs

from imgateway.wire.frames import BINARY, TEXT, Frame, binary_frame, text_frame

BOUNDARIES = (0, 1, 125, 126, 127, 65535, 65536, 65537, 200_000)
"""Around the sizes at which the header grows (RFC 6455 section 5.2)."""


def _read(wire: bytes) -> tuple[theirs.Frame, bytes]:
    """The first frame of `wire`, and what follows it."""
    rest = wire

    def read_exact(size: int) -> Generator[None, None, bytes]:
        nonlocal rest
        taken, rest = rest[:size], rest[size:]
        assert len(taken) == size, "the header promises more than there is"
        return taken
        yield

    parser = theirs.Frame.parse(read_exact, mask=False)
    try:
        next(parser)
    except StopIteration as stop:
        return stop.value, rest
    raise AssertionError("the parser wants more")


def _check(frame: Frame, opcode: int, payload: bytes) -> None:
    parsed, rest = _read(frame.wire + b"next")
    assert (parsed.opcode, bytes(parsed.data), rest) == (opcode, payload, b"next")
    assert (parsed.fin, parsed.rsv1, parsed.rsv2, parsed.rsv3) == (True, False, False, False)
    assert frame.opcode == opcode
    assert frame.payload == payload
    assert frame.size == len(frame.wire)


@pytest.mark.parametrize("size", BOUNDARIES)
def test_a_frame_of_every_header_size_is_one_whole_frame(size: int) -> None:
    payload = bytes(i % 251 for i in range(size))
    _check(binary_frame(payload), BINARY, payload)
    _check(text_frame(b"x" * size), TEXT, b"x" * size)


@given(st.lists(st.binary(max_size=300), max_size=5))
def test_frames_written_one_after_the_other_come_out_so(payloads: list[bytes]) -> None:
    wire = b"".join(binary_frame(payload).wire for payload in payloads)
    for payload in payloads:
        parsed, wire = _read(wire)
        assert bytes(parsed.data) == payload
    assert wire == b""
