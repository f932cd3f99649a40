"""Codecs: the JSON codec holds to the contract, broken ones do not."""

import json
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager

import attrs
import pytest

from imgateway.codes import Code
from imgateway.model import Refusal
from imgateway.ports import Codec
from imgateway.testing import CodecSuite, assert_caught
from imgateway.testing.codec_frames import CANARY
from imgateway.wire.json_codec import JsonCodec
from imgateway.wire.messages import Call, ClientMessage, NewMessage, Ping, Reply, ServerMessage

Decoded = ClientMessage | tuple[Refusal, str | None]


@pytest.mark.anyio
class TestJsonCodec(CodecSuite):
    codec: Callable[[], Codec] = JsonCodec

    @asynccontextmanager
    async def make(self) -> AsyncIterator[Codec]:
        yield self.codec()


CALL_FRAMES = {
    '{"type":"ask","data":{}}': Call("ask", b"{}"),
    '{"data": { "client_msg_id":"m1","n":1e999 } , "timestamp":null,"type":"ask"}': Call(
        "ask", b'{ "client_msg_id":"m1","n":1e999 }', "m1"
    ),
    '{"type":"typing.start","data":{"text":"界 \\u0000","a":{"b":[null]}},"later":[1]}': Call(
        "typing.start", '{"text":"界 \\u0000","a":{"b":[null]}}'.encode()
    ),
}
HOSTILE_CALLS = (
    '{"type":"ask"}',
    *(f'{{"type":"ask","data":{data}}}' for data in ("null", "1", '"x"', "[]", "[{}]", "{", "")),
    *(f'{{"type":"ask","data":{{"client_msg_id":{value}}}}}' for value in ("null", "1", '""', f'"{"m" * 129}"', "{}")),
    f'{{"type":"ask","data":{{"{CANARY}":1,"{CANARY}":2}}}}',
    '{"type":"ask","data":{"a":1},"data":{"a":1}}',
    '{"type":"ask","data":{"a":[{"b":1,"\\u0062":2}]}}',
    '{"type":"ask","type":"ask","data":{}}',
    '{"type":"ask","data":{},"timestamp":"now"}',
    *(f'{{"type":"ask","data":{{"a":{value}}}}}' for value in (r'"\ud800"', '"\ud800"', "NaN", "01", '"\n"', "[" * 32)),
    f'{{"type":"ask","data":{{"a":{"[" * 31}{"]" * 31}}}}}',
    f'{{"type":"ask","data":{{"a":{"[" * 200_000}{"]" * 200_000}}}}}',
    *(f'{{"type":"{type_}","data":{{}}}}' for type_ in ("Ask", "ask ", "asks", "typing.stop")),
)


@pytest.mark.anyio
class TestJsonCodecWithCalls(CodecSuite):
    """What is no call is read as ever."""

    @asynccontextmanager
    async def make(self) -> AsyncIterator[Codec]:
        yield JsonCodec(frozenset({"ask", "typing.start"}))

    def client_frames(self) -> Mapping[str, ClientMessage]:
        return {**super().client_frames(), **CALL_FRAMES}

    def hostile_frames(self) -> Iterable[str]:
        return (*super().hostile_frames(), *HOSTILE_CALLS)

    def frames_about(self) -> Mapping[str, str]:
        return {**super().frames_about(), '{"type":"ask","data":{"client_msg_id":"m4"},"timestamp":{}}': "m4"}


class HasNoName(JsonCodec):
    @property
    def name(self) -> str:
        return "imgateway json, v1"


class RaisesOnGarbage(JsonCodec):
    def decode(self, text: str, /) -> Decoded:
        json.loads(text)
        return super().decode(text)


class TakesWhatItCan(JsonCodec):
    """The common way: the standard library's parser, the last of repeated names counts."""

    def decode(self, text: str, /) -> Decoded:
        try:
            return super().decode(json.dumps(json.loads(text)))
        except (ValueError, RecursionError):
            return super().decode(text)


class TakesUnknownTypes(JsonCodec):
    def decode(self, text: str, /) -> Decoded:
        decoded = super().decode(text)
        unknown = isinstance(decoded, tuple) and decoded[0].details == "unknown_type"
        return Ping() if unknown else decoded


class StripsText(JsonCodec):
    def decode(self, text: str, /) -> Decoded:
        return super().decode(text.replace("\\u0000", "").replace("\x00", ""))


class OtherCode(JsonCodec):
    def decode(self, text: str, /) -> Decoded:
        decoded = super().decode(text)
        if isinstance(decoded, tuple):
            return attrs.evolve(decoded[0], code=Code.FORBIDDEN), decoded[1]
        return decoded


class NeverSaysAbout(JsonCodec):
    def decode(self, text: str, /) -> Decoded:
        decoded = super().decode(text)
        return (decoded[0], None) if isinstance(decoded, tuple) else decoded


class QuotesTheFrame(JsonCodec):
    def decode(self, text: str, /) -> Decoded:
        decoded = super().decode(text)
        if isinstance(decoded, tuple):
            return attrs.evolve(decoded[0], message=f"cannot read {text[:200]}"), decoded[1]
        return decoded


class GetsTired(JsonCodec):
    wrong = 0

    def decode(self, text: str, /) -> Decoded:
        decoded = super().decode(text)
        if isinstance(decoded, tuple):
            self.wrong += 1
        elif self.wrong > 50:
            return Refusal(Code.INVALID_MESSAGE, "Enough.", "enough"), None
        return decoded


class RoundsIds(JsonCodec):
    """What a browser does to numbers."""

    def encode(self, message: ServerMessage, timestamp: int, /) -> bytes:
        frame = json.loads(super().encode(message, timestamp))
        if isinstance(message, NewMessage):
            frame["data"]["id"] = str(int(float(frame["data"]["id"])) + 1)
        return json.dumps(frame).encode()


class DropsNothingness(JsonCodec):
    """A result of null is a result."""

    def encode(self, message: ServerMessage, timestamp: int, /) -> bytes:
        frame = json.loads(super().encode(message, timestamp))
        if isinstance(message, Reply) and frame["data"].get("result") is None:
            frame["data"].pop("result", None)
        return json.dumps(frame).encode()


class HasAClock(JsonCodec):
    told = 0

    def encode(self, message: ServerMessage, timestamp: int, /) -> bytes:
        self.told += 1
        return super().encode(message, timestamp + self.told)


class WritesLatin1(JsonCodec):
    def encode(self, message: ServerMessage, timestamp: int, /) -> bytes:
        return super().encode(message, timestamp).decode().encode("latin-1", errors="replace")


class CutsLongPayloads(JsonCodec):
    def encode(self, message: ServerMessage, timestamp: int, /) -> bytes:
        return super().encode(message, timestamp)[:65_535]


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("broken", "clauses"),
    [
        (HasNoName, "the_name_is_a_subprotocol"),
        (RaisesOnGarbage, "no_frame_makes_it_raise no_beginning_of_a_frame_makes_it_raise"),
        (TakesWhatItCan, "no_frame_makes_it_raise"),
        (TakesUnknownTypes, "no_frame_makes_it_raise"),
        (StripsText, "what_a_client_may_say_is_understood"),
        (OtherCode, "no_frame_makes_it_raise"),
        (NeverSaysAbout, "a_refusal_says_which_message_it_is_about"),
        (QuotesTheFrame, "a_refusal_repeats_nothing"),
        (GetsTired, "a_frame_leaves_no_trace"),
        (RoundsIds, "what_the_server_says_can_be_read"),
        (DropsNothingness, "what_the_server_says_can_be_read"),
        (HasAClock, "what_the_server_says_can_be_read payloads_are_utf8_and_always_the_same"),
        (WritesLatin1, "what_the_server_says_can_be_read payloads_are_utf8_and_always_the_same"),
        (CutsLongPayloads, "large_payloads_are_whole"),
    ],
)
async def test_broken_codecs_are_caught(broken: Callable[[], Codec], clauses: str) -> None:
    suite = TestJsonCodec()
    suite.codec = broken
    await assert_caught(suite, *clauses.split())
