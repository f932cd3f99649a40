"""The demo back end's HTTP side: login, the list, the history behind a hole, and the page's files."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

from imgateway.adapters.jwt import JwtAuthenticator, mint_token
from imgateway.adapters.memory import MemoryBroker, MemoryConsumer, MemoryPublisher, MemorySessionStore
from imgateway.core.settings import AuthSettings
from imgateway.model import UserId
from imgateway.testing.clock import VirtualClock
from imgateway_cli.demo.backend import DemoBackEnd
from imgateway_cli.demo.conversations import LOBBY, direct_id
from imgateway_cli.demo.page import POLICY, page_routes
from imgateway_cli.demo.routes import MAX_BODY_BYTES, DemoRoutes, IssuedToken

ALICE = UserId("alice")
SECRET = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def anyio_backend() -> str:
    """As served: by uvicorn, which is bound to asyncio."""
    return "asyncio"


@contextmanager
def http(token_seconds: int = 60) -> Iterator[tuple[httpx.AsyncClient, DemoBackEnd, VirtualClock]]:
    clock, broker = VirtualClock(), MemoryBroker()
    sessions = MemorySessionStore(60, clock)
    back_end = DemoBackEnd(MemoryConsumer(broker, "t", "g"), MemoryPublisher(broker), sessions, clock)

    def issue(user_id: UserId) -> IssuedToken:
        token = mint_token(user_id, secret=SECRET, ttl_seconds=token_seconds, clock=clock)
        return IssuedToken(token, clock.now() + token_seconds * 1000)

    authenticator = JwtAuthenticator.from_settings(AuthSettings(secret=SECRET), clock)
    demo = DemoRoutes(back_end, authenticator, issue, 5000, "epoch")
    app = Starlette(routes=[*page_routes(), *demo.routes()])
    yield httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://demo"), back_end, clock


async def log_in(client: httpx.AsyncClient, name: str) -> tuple[dict[str, Any], dict[str, str]]:
    answer = (await client.post("/demo/login", json={"name": name})).raise_for_status().json()
    return answer, {"Authorization": f"Bearer {answer['token']}"}


@pytest.mark.anyio
async def test_login_lists_everyone_met_and_the_lobby() -> None:
    with http() as (client, back_end, _):
        async with client:
            answer, bearer = await log_in(client, "小明")
            assert (answer["userId"], answer["name"]) == ("小明", "小明")
            await log_in(client, "Alice")
            back_end.conversations.post(UserId("小明"), LOBBY, "hi", 1, "m", 5, None)
            back_end.conversations.mark_read(ALICE, LOBBY, 1)
            listed = (await client.get("/demo/conversations", headers=bearer)).raise_for_status().json()
            assert (listed["epoch"], listed["maxContentBytes"]) == ("epoch", 5000)
            assert listed["conversations"] == [
                {"id": "lobby", "kind": "group", "title": "Lobby", "lastSeq": 1, "readSeq": 0, "readByOthersSeq": 1},
                {
                    "id": "dm:alice:小明", "kind": "direct", "title": "Alice", "peerId": "alice", "online": False,
                    "lastSeq": 0, "readSeq": 0, "readByOthersSeq": 0,
                },
            ]  # fmt: skip


@pytest.mark.anyio
async def test_history_behind_a_seq_id_is_for_members_only() -> None:
    with http() as (client, back_end, _):
        async with client:
            _, alice = await log_in(client, "Alice")
            _, carol = await log_in(client, "Carol")
            direct = direct_id(ALICE, UserId("a/b 小"))
            for number in range(5):
                back_end.conversations.post(ALICE, direct, str(number), 1, f"m{number}", 1_700_000_000_000, None)
            path = "/demo/conversations/dm%3Aa%2Fb%20%E5%B0%8F%3Aalice/messages"
            answer = (await client.get(path, params={"after": "3"}, headers=alice)).raise_for_status().json()
            assert [(m["seqId"], m["content"], m["client_msg_id"]) for m in answer["messages"]] == [
                (4, "3", "m3"),
                (5, "4", "m4"),
            ]
            assert answer["lastSeq"] == 5
            assert all(isinstance(m["id"], str) for m in answer["messages"])
            assert (await client.get(path, headers=carol)).status_code == 403
            for wrong in ("-1", "x", "1.5", "9" * 16, ""):
                refused = await client.get(path, params={"after": wrong}, headers=alice)
                assert (refused.status_code, refused.json()["code"]) == (400, "INVALID_MESSAGE")


@pytest.mark.anyio
async def test_without_a_good_token_nothing_is_told() -> None:
    with http() as (client, _, clock):
        async with client:
            _, bearer = await log_in(client, "Alice")
            for headers in ({}, {"Authorization": "Basic eDp5"}, {"Authorization": "Bearer nonsense"}):
                for path in ("/demo/conversations", "/demo/conversations/lobby/messages"):
                    refused = await client.get(path, headers=headers)
                    assert refused.status_code == 401
                    assert refused.headers["content-type"] == "application/problem+json"
                    assert refused.json()["code"] == "UNAUTHENTICATED"
            clock.advance(3600)
            expired = await client.get("/demo/conversations", headers=bearer)
            assert (expired.status_code, expired.json()["code"]) == (401, "TOKEN_EXPIRED")


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"\xff\xfe\x00", 400),
        (b"[]", 400),
        (b'{"name": 5}', 400),
        (b'{"name": "a:b"}', 400),
        (b"[" * MAX_BODY_BYTES, 400),
        (b'{"name": "' + b"x" * MAX_BODY_BYTES + b'"}', 413),
    ],
)
async def test_a_bad_login_is_a_problem(body: bytes, status: int) -> None:
    with http() as (client, back_end, _):
        async with client:
            refused = await client.post("/demo/login", content=body)
            assert (refused.status_code, refused.json()["status"]) == (status, status)
            assert back_end.conversations.people == ()


@pytest.mark.anyio
async def test_the_page_is_served_whole_and_may_load_nothing_from_elsewhere() -> None:
    with http() as (client, _, _):
        async with client:
            page = await client.get("/")
            assert page.headers["content-security-policy"] == POLICY
            assert "unsafe" not in POLICY
            assert "default-src 'none'" in POLICY
            for name in (
                "app.js",
                "connection.js",
                "conversations.js",
                "messages.js",
                "view.js",
                "style.css",
                "icon.svg",
            ):
                part = await client.get(f"/demo/{name}")
                assert (part.status_code, part.headers["x-content-type-options"]) == (200, "nosniff")
            assert (await client.get("/demo/../app.py")).status_code == 404
