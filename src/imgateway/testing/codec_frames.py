"""Frames of subprotocol `imgateway.json.v1` that a codec must take, and such that it must refuse."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from imgateway.wire.messages import (
    Call,
    ClientMessage,
    ErrorMessage,
    MarkRead,
    MessageAck,
    NewMessage,
    Ping,
    Pong,
    Reconnect,
    RefreshToken,
    Reply,
    ReplyError,
    SenderData,
    SendMessage,
    ServerMessage,
    SignalMessage,
    TokenRefreshed,
    Welcome,
)

BIG: Final = 2**63 - 1
ODD_TEXT: Final = '中文 🦊 "quoted" \\ / <b> \x00\x1f\x7f\u2028 é'
CANARY: Final = "canary-7f3a"
"""Stands in hostile frames for what must not be repeated."""

_SEND: Final = {
    "conversationId": "c1",
    "content": "hi",
    "messageType": 1,
    "client_msg_id": "m1",
}
_MARK: Final = {"conversationId": "c1", "seqId": 5}


def _frame(type_: object, data: object, **more: object) -> str:
    return json.dumps({"type": type_, "data": data, **more})


CLIENT_FRAMES: Final[Mapping[str, ClientMessage]] = {
    _frame("send-message", _SEND, timestamp=1): SendMessage("c1", "hi", 1, "m1"),
    _frame("send-message", _SEND): SendMessage("c1", "hi", 1, "m1"),
    _frame("send-message", _SEND, timestamp=None): SendMessage("c1", "hi", 1, "m1"),
    _frame("send-message", _SEND | {"newer": [1]}, later={"a": 1}): SendMessage("c1", "hi", 1, "m1"),
    json.dumps({"timestamp": 1, "data": _SEND, "type": "send-message"}, indent=2): SendMessage("c1", "hi", 1, "m1"),
    _frame("send-message", _SEND | {"content": "", "messageType": 6}): SendMessage("c1", "", 6, "m1"),
    _frame("send-message", _SEND | {"content": ODD_TEXT}): SendMessage("c1", ODD_TEXT, 1, "m1"),
    json.dumps({"type": "send-message", "data": _SEND | {"content": ODD_TEXT}}, ensure_ascii=False): SendMessage(
        "c1", ODD_TEXT, 1, "m1"
    ),
    _frame("send-message", _SEND | {"conversationId": "界" * 128, "client_msg_id": "m" * 128}): SendMessage(
        "界" * 128, "hi", 1, "m" * 128
    ),
    _frame("send-message", _SEND | {"extra": {"a:b": {"c": [1, None, "d:e"]}}}): SendMessage(
        "c1", "hi", 1, "m1", {"a:b": {"c": [1, None, "d:e"]}}
    ),
    _frame("mark-read", _MARK): MarkRead("c1", 5),
    _frame("mark-read", _MARK | {"seqId": BIG, "client_msg_id": "m2"}): MarkRead("c1", BIG, "m2"),
    _frame("ping", {}): Ping(),
    '{"type":"ping"}': Ping(),
    _frame("ping", None, timestamp=1.5): Ping(),
    _frame("refresh-token", {"token": "a.b.c"}): RefreshToken("a.b.c"),
}
"""What a client may send, and what it means."""


def _hostile() -> Iterator[str]:
    type_: object
    data: object
    value: object
    # Not one JSON object.
    yield from ("", " ", "\x00", "null", "true", "1", '"x"', "[]", "{", "}", "{}", "{}{}", "\ufeff{}", "\ud800")
    yield from ("not json", "{'type': 'ping'}", '{"type":"ping",}', '{"type":"ping"} x', '{"type":"ping"', "/**/{}")
    yield '[{"type":"ping"}]'
    # Frames of no known type.
    for type_ in (None, 1, True, [], {}, "", "Ping", "PING", " ping", "ping\x00", CANARY, "x" * 5_000):
        yield _frame(type_, {})
    for type_ in ("welcome", "new-message", "message-ack", "error", "reconnect", "pong", "token-refreshed", "reply"):
        yield _frame(type_, {})
    yield '{"data":{}}'
    # Data that is none, or lacks something.
    for type_ in ("send-message", "mark-read", "refresh-token"):
        for data in (None, 1, "x", [], {}, [_SEND]):
            yield _frame(type_, data)
        yield f'{{"type":"{type_}"}}'
    for type_, good in (("send-message", _SEND), ("mark-read", _MARK)):
        for name in good:
            yield _frame(type_, {key: value for key, value in good.items() if key != name})
    yield _frame("ping", [])
    yield _frame("ping", {}, timestamp="now")
    # Fields of the wrong type or size.
    for name in ("conversationId", "client_msg_id"):
        for value in (None, 1, True, [], {}, "", "x" * 129):
            yield _frame("send-message", _SEND | {name: value})
    for value in (None, 1, ["x"], {"text": "x"}):
        yield _frame("send-message", _SEND | {"content": value})
    for value in (None, True, "1", 0, 7, -1, 1.5, 2**64, 10**40, [1]):
        yield _frame("send-message", _SEND | {"messageType": value})
    for value in (None, 1, "{}", [{}]):
        yield _frame("send-message", _SEND | {"extra": value})
    for value in (None, "5", -1, 2**63, 1.5, True):
        yield _frame("mark-read", _MARK | {"seqId": value})
    yield _frame("mark-read", _MARK | {"client_msg_id": ""})
    for value in (None, 1, {"token": CANARY}):
        yield _frame("refresh-token", {"token": value})
    # What JSON parsers disagree about.
    send = json.dumps(_SEND)[1:-1]
    yield '{"type":"ping","type":"ping"}'
    yield f'{{"type":"send-message","data":{{{send}}},"data":{{{send}}}}}'
    yield f'{{"type":"send-message","data":{{{send},"content":"{CANARY}"}}}}'
    yield f'{{"type":"send-message","data":{{{send},"extra":{{"a":1,"a":2}}}}}}'
    yield f'{{"type":"send-message","data":{{{send},"newer":{{"a":1,"\\u0061":2}}}}}}'
    yield f'{{"type":"refresh-token","data":{{"token":"{CANARY}","token":"{CANARY}"}}}}'
    for number in ("NaN", "Infinity", "-Infinity", "1e999", "01", "+1", "0x1", ".5", "1" * 5_000):
        yield f'{{"type":"send-message","data":{{{send.replace(": 1", f": {number}")}}}}}'
    for number in ("NaN", "Infinity", "01", "0x1"):
        yield f'{{"type":"send-message","data":{{{send},"extra":{{"n":{number}}}}}}}'
        yield f'{{"type":"ping","timestamp":{number}}}'
    for text in (r"\ud800", r"\udc00\ud800", r"\ud800x", r"\x41", r"\u12", "\n", "\x00", "\x1f", "\ud800"):
        yield f'{{"type":"send-message","data":{{{send.replace("hi", text)}}}}}'
    # Nesting.
    for depth in (33, 1_000, 200_000):
        yield f'{{"type":"send-message","data":{{{send},"extra":{{"a":{"[" * depth}{"]" * depth}}}}}}}'
    yield '{"type":"ping","data":' + '{"a":' * 200_000 + "1" + "}" * 200_001
    yield "[" * 200_000
    yield '{"a":' * 200_000


HOSTILE_FRAMES: Final = tuple(_hostile())
"""What a client must not send: each is refused, `INVALID_MESSAGE`."""

FRAMES_ABOUT: Final[Mapping[str, str]] = {
    _frame("send-message", _SEND | {"messageType": 9}): "m1",
    _frame("mark-read", {"conversationId": "c1", "client_msg_id": "m2"}): "m2",
    _frame("no-such-type", {"client_msg_id": "m3"}): "m3",
    f'{{"type":"send-message","data":{{{json.dumps(_SEND)[1:-1]},"content":"x"}}}}': "m1",
}
"""Frames that are wrong, but tell which message they are about."""

SERVER_FRAMES: Final[tuple[tuple[ServerMessage, str, Any], ...]] = (
    (
        Welcome("conn", "gw-1", "session", "张三", 25, BIG),
        "welcome",
        {
            "connectionId": "conn", "gatewayId": "gw-1", "sessionId": "session", "userId": "张三",
            "pingIntervalSeconds": 25, "tokenExpiresAt": BIG, "resumed": False,
        },
    ),
    (
        MessageAck("m1", "accepted", "topic", 3, BIG),
        "message-ack",
        {"client_msg_id": "m1", "status": "accepted", "topic": "topic", "partition": 3, "offset": BIG},
    ),
    (
        NewMessage(str(2**64), "c1", SenderData("7"), ODD_TEXT, 1, 42, 1_700_000_000_000),
        "new-message",
        {
            "id": str(2**64), "conversationId": "c1", "sender": {"id": "7"}, "content": ODD_TEXT,
            "messageType": 1, "seqId": 42, "createdAt": 1_700_000_000_000,
        },
    ),
    (
        NewMessage(
            "1", "c1", SenderData("7", "Ann", "https://x/y.png"), "", 6, BIG, 1, "m1", {"a": [1, {"b": None}]}, True
        ),
        "new-message",
        {
            "id": "1", "conversationId": "c1", "content": "", "messageType": 6, "seqId": BIG, "createdAt": 1,
            "sender": {"id": "7", "username": "Ann", "avatarUrl": "https://x/y.png"},
            "client_msg_id": "m1", "extra": {"a": [1, {"b": None}]}, "redelivered": True,
        },
    ),
    (SignalMessage("typing", {"conversationId": "c1"}), "typing", {"conversationId": "c1"}),
    (SignalMessage("正在输入", None), "正在输入", None),
    (
        ErrorMessage("RATE_LIMITED", "Slow down.", ""),
        "error",
        {"code": "RATE_LIMITED", "message": "Slow down.", "details": ""},
    ),
    (
        ErrorMessage("UNAVAILABLE", "Try again.", "d", "m1", 2),
        "error",
        {"code": "UNAVAILABLE", "message": "Try again.", "details": "d", "client_msg_id": "m1", "retryAfter": 2},
    ),
    (
        Reply.of(Call("t", b"{}", "m1"), f'{{"id":{BIG}, "text":"界"}}'.encode()),
        "reply",
        {"client_msg_id": "m1", "result": {"id": BIG, "text": "界"}},
    ),
    (Reply.of(Call("t", b"{}"), b"null"), "reply", {"result": None}),
    (
        Reply("m1", error=ReplyError("NOT_FOUND", "Nobody.", [{"@type": "t", "a": [1]}], 2)),
        "reply",
        {
            "client_msg_id": "m1",
            "error": {
                "code": "NOT_FOUND", "message": "Nobody.", "details": [{"@type": "t", "a": [1]}], "retryAfter": 2,
            },
        },
    ),
    (Reply(error=ReplyError("INTERNAL", "")), "reply", {"error": {"code": "INTERNAL", "message": ""}}),
    (Reconnect(1500, "drain"), "reconnect", {"afterMs": 1500, "reason": "drain"}),
    (Pong(), "pong", {}),
    (TokenRefreshed(BIG), "token-refreshed", {"tokenExpiresAt": BIG}),
)  # fmt: skip
"""What the server sends: the message, its type and its data as a client reads them."""
