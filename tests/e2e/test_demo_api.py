"""The demo's HTTP API: im_logic's services as the gateway shows them, on a real process."""

import json
import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from tests.e2e.demo_process import running_demo
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from imgateway_im_logic.attempts import BURST

PATIENCE_SECONDS = 45


@pytest.fixture(scope="module")
def api() -> Iterator[httpx.Client]:
    with (
        running_demo() as demo,
        httpx.Client(base_url=demo.url, trust_env=False, timeout=PATIENCE_SECONDS) as client,
    ):
        yield client


def guest(api: httpx.Client, nickname: str) -> tuple[str, dict[str, Any], dict[str, str]]:
    """A new guest's id, tokens, and the header that proves them."""
    info = {"clientInfo": {"deviceId": uuid.uuid4().hex, "nickname": nickname}}
    answer = api.post("/api/auth/guest", json=info).raise_for_status().json()
    return answer["user"]["id"], answer, {"Authorization": f"Bearer {answer['accessToken']}"}


def problem(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    return answer.status_code, answer.json()["code"]


def test_an_account_from_its_registration_to_its_end(api: httpx.Client) -> None:
    credentials = {"username": "Grace", "password": "correct horse"}
    made = api.post("/api/auth/register", json=credentials).raise_for_status().json()
    assert problem(api.post("/api/auth/register", json=credentials)) == (409, "ALREADY_EXISTS")
    tokens = api.post("/api/auth/login", json=credentials).raise_for_status().json()
    assert tokens["user"] == made["user"]
    access = {"Authorization": f"Bearer {tokens['accessToken']}"}
    assert api.get("/api/conversations", headers=access).status_code == 200
    next_pair = api.post("/api/auth/refresh", json={"refreshToken": tokens["refreshToken"]}).raise_for_status().json()
    access = {"Authorization": f"Bearer {next_pair['accessToken']}"}
    left = api.post("/api/auth/logout", json={"accessToken": next_pair["accessToken"]}, headers=access)
    assert left.raise_for_status().json() == {"success": True}
    gone = api.post("/api/auth/refresh", json={"refreshToken": next_pair["refreshToken"]})
    assert problem(gone) == (401, "UNAUTHENTICATED")


def test_only_access_tokens_open_what_is_private(api: httpx.Client) -> None:
    _, tokens, _ = guest(api, "Ann")
    for headers in ({}, {"Authorization": f"Bearer {tokens['refreshToken']}"}, {"Authorization": "Bearer nonsense"}):
        for path in ("/api/conversations", "/api/conversations/world/messages", "/api/conversations:readMarks"):
            assert problem(api.get(path, headers=headers)) == (401, "UNAUTHENTICATED")


def test_nobody_speaks_for_somebody_else(api: httpx.Client) -> None:
    ann, _, as_ann = guest(api, "Ann")
    bob, _, _ = guest(api, "Bob")
    message = {"userId": bob, "content": "it was not me", "clientMsgId": "forged"}
    headers = as_ann | {"Grpc-Metadata-x-user-id": bob, "x-user-id": bob}
    path = "/api/conversations/world/messages"
    sent = api.post(path, params={"user_id": bob}, json=message, headers=headers).raise_for_status().json()
    assert sent["message"]["sender"]["id"] == ann


def test_what_is_written_over_http_arrives_at_the_websocket_and_in_the_history(api: httpx.Client) -> None:
    ann, _, as_ann = guest(api, "Ann")
    bob, of_bob, as_bob = guest(api, "Bob")
    url = f"ws://{api.base_url.host}:{api.base_url.port}/ws"
    protocols = [Subprotocol("imgateway.json.v1"), Subprotocol(f"bearer.{of_bob['accessToken']}")]
    with connect(url, subprotocols=protocols, proxy=None) as socket:

        def frame(kind: str) -> dict[str, Any]:
            while True:
                found = json.loads(socket.recv(PATIENCE_SECONDS))
                if found["type"] == kind:
                    return dict(found["data"])

        frame("welcome")
        online = api.get("/api/conversations/world/online", headers=as_ann).raise_for_status().json()
        assert online["userIds"] == [bob]
        direct = api.post(
            "/api/conversations", json={"type": "CONVERSATION_TYPE_SINGLE", "memberIds": [bob]}, headers=as_ann
        )
        conversation = direct.raise_for_status().json()["conversation"]
        assert conversation["name"] == "Bob"
        message = {"content": "你好", "clientMsgId": "m-1", "type": "MESSAGE_TYPE_TEXT"}
        path = f"/api/conversations/{conversation['id']}"
        sent = api.post(f"{path}/messages", json=message, headers=as_ann).raise_for_status().json()["message"]
        arrived = frame("new-message")
        assert (arrived["id"], arrived["content"], arrived["sender"]["id"]) == (sent["id"], "你好", ann)
        assert (arrived["seqId"], sent["seqId"]) == (1, "1")
        history = api.get(f"{path}/messages", params={"limit": 5}, headers=as_bob).raise_for_status().json()
        assert history["messages"] == [sent]
        read = api.put(f"{path}/read", json={"seqId": 1}, headers=as_bob).raise_for_status().json()
        assert read["success"] is True
        told = frame("message.read")
        assert told == {"conversationId": conversation["id"], "userId": bob, "seqId": 1}
    carol = guest(api, "Carol")[2]
    assert problem(api.get(f"{path}/messages", headers=carol)) == (403, "PERMISSION_DENIED")
    assert problem(api.get("/api/conversations/nowhere/messages", headers=carol)) == (404, "NOT_FOUND")


def test_members_are_added_promoted_and_removed(api: httpx.Client) -> None:
    _, _, as_ann = guest(api, "Ann")
    bob, _, as_bob = guest(api, "Bob")
    made = api.post("/api/conversations", json={"type": 2, "name": "Club"}, headers=as_ann).raise_for_status().json()
    path = f"/api/conversations/{made['conversation']['id']}"
    added = api.post(f"{path}/members", json={"userIds": [bob]}, headers=as_ann).raise_for_status().json()
    assert (added["success"], added["addedUserIds"]) == (True, [bob])
    role = {"newRole": "CONVERSATION_MEMBER_ROLE_ADMIN"}
    api.put(f"{path}/members/{bob}", json=role, headers=as_ann).raise_for_status()
    renamed = api.put(path, json={"name": "Chess", "updateMask": ["name"]}, headers=as_bob).raise_for_status().json()
    assert renamed["conversation"]["name"] == "Chess"
    removed = api.delete(f"{path}/members", params={"user_ids": [bob], "reason": "x"}, headers=as_ann)
    assert removed.raise_for_status().json()["removedUserIds"] == [bob]
    assert problem(api.get(path, headers=as_bob)) == (403, "PERMISSION_DENIED")


def test_what_is_wrong_with_a_request_is_told_by_its_fields(api: httpx.Client) -> None:
    refused = api.post("/api/auth/register", json={"username": "a:b", "password": "x"})
    assert problem(refused) == (400, "INVALID_ARGUMENT")
    assert "no colon" in refused.json()["detail"]
    assert '"username"' in refused.text
    refused = api.post("/api/conversations", json={"type": "PICTURE", "name": "Club"}, headers=guest(api, "Ann")[2])
    assert problem(refused) == (400, "INVALID_ARGUMENT")
    assert refused.json()["detail"] == "type: is no value of ConversationType"


def test_too_many_attempts_are_told_when_to_come_again(api: httpx.Client) -> None:
    wrong = {"username": "Mallory", "password": "a guess"}
    answers = [api.post("/api/auth/login", json=wrong) for _ in range(BURST + 1)]
    assert [problem(answer)[0] for answer in answers] == [401] * BURST + [429]
    assert int(answers[-1].headers["retry-after"]) >= 1


def test_a_conversation_is_watched_as_a_stream(api: httpx.Client) -> None:
    _, _, as_ann = guest(api, "Ann")
    path = "/api/conversations/world"
    for number in range(3):
        message = {"content": f"n{number}", "clientMsgId": f"stream {number}"}
        api.post(f"{path}/messages", json=message, headers=as_ann).raise_for_status()
    headers = as_ann | {"Accept": "application/x-ndjson"}
    newest = api.get(f"{path}/messages", params={"limit": 1}, headers=as_ann).json()["messages"][0]
    query = {"after_seq_id": int(newest["seqId"]) - 2}
    with api.stream("GET", f"{path}/stream", params=query, headers=headers) as stream:
        lines = stream.iter_lines()
        seen = [json.loads(next(lines))["result"]["message"]["content"] for _ in range(2)]
    assert seen == ["n1", "n2"]


def test_the_api_describes_itself(api: httpx.Client) -> None:
    document = api.get("/openapi.json").raise_for_status().json()
    assert document["paths"]["/api/auth/guest"]["post"]["summary"] == "Come without a password"
    assert api.get("/docs").raise_for_status().headers["content-type"].startswith("text/html")
