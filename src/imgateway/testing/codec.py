"""The contract of `wire.codec.Codec`."""

import json
from collections.abc import Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any

from imgateway.codes import Code
from imgateway.model import Refusal
from imgateway.testing.codec_frames import CANARY, CLIENT_FRAMES, FRAMES_ABOUT, HOSTILE_FRAMES, SERVER_FRAMES
from imgateway.testing.suite import ContractSuite
from imgateway.wire.codec import Codec
from imgateway.wire.messages import ClientMessage, SignalMessage

_NOW = 1_700_000_000_123


class CodecSuite(ContractSuite):
    """Every codec holds to this. The hooks' own answers are those of `imgateway.json.v1`; another format has others."""

    def make(self) -> AbstractAsyncContextManager[Codec]:
        """A codec."""
        raise NotImplementedError

    def client_frames(self) -> Mapping[str, ClientMessage]:
        """Frames that a client may send, and what they mean: every kind of message, at its limits."""
        return CLIENT_FRAMES

    def hostile_frames(self) -> Iterable[str]:
        """Frames that a client must not send; those that must not be repeated contain `codec_frames.CANARY`."""
        return HOSTILE_FRAMES

    def frames_about(self) -> Mapping[str, str]:
        """Frames that must be refused, with the `client_msg_id` that can be read from each."""
        return FRAMES_ABOUT

    def read(self, payload: bytes, /) -> tuple[str, Any, int]:
        """A server's frame as a client reads it: type, data in the names of `imgateway.json.v1`, timestamp."""
        frame = json.loads(payload)
        assert set(frame) == {"type", "data", "timestamp"}
        return frame["type"], frame["data"], frame["timestamp"]

    async def test_the_name_is_a_subprotocol(self) -> None:
        """`name` can stand in `Sec-WebSocket-Protocol`: a token (RFC 9110 section 5.6.2)."""
        allowed = set("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
        async with self.make() as codec:
            assert codec.name
            assert set(codec.name) <= allowed

    async def test_what_a_client_may_say_is_understood(self) -> None:
        """Every valid frame comes back as the message it is."""
        async with self.make() as codec:
            for text, message in self.client_frames().items():
                assert codec.decode(text) == message, text[:200]

    async def test_no_frame_makes_it_raise(self) -> None:
        """Whatever is no valid frame is a refusal `INVALID_MESSAGE`, with words for a person and one for a program."""
        async with self.make() as codec:
            for text in self.hostile_frames():
                refusal, about = self._refused(codec, text)
                assert refusal.code is Code.INVALID_MESSAGE, text[:200]
                assert refusal.message, text[:200]
                assert refusal.details, text[:200]
                assert about is None or isinstance(about, str)

    async def test_no_beginning_of_a_frame_makes_it_raise(self) -> None:
        """A frame that was cut off anywhere, or goes on behind its end, is refused."""
        async with self.make() as codec:
            for text in self.client_frames():
                for cut in (text[:-1], text[: len(text) // 2], text[1:], text + text, text + "x"):
                    self._refused(codec, cut)

    async def test_a_refusal_says_which_message_it_is_about(self) -> None:
        """The `client_msg_id` comes along where it can be read."""
        async with self.make() as codec:
            for text, expected in self.frames_about().items():
                assert self._refused(codec, text)[1] == expected, text[:200]

    async def test_a_refusal_repeats_nothing(self) -> None:
        """What the client wrote does not reach the refusal's words: they may end in a log, and it may be a token."""
        async with self.make() as codec:
            for text in self.hostile_frames():
                refusal, _ = self._refused(codec, text)
                assert CANARY not in refusal.message + refusal.details, text[:200]
                assert len(refusal.message) <= 500, text[:200]

    async def test_a_frame_leaves_no_trace(self) -> None:
        """There is no state: what was decoded before does not matter."""
        async with self.make() as codec:
            before = [codec.decode(text) for text in self.client_frames()]
            for text in self.hostile_frames():
                codec.decode(text)
            assert [codec.decode(text) for text in self.client_frames()] == before

    async def test_what_the_server_says_can_be_read(self) -> None:
        """Every message is encoded with its type, its data and the timestamp it was given; 64-bit ids stay exact."""
        async with self.make() as codec:
            for message, type_, data in SERVER_FRAMES:
                assert self.read(codec.encode(message, _NOW)) == (type_, data, _NOW)

    async def test_payloads_are_utf8_and_always_the_same(self) -> None:
        """A payload is UTF-8 (RFC 6455 section 5.6); the same message gives the same bytes."""
        async with self.make() as codec:
            for message, _, _ in SERVER_FRAMES:
                payload = codec.encode(message, _NOW)
                assert isinstance(payload, bytes)
                payload.decode("utf-8", errors="strict")
                assert codec.encode(message, _NOW) == payload

    async def test_large_payloads_are_whole(self) -> None:
        """Size is no matter for the codec."""
        async with self.make() as codec:
            payload = {"users": [{"id": str(number), "text": "界" * 10} for number in range(5_000)]}
            assert self.read(codec.encode(SignalMessage("presence", payload), 1)) == ("presence", payload, 1)

    def _refused(self, codec: Codec, text: str) -> tuple[Refusal, str | None]:
        answer = codec.decode(text)
        assert isinstance(answer, tuple), f"taken: {text[:200]}"
        refusal, about = answer
        assert isinstance(refusal, Refusal)
        return refusal, about
