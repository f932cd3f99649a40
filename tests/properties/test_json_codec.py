"""The JSON codec, against Python's own parser."""

import json
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from tests.properties.client_frames import frames, json_objects, json_values, texts, written

from imgateway.codes import Code
from imgateway.model import Refusal
from imgateway.wire.json_codec import JsonCodec
from imgateway.wire.json_guard import MAX_DEPTH
from imgateway.wire.messages import (
    UNSET,
    Call,
    ErrorMessage,
    MarkRead,
    MessageAck,
    NewMessage,
    Ping,
    RefreshToken,
    SenderData,
    SendMessage,
    SignalMessage,
)

CODEC = JsonCodec()


class _RepeatedNameError(Exception):
    pass


def _repeats_a_name(text: str) -> bool:
    def look(pairs: list[tuple[str, object]]) -> None:
        if len({name for name, _ in pairs}) < len(pairs):
            raise _RepeatedNameError

    try:
        json.loads(text, object_pairs_hook=look)
    except _RepeatedNameError:
        return True
    return False


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _refused(text: str) -> Refusal | None:
    outcome = CODEC.decode(text)
    if isinstance(outcome, tuple):
        assert outcome[0].code is Code.INVALID_MESSAGE
        return outcome[0]
    return None


@given(st.text(st.characters()))
@example("\ud800")
@example('{"type":"ping","x":"\udfff"}')
def test_any_text_is_a_message_or_a_refusal(text: str) -> None:
    outcome = CODEC.decode(text)
    assert isinstance(outcome, tuple | SendMessage | MarkRead | Ping | RefreshToken)


@given(frames.flatmap(written), st.integers(0, 400), st.text(st.characters(), max_size=3), st.integers(0, 3))
def test_a_damaged_frame_is_a_message_or_a_refusal(text: str, at: int, put_in: str, cut: int) -> None:
    at = min(at, len(text))
    damaged = text[:at] + put_in + text[at + cut :]
    outcome = CODEC.decode(damaged)
    if not isinstance(outcome, tuple):
        # What the codec takes is JSON to others as well, and means the same to them.
        frame = json.loads(damaged)
        assert isinstance(frame, dict)
        assert not _repeats_a_name(damaged)
        assert not isinstance(outcome, Call)
        assert frame["type"] == outcome.TYPE


@given(st.data(), frames)
def test_a_valid_frame_is_never_refused_and_keeps_every_field(data: st.DataObject, frame: dict[str, Any]) -> None:
    message = CODEC.decode(data.draw(written(frame)))
    sent = frame.get("data") or {}
    if isinstance(message, SendMessage):
        said: dict[str, object] = {
            "conversationId": message.conversation_id,
            "content": message.content,
            "messageType": message.message_type,
            "client_msg_id": message.client_msg_id,
        }
        if message.extra is not UNSET:
            said["extra"] = message.extra
    elif isinstance(message, MarkRead):
        said = {"conversationId": message.conversation_id, "seqId": message.seq_id}
        if message.client_msg_id is not UNSET:
            said["client_msg_id"] = message.client_msg_id
    elif isinstance(message, RefreshToken):
        said = {"token": message.token}
    else:
        assert isinstance(message, Ping)
        said = sent
    assert frame["type"] == message.TYPE
    assert said == sent


@given(frames, st.dictionaries(texts, json_values, max_size=2), st.data())
def test_members_that_nobody_knows_are_passed_over(
    frame: dict[str, Any], unknown: dict[str, Any], data: st.DataObject
) -> None:
    assume(not unknown.keys() & {"type", "data", "timestamp"})
    assert CODEC.decode(data.draw(written(unknown | frame))) == CODEC.decode(json.dumps(frame))


@st.composite
def _with_one_more_member(draw: st.DrawFn) -> str:
    """A frame in which some object got one more member, whose name it may have already."""
    text = draw(frames.flatmap(written))
    at = draw(st.sampled_from([at for at, sign in enumerate(text) if sign == "{"])) + 1
    name = draw(st.sampled_from(("type", "data", "timestamp", "content", "client_msg_id", "extra", "a")))
    value = draw(st.sampled_from(("1", '"x"', "{}", "[{}]", "null")))
    between = "" if text[at:].lstrip().startswith("}") else ","
    changed = f"{text[:at]}{draw(written(name))}:{value}{between}{text[at:]}"
    assume(_is_json(changed))  # the brace may have stood in a text
    return changed


@given(_with_one_more_member())
def test_a_name_repeated_anywhere_is_refused(text: str) -> None:
    if _repeats_a_name(text):
        assert _refused(text) is not None
    elif (refusal := _refused(text)) is not None:
        assert refusal.details != "duplicate_key"


@pytest.mark.parametrize("timestamp", [{}, {"timestamp": 1}])
@pytest.mark.parametrize(
    ("type_", "data"),
    [
        ("send-message", {"conversationId": "c", "content": "", "messageType": 1, "client_msg_id": "m"}),
        ("send-message", {"conversationId": "c", "content": "", "messageType": 1, "client_msg_id": "m", "extra": {}}),
        ("mark-read", {"conversationId": "c", "seqId": 1}),
        ("mark-read", {"conversationId": "c", "seqId": 1, "client_msg_id": "m"}),
        ("refresh-token", {"token": "t"}),
        ("ping", {}),
        ("ping", {"a": {"b": 1}}),
        ("ping", None),
    ],
)
def test_each_member_of_each_frame_may_be_named_once_only(
    type_: str, data: dict[str, Any] | None, timestamp: dict[str, int]
) -> None:
    def with_repeated(members: dict[str, Any], name: str) -> str:
        return json.dumps(members)[:-1] + ", " + json.dumps({name: members[name]})[1:]

    frame = {"type": type_, "data": data} | timestamp
    assert _refused(json.dumps(frame)) is None
    texts = [with_repeated(frame, name) for name in frame]
    outer = json.dumps(frame | {"data": "HERE"})
    texts += [outer.replace('"HERE"', with_repeated(data, name)) for name in data or {} if data]
    for text in texts:
        refusal = _refused(text)
        assert refusal is not None, text
        assert refusal.details == "duplicate_key"


@pytest.mark.parametrize(
    "literal", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999", '"\\ud800"', '"\\udc00\\ud800"', "01", '"\x01"']
)
@pytest.mark.parametrize("place", ["data", "extra", "elsewhere"])
def test_what_is_no_json_value_is_refused_wherever_it_stands(literal: str, place: str) -> None:
    data = {"conversationId": "c", "content": "", "messageType": 1, "client_msg_id": "m", "extra": {}}
    frame: dict[str, Any] = {"type": "send-message", "data": data}
    {"data": data, "extra": data["extra"], "elsewhere": frame}[place]["x"] = ["HERE"]  # type: ignore[index]  # a dict
    text = json.dumps(frame)
    assert _refused(text) is None
    if place == "extra" or "e999" not in literal:  # a number that nobody reads may be of any size
        assert _refused(text.replace('"HERE"', literal)) is not None


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}"), ('[{"a":', "}]")])
@pytest.mark.parametrize("place", ["x", "data"])
@given(st.integers(1, 3000))
def test_nesting_is_refused_beyond_its_limit(opening: str, closing: str, place: str, levels: int) -> None:
    inner = opening * levels + "1" + closing * levels
    if place == "data":
        inner = f'{{"x":{inner}}}'
    refusal = _refused(f'{{"type":"ping","{place}":{inner}}}')
    depth = 1 + (place == "data") + levels * (2 if len(closing) == 2 else 1)
    assert (refusal is None) == (depth <= MAX_DEPTH)
    assert refusal is None or refusal.details == "nested_too_deep"


@given(st.text(min_size=1), json_values, json_values)
def test_an_unknown_type_is_named_so_and_never_repeated(type_: str, data: object, client_msg_id: object) -> None:
    assume(type_ not in {"send-message", "mark-read", "refresh-token", "ping"})
    for body in (data, {"client_msg_id": client_msg_id}):
        outcome = CODEC.decode(json.dumps({"type": f"{type_}CANARY", "data": body}))
        assert isinstance(outcome, tuple)
        refusal, about = outcome
        assert refusal.details == "unknown_type"
        assert "CANARY" not in refusal.message
        if isinstance(body, dict):
            wanted = body.get("client_msg_id")
            assert about == (wanted if isinstance(wanted, str) and len(wanted) <= 128 else None)


@given(
    frames,
    st.sampled_from(("conversationId", "content", "messageType", "client_msg_id", "seqId", "token")),
    json_values,
)
def test_a_field_of_another_type_is_refused_and_says_which_message(
    frame: dict[str, Any], field: str, value: object
) -> None:
    data = frame.get("data") or {}
    assume(field in data and type(value) is not type(data[field]))
    spoiled = {**frame, "data": {**data, field: value}}
    outcome = CODEC.decode(json.dumps(spoiled))
    assert isinstance(outcome, tuple)
    refusal, about = outcome
    assert refusal.details == "invalid_field"
    if field != "client_msg_id":
        assert about == data.get("client_msg_id")


_server_messages = st.one_of(
    st.builds(MessageAck, texts, st.sampled_from(("accepted", "duplicate")), texts, st.integers(0), st.integers(0)),
    st.builds(ErrorMessage, texts, texts, texts, texts | st.just(UNSET), st.integers(0, 99) | st.just(UNSET)),
    st.builds(SignalMessage, texts, json_values),
    st.builds(
        NewMessage,
        id=texts,
        conversation_id=texts,
        sender=st.builds(SenderData, texts, texts | st.none(), texts | st.none()),
        content=texts,
        message_type=st.integers(0, 99),
        seq_id=st.integers(0, 2**63),
        created_at=st.integers(0),
        client_msg_id=texts | st.just(UNSET),
        extra=json_objects | st.just(UNSET),
        redelivered=st.sampled_from((True, UNSET)),
    ),
)


@given(_server_messages, st.integers(0, 2**53))
def test_what_is_encoded_reads_the_same_elsewhere(message: Any, timestamp: int) -> None:
    frame = json.loads(CODEC.encode(message, timestamp))
    assert set(frame) == {"type", "data", "timestamp"}
    assert frame["timestamp"] == timestamp
    data = frame["data"]
    if isinstance(message, SignalMessage):
        assert (frame["type"], data) == (message.signal_type, message.payload)
        return
    assert frame["type"] == message.TYPE
    if isinstance(message, NewMessage):
        sender = message.sender
        told = {"id": sender.id, "username": sender.username, "avatarUrl": sender.avatar_url}
        expected = {
            "id": message.id,
            "conversationId": message.conversation_id,
            "sender": {name: value for name, value in told.items() if value is not None},
            "content": message.content,
            "messageType": message.message_type,
            "seqId": message.seq_id,
            "createdAt": message.created_at,
            "client_msg_id": message.client_msg_id,
            "extra": message.extra,
            "redelivered": message.redelivered,
        }
    elif isinstance(message, ErrorMessage):
        expected = {
            "code": message.code,
            "message": message.message,
            "details": message.details,
            "client_msg_id": message.client_msg_id,
            "retryAfter": message.retry_after,
        }
    else:
        expected = {
            name: getattr(message, name) for name in ("client_msg_id", "status", "topic", "partition", "offset")
        }
    assert data == {name: value for name, value in expected.items() if value is not UNSET}
