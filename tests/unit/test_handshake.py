"""What an upgrade request says, and what must never be kept of it."""

from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.asgi import websocket_scope

from imgateway.adapters.starlette.handshake import MAX_LABEL_CHARS, Handshake, read_handshake, redact_token
from imgateway.codes import Code

V1 = "imgateway.json.v1"


def read(query: str = "", *headers: tuple[str, str], subprotocols: tuple[str, ...] = ()) -> Handshake:
    return read_handshake(websocket_scope(query, headers, subprotocols=subprotocols))


def why_malformed(handshake: Handshake) -> str:
    assert handshake.malformed is not None
    assert handshake.malformed.code is Code.INVALID_MESSAGE
    return handshake.malformed.details


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_token_is_taken_from_the_header_before_the_list_before_the_query(scheme: str) -> None:
    header, listed, query = ("authorization", f"{scheme} h.h.h"), (V1, "bearer.l.l.l"), "token=q.q.q"
    assert read(query, header, subprotocols=listed).token == "h.h.h"
    assert read(query, subprotocols=listed).token == "l.l.l"
    assert read(query).token == "q.q.q"
    assert read().token is None


def test_another_authorization_scheme_is_not_a_token() -> None:
    assert read("token=q", ("authorization", "Basic dXNlcjpwYXNz")).token == "q"
    assert read("", ("authorization", "Basic dXNlcjpwYXNz")).token is None


def test_an_empty_token_is_shown_as_such_and_nothing_else_is_tried() -> None:
    assert read("token=q", ("authorization", "Bearer ")).token == ""
    assert read("token=").token == ""


@pytest.mark.parametrize(
    ("offered", "echoed"),
    [((), None), ((V1,), V1), (("chat", V1), V1), (("chat",), None), ((V1, "bearer.x"), V1), ((V1.upper(),), None)],
)
def test_only_our_own_subprotocol_is_echoed(offered: tuple[str, ...], echoed: str | None) -> None:
    handshake = read(subprotocols=offered)
    assert handshake.subprotocol == echoed
    assert handshake.malformed is None


def test_a_bearer_subprotocol_alone_is_malformed() -> None:
    assert why_malformed(read(subprotocols=("bearer.x",))) == "missing_subprotocol"
    assert why_malformed(read(subprotocols=("chat", "bearer.x"))) == "missing_subprotocol"


def test_device_and_platform_are_labels() -> None:
    handshake = read(f"device_id={quote('手机')}&platform=web%2F1.0&unknown=x")
    assert (handshake.device_id, handshake.platform, handshake.malformed) == ("手机", "web/1.0", None)
    assert read("device_id=&platform=").device_id is None
    assert read(f"device_id={'x' * MAX_LABEL_CHARS}").malformed is None
    for bad in ("x" * (MAX_LABEL_CHARS + 1), "%00", "a%0Ab", "%1b[31m", "%E2%80%AE"):
        assert why_malformed(read(f"device_id={bad}")) == "invalid_query"
        assert why_malformed(read(f"platform={bad}")) == "invalid_query"


def test_the_first_of_several_counts() -> None:
    assert read("token=a&token=b&device_id=1&device_id=2").token == "a"


def test_errors_may_be_wanted_as_frames_whatever_else_is_wrong() -> None:
    assert read("errors=frame").error_frame
    assert not read("errors=http").error_frame
    assert read("errors=frame&acks=1").error_frame


@pytest.mark.parametrize("acks", ["1", "true", ""])
def test_client_acks_are_refused_until_there_are_any(acks: str) -> None:
    assert why_malformed(read(f"acks={acks}")) == "acks_unavailable"
    assert read("acks=0").malformed is None


def test_a_session_to_resume_is_passed_over_until_that_is_possible() -> None:
    assert read("session_id=abc").malformed is None


def test_a_query_of_too_many_fields_is_malformed() -> None:
    assert why_malformed(read("&".join(f"a{number}=1" for number in range(33)))) == "invalid_query"


CANARY = "eyJhbGciOiJIUzI1NiJ9.canary.canary"


@pytest.mark.parametrize(
    "query",
    [
        f"token={CANARY}",
        f"device_id=1&token={CANARY}",
        f"token={CANARY}&device_id=1",
        f"token=x&token={CANARY}",
        f"%74oken={CANARY}",
        f"%74%6F%6b%65%6E={CANARY}",
        f"TOKEN={CANARY}",
        f"token=%65{CANARY}%2e",
    ],
)
def test_the_token_does_not_stay_in_the_scope(query: str) -> None:
    scope = websocket_scope(query)
    redact_token(scope)
    assert b"canary" not in scope["query_string"]
    assert scope["query_string"].count(b"token=redacted") >= 1
    assert (b"device_id=1" in scope["query_string"]) == ("device_id=1" in query)


@given(st.text("token%746f6b65n=&;+x", max_size=60))
def test_whatever_is_read_as_a_token_is_redacted(query: str) -> None:
    scope = websocket_scope(query)
    token = read_handshake(scope).token
    redact_token(scope)
    left = read_handshake(scope).token
    assert left == (None if token is None else "redacted")


def test_a_query_without_a_token_stays_as_it_is() -> None:
    scope = websocket_scope("device_id=token&my_token=1&tokens=2")
    redact_token(scope)
    assert scope["query_string"] == b"device_id=token&my_token=1&tokens=2"


def test_no_token_shows_in_a_repr() -> None:
    handshake = read(f"token={CANARY}", ("authorization", f"Bearer {CANARY}"), ("cookie", CANARY))
    assert handshake.token == CANARY
    assert "canary" not in repr(handshake)
    assert "canary" not in repr(handshake.credentials("192.0.2.1"))
    assert handshake.credentials("192.0.2.1").headers["cookie"] == CANARY


_latin = st.text(st.characters(max_codepoint=255), max_size=30)


@given(_latin, st.lists(st.tuples(_latin, _latin), max_size=3), st.lists(st.text(max_size=10), max_size=3))
def test_any_request_can_be_read(query: str, headers: list[Any], subprotocols: list[str]) -> None:
    scope = websocket_scope(query, headers, subprotocols=subprotocols)
    read_handshake(scope)
    redact_token(scope)
