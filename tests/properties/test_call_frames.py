"""Frames that are calls, against Python's own parser."""

import json
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from tests.properties.client_frames import frames, ids, json_objects, json_values, texts, written

from imgateway.wire.json_codec import JsonCodec
from imgateway.wire.json_guard import MAX_DEPTH
from imgateway.wire.messages import RESERVED_TYPES, UNSET, Call, MarkRead, Reply, ReplyError, SendMessage, may_be_call

types = st.from_regex(r"[a-z0-9._-]{1,64}", fullmatch=True).filter(may_be_call)
data = st.builds(
    lambda members, client_msg_id: members | client_msg_id,
    json_objects,
    st.just({}) | st.builds(lambda client_msg_id: {"client_msg_id": client_msg_id}, ids),
).filter(lambda members: "client_msg_id" not in members or 1 <= len(str(members["client_msg_id"])) <= 128)


@st.composite
def call_frames(draw: st.DrawFn) -> tuple[str, dict[str, Any], str, str]:
    """Type, data, the data's text, and the frame."""
    type_, members = draw(types), draw(data)
    assume(isinstance(members.get("client_msg_id", ""), str))
    text = draw(written(members))
    outer = draw(written({"type": type_, "data": "HERE", **draw(st.sampled_from(({}, {"timestamp": 1})))}))
    return type_, members, text, outer.replace('"HERE"', text)


@given(call_frames())
def test_a_call_is_kept_to_the_letter(frame: tuple[str, dict[str, Any], str, str]) -> None:
    type_, members, text, whole = frame
    message = JsonCodec(frozenset({type_})).decode(whole)
    assert message == Call(type_, text.encode(), members.get("client_msg_id", UNSET))


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    assert len(members) == len(pairs)
    return members


@given(call_frames(), st.integers(0, 400), st.text(st.characters(), max_size=3), st.integers(0, 3))
def test_what_is_taken_of_a_damaged_call_means_the_same_to_others(
    frame: tuple[str, dict[str, Any], str, str], at: int, put_in: str, cut: int
) -> None:
    type_, _, _, whole = frame
    at = min(at, len(whole))
    damaged = whole[:at] + put_in + whole[at + cut :]
    message = JsonCodec(frozenset({type_})).decode(damaged)
    if isinstance(message, Call):
        parsed = json.loads(damaged, object_pairs_hook=_without_repeats)
        assert parsed["type"] == message.type
        assert isinstance(parsed["data"], dict)
        assert json.loads(message.data) == parsed["data"]
        assert parsed["data"].get("client_msg_id", UNSET) == message.client_msg_id


@given(types, json_values)
def test_data_must_be_an_object(type_: str, value: object) -> None:
    outcome = JsonCodec(frozenset({type_})).decode(json.dumps({"type": type_, "data": value}))
    if not isinstance(value, dict):
        assert isinstance(outcome, tuple)
        assert outcome[0].details == "invalid_field"


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
@given(st.integers(1, 100) | st.integers(1000, 3000))
def test_calls_nest_as_deep_as_other_frames(opening: str, closing: str, levels: int) -> None:
    outcome = JsonCodec(frozenset({"ask"})).decode(
        f'{{"type":"ask","data":{{"x":{opening * levels}1{closing * levels}}}}}'
    )
    assert isinstance(outcome, Call) == (levels + 2 <= MAX_DEPTH)


@given(frames.flatmap(written), types)
def test_frames_that_are_no_calls_are_read_as_ever(text: str, type_: str) -> None:
    assume(type_ not in {SendMessage.TYPE, MarkRead.TYPE})
    assert JsonCodec(frozenset({type_})).decode(text) == JsonCodec().decode(text)


@given(st.text() | types | st.sampled_from(sorted(RESERVED_TYPES)))
def test_what_may_be_a_call(type_: str) -> None:
    fit = 1 <= len(type_) <= 64 and set(type_) <= set("abcdefghijklmnopqrstuvwxyz0123456789._-")
    allowed = fit and (type_ not in RESERVED_TYPES or type_ in {"send-message", "mark-read"})
    assert may_be_call(type_) == allowed
    if not allowed:
        with pytest.raises(ValueError, match="can't be calls"):
            JsonCodec(frozenset({type_}))


def test_what_the_gateway_answers_itself_can_be_no_call() -> None:
    for type_ in ("ping", "refresh-token", "message-received", "reply", "welcome", "error", "ask\n", ""):
        assert not may_be_call(type_)


@given(ids | st.just(UNSET), json_values, texts, st.lists(json_objects, max_size=2), st.integers(0) | st.just(UNSET))
def test_a_reply_reads_the_same_elsewhere(
    client_msg_id: Any, result: Any, message: str, details: list[dict[str, Any]], retry_after: Any
) -> None:
    codec = JsonCodec()
    named = {} if client_msg_id is UNSET else {"client_msg_id": client_msg_id}
    answered = Reply.of(Call("ask", b"{}", client_msg_id), json.dumps(result).encode())
    assert json.loads(codec.encode(answered, 5)) == {
        "type": "reply",
        "data": {**named, "result": result},
        "timestamp": 5,
    }
    failed = Reply(client_msg_id, error=ReplyError("ABORTED", message, details, retry_after))
    error = {"code": "ABORTED", "message": message, "details": details}
    error |= {} if retry_after is UNSET else {"retryAfter": retry_after}
    assert json.loads(codec.encode(failed, 5))["data"] == {**named, "error": error}
