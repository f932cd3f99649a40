"""The session's state machine against its tables."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from imgateway.codes import Code
from imgateway.wire.json_codec import JsonCodec
from imgateway.wire.messages import Call, MarkRead, Ping, RefreshToken, SendMessage
from imgateway.wire.session import ADMITTED, MOVES, ClientSession, Rejected, SessionMove, SessionState

CODEC = JsonCodec(frozenset({"ask"}))
FRAMES: list[dict[str, Any]] = [
    {
        "type": "send-message",
        "data": {"conversationId": "c", "content": "", "messageType": 1, "client_msg_id": "m"},
    },
    {"type": "mark-read", "data": {"conversationId": "c", "seqId": 1, "client_msg_id": "n"}},
    {"type": "mark-read", "data": {"conversationId": "c", "seqId": 1}},
    {"type": "refresh-token", "data": {"token": "t"}},
    {"type": "ask", "data": {"client_msg_id": "o"}},
    {"type": "ask", "data": {}},
    {"type": "ping", "data": {}},
]
malformed = st.sampled_from(("", "{}", "[]", "nonsense", '{"type":"nonsense"}', '{"type":"ping","type":"ping"}'))


class SessionMachine(RuleBasedStateMachine):
    @initialize(most=st.integers(1, 5))
    def begin(self, most: int) -> None:
        self.session = ClientSession(CODEC, max_content_bytes=1000, max_malformed_frames=most)
        self.most = most
        self.malformed = 0
        self.state = SessionState.OPENING

    @rule(move=st.sampled_from(SessionMove))
    def move(self, move: SessionMove) -> None:
        after = MOVES.get((self.state, move))
        if after is None:
            with pytest.raises(KeyError):
                self.session.move(move)
        else:
            self.session.move(move)
            self.state = after
        assert self.session.state is self.state

    @rule(frame=st.sampled_from(FRAMES))
    def a_valid_frame_arrives(self, frame: dict[str, Any]) -> None:
        text = json.dumps(frame)
        outcome = self.session.receive(text)
        message = CODEC.decode(text)
        if self.state is SessionState.CLOSED:
            assert outcome is None
        elif type(message) in ADMITTED[self.state]:
            assert outcome == message
        else:
            assert isinstance(outcome, Rejected)
            assert outcome.refusal.code is Code.DRAINING
            assert outcome.client_msg_id == frame["data"].get("client_msg_id")
            assert not outcome.final

    @rule(text=malformed)
    def a_malformed_frame_arrives(self, text: str) -> None:
        outcome = self.session.receive(text)
        if self.state is SessionState.CLOSED:
            assert outcome is None
            return
        self.malformed += 1
        assert isinstance(outcome, Rejected)
        assert outcome.refusal.code is Code.INVALID_MESSAGE
        assert outcome.final == (self.malformed >= self.most)


TestSession = SessionMachine.TestCase


def test_only_closing_ends_a_session_and_nothing_leads_back() -> None:
    for state in SessionState:
        assert MOVES[state, SessionMove.CLOSE] is SessionState.CLOSED
    assert {after for (before, _), after in MOVES.items() if before is SessionState.CLOSED} == {SessionState.CLOSED}
    assert [before for before, move in MOVES if move is SessionMove.WELCOME] == [SessionState.OPENING]


def test_what_may_be_said_shrinks_with_parting() -> None:
    assert ADMITTED[SessionState.OPEN] == {SendMessage, MarkRead, Call, Ping, RefreshToken}
    assert ADMITTED[SessionState.DRAINING] == {Ping}
    assert not ADMITTED[SessionState.OPENING] | ADMITTED[SessionState.CLOSED]


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=60), st.integers(1, 120))
def test_content_is_measured_in_utf_8_bytes_and_too_much_is_no_malformed_frame(content: str, most: int) -> None:
    session = ClientSession(CODEC, max_content_bytes=most, max_malformed_frames=1)
    session.move(SessionMove.WELCOME)
    data = {"conversationId": "c", "content": content, "messageType": 1, "client_msg_id": "m"}
    outcome = session.receive(json.dumps({"type": "send-message", "data": data}))
    if len(content.encode()) <= most:
        assert isinstance(outcome, SendMessage)
    else:
        assert isinstance(outcome, Rejected)
        assert outcome.refusal.code is Code.MESSAGE_TOO_LARGE
        assert (outcome.client_msg_id, outcome.final) == ("m", False)
