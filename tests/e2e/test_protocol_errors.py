"""Frames that are wrong, too large or too many: contract section 4."""

import json
from itertools import count
from typing import Any

import pytest
from tests.e2e.running_gateway import RunningGateway, Server, mint, running_gateway

from imgateway.core.settings import ConnectionSettings, ServerSettings
from imgateway.testing.raw_peer import PING, TEXT, RawPeer

pytestmark = pytest.mark.anyio

_numbers = count()


@pytest.fixture
def conversation() -> str:
    """A conversation that no other test uses."""
    return f"e-{next(_numbers)}"


def message(**data: Any) -> str:
    """A `send-message` frame; a member given as None is left out."""
    members = {"conversationId": "c", "content": "hi", "messageType": 1, "client_msg_id": "m", **data}
    return json.dumps({"type": "send-message", "data": {k: v for k, v in members.items() if v is not None}})


# Frames that are wrong.

DEEP = 10_000


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param("hello", id="no JSON"),
        pytest.param('{"type":"ping"', id="cut off"),
        pytest.param('{"type":"ping"} {}', id="two values"),
        pytest.param("null", id="null"),
        pytest.param("[]", id="array"),
        pytest.param("7", id="number"),
        pytest.param("{}", id="no type"),
        pytest.param('{"type":null}', id="type null"),
        pytest.param('{"type":7}', id="type number"),
        pytest.param('{"type":["ping"]}', id="type array"),
        pytest.param('{"type":"PING"}', id="type in capitals"),
        pytest.param('{"type":"subscribe","data":{}}', id="unknown type"),
        pytest.param('{"type":"welcome","data":{}}', id="a server's type"),
        pytest.param('{"type":"message-received","data":{"messageIds":["1"]}}', id="acks without acks=1"),
        pytest.param('{"type":"ping","data":[]}', id="ping data array"),
        pytest.param('{"type":"ping","timestamp":"now"}', id="timestamp text"),
        pytest.param('{"type":"send-message"}', id="no data"),
        pytest.param('{"type":"send-message","data":null}', id="data null"),
        pytest.param('{"type":"send-message","data":[]}', id="data array"),
        pytest.param('{"type":"send-message","data":"{}"}', id="data text"),
        pytest.param(message(conversationId=None), id="no conversation"),
        pytest.param(message(conversationId=""), id="conversation empty"),
        pytest.param(message(conversationId="x" * 129), id="conversation too long"),
        pytest.param(message(conversationId=7), id="conversation number"),
        pytest.param(message(content=None), id="no content"),
        pytest.param(message(content=["hi"]), id="content array"),
        pytest.param(message(content=7), id="content number"),
        pytest.param(message(messageType=None), id="no message type"),
        pytest.param(message(messageType=0), id="message type 0"),
        pytest.param(message(messageType=7), id="message type 7"),
        pytest.param(message(messageType=-1), id="message type -1"),
        pytest.param(message(messageType="1"), id="message type text"),
        pytest.param(message(messageType=True), id="message type true"),
        pytest.param(message(messageType=1.5), id="message type 1.5"),
        pytest.param(message(messageType=10**30), id="message type huge"),
        pytest.param(message(client_msg_id=None), id="no id"),
        pytest.param(message(client_msg_id=""), id="id empty"),
        pytest.param(message(client_msg_id="x" * 129), id="id too long"),
        pytest.param(message(client_msg_id=7), id="id number"),
        pytest.param(message(extra=[]), id="extra array"),
        pytest.param(message(extra="{}"), id="extra text"),
        pytest.param(message().replace("}}", ',"extra":null}}'), id="extra null"),
        pytest.param('{"type":"mark-read","data":{"conversationId":"c"}}', id="no seqId"),
        pytest.param('{"type":"mark-read","data":{"conversationId":"c","seqId":-1}}', id="seqId -1"),
        pytest.param('{"type":"mark-read","data":{"conversationId":"c","seqId":"1"}}', id="seqId text"),
        pytest.param('{"type":"mark-read","data":{"conversationId":"c","seqId":9223372036854775808}}', id="seqId 2^63"),
        pytest.param('{"type":"refresh-token","data":{}}', id="no token"),
        pytest.param('{"type":"refresh-token","data":{"token":7}}', id="token number"),
        # What JSON parsers disagree on.
        pytest.param('{"type":"ping","type":"ping"}', id="type twice"),
        pytest.param('{"type":"ping","type":"send-message"}', id="two types"),
        pytest.param(message().replace('"content":', '"content":"a","content":'), id="content twice"),
        pytest.param(message(extra={"a": 1}).replace('"a": 1', '"a":1,"a":2'), id="twice in extra"),
        pytest.param(message(extra={"a": 1}).replace('"a": 1', '"a":1,"\\u0061":2'), id="twice, escaped"),
        pytest.param(message(extra={"a": 1}).replace(" 1", " NaN"), id="NaN"),
        pytest.param(message(extra={"a": 1}).replace(" 1", " Infinity"), id="Infinity"),
        pytest.param(message(extra={"a": 1}).replace(" 1", " 1e999"), id="1e999"),
        pytest.param(message(extra={"a": 1}).replace(" 1", " 01"), id="leading zero"),
        pytest.param(message().replace("hi", "\\ud800"), id="lone surrogate"),
        pytest.param(message().replace("hi", "\\udc00\\ud800"), id="surrogates swapped"),
        pytest.param(message(extra={"a": 1}).replace(" 1", ' "\\ud800"'), id="lone surrogate in extra"),
        pytest.param(message(extra={"a": 1}).replace('"a"', '"\\ud800"'), id="lone surrogate as a name"),
        pytest.param(message().replace("hi", "a\nb"), id="raw control character"),
        pytest.param("'".join(message().split('"')), id="single quotes"),
        pytest.param("\ufeff" + message(), id="byte order mark"),
        pytest.param("[" * DEEP + "]" * DEEP, id="deep arrays"),
        pytest.param("[" * DEEP, id="deep arrays, open"),
        pytest.param('{"a":' * DEEP + "1" + "}" * DEEP, id="deep objects"),
        pytest.param(message(extra={"a": 1}).replace(" 1", "[" * DEEP + "]" * DEEP), id="deep extra"),
        pytest.param('{"type":"ping","x":' + "[" * DEEP + "]" * DEEP + "}", id="deep member that nobody knows"),
        pytest.param('{"type":"ping","data":' + '{"a":' * DEEP + "1" + "}" * DEEP + "}", id="deep ping"),
        pytest.param(message(extra={"a": 1}).replace(" 1", " " + "9" * 5000), id="5,000 digits"),
    ],
)  # fmt: skip
async def test_a_wrong_frame_is_an_error_and_the_connection_lives(shared_gateway: RunningGateway, text: str) -> None:
    written = len(shared_gateway.upstream())
    async with await shared_gateway.connect() as client:
        await client.socket.send(text)
        error = await client.expect("error")
        assert error["code"] == "INVALID_MESSAGE"
        assert error["message"]
        assert error["details"]
        assert set(error) <= {"code", "message", "details", "client_msg_id"}
        await client.nothing_came()
    assert len(shared_gateway.upstream()) == written
    assert shared_gateway.gateway.ready


async def test_an_error_names_the_message_it_is_about_where_that_is_readable(shared_gateway: RunningGateway) -> None:
    async with await shared_gateway.connect() as client:
        await client.socket.send(message(client_msg_id="m-7", messageType=99))
        assert (await client.expect("error"))["client_msg_id"] == "m-7"
        await client.socket.send('{"type":"nonsense","data":{"client_msg_id":"m-8"}}')
        assert (await client.expect("error"))["client_msg_id"] == "m-8"
        await client.socket.send('{"type":"nonsense"}')
        assert "client_msg_id" not in await client.expect("error")


async def test_unknown_members_are_ignored(shared_gateway: RunningGateway, conversation: str) -> None:
    frame = json.loads(message(conversationId=conversation, future={"a": [1]}))
    async with await shared_gateway.connect() as client:
        await client.socket.send(json.dumps({**frame, "v": 2, "timestamp": 1.5}))
        await client.expect("message-ack")


async def test_too_many_wrong_frames_end_the_connection(server: Server) -> None:
    limits = ConnectionSettings(max_malformed_frames=3)
    async with running_gateway(server, connections=limits) as gateway, await gateway.connect() as client:
        for _ in range(2):
            await client.socket.send("nonsense")
            await client.expect("error")
            # Good frames in between don't buy bad ones.
            await client.nothing_came()
        await client.socket.send("nonsense")
        await client.expect("error")
        assert await client.ended() == 4504


# Sizes.


@pytest.mark.parametrize("character", ["a", "é", "你", "🙂"])
async def test_content_may_have_exactly_max_content_bytes(
    shared_gateway: RunningGateway, conversation: str, character: str
) -> None:
    at_the_limit = character * (5000 // len(character.encode()))
    at_the_limit += "a" * (5000 - len(at_the_limit.encode()))
    async with await shared_gateway.connect() as client:
        await client.send_message("m-1", conversationId=conversation, content=at_the_limit)
        await client.expect("message-ack")
        await client.send_message("m-2", conversationId=conversation, content=at_the_limit + "a")
        error = await client.expect("error")
        assert (error["code"], error["client_msg_id"]) == ("MESSAGE_TOO_LARGE", "m-2")
        await client.nothing_came()
    assert [record["content"] for record in shared_gateway.upstream_of(conversation)] == [at_the_limit]


async def test_names_may_have_128_characters(shared_gateway: RunningGateway) -> None:
    conversation = "你" * 120 + f"{next(_numbers):08}"
    async with await shared_gateway.connect() as client:
        await client.send_message("é" * 128, conversationId=conversation, content="", extra={})
        assert (await client.expect("message-ack"))["client_msg_id"] == "é" * 128
    assert len(shared_gateway.upstream_of(conversation)) == 1


async def test_a_frame_may_have_exactly_max_frame_bytes(server: Server) -> None:
    async with running_gateway(server, network=ServerSettings(max_frame_bytes=4096)) as gateway:
        frame = '{"type":"ping","x":""}'
        async with await gateway.connect() as client:
            await client.socket.send(frame.replace('""', f'"{"a" * (4096 - len(frame))}"'))
            await client.expect("pong")
            await client.socket.send(frame.replace('""', f'"{"a" * (4097 - len(frame))}"'))
            assert await client.ended() == 1009


async def test_a_large_message_in_fragments_is_too_large_as_well(server: Server) -> None:
    network = ServerSettings(max_frame_bytes=4096)
    async with running_gateway(server, network=network) as gateway, await gateway.connect() as client:
        await client.socket.send(["a" * 2000, "a" * 2000, "a" * 97])
        assert await client.ended() == 1009


# What ends a connection at once.


async def test_a_binary_frame_ends_the_connection(shared_gateway: RunningGateway) -> None:
    async with await shared_gateway.connect() as client:
        await client.socket.send(b'{"type":"ping"}')
        assert await client.ended() == 1003


async def test_text_that_is_not_utf8_ends_the_connection(shared_gateway: RunningGateway) -> None:
    peer = await RawPeer.upgraded(
        shared_gateway.host, shared_gateway.port, "/ws", headers=[("Authorization", f"Bearer {mint()}")]
    )
    await peer.send_frame(TEXT, b'{"type":"ping\xff"}')
    assert await peer.receive_close() == 1007
    await peer.aclose()


async def test_a_flood_of_pings_ends_the_connection() -> None:
    async with running_gateway(Server.SOCKET) as gateway:
        bearer = [("Authorization", f"Bearer {mint()}")]
        peer = await RawPeer.upgraded(gateway.host, gateway.port, "/ws", headers=bearer)
        for _ in range(200):
            await peer.send_frame(PING)
        assert await peer.receive_close() == 4029
        await peer.aclose()
        async with await gateway.connect() as client:
            for _ in range(200):
                await client.send("ping")
            assert await client.ended() == 4029
        async with await gateway.connect() as client:
            for _ in range(200):
                await client.send("refresh-token", token="nonsense")
            assert await client.ended() == 4029
