"""From the upgrade request to the welcome, or to the refusal: contract section 4."""

import json
import time
from typing import Any

import anyio
import httpx
import pytest
from tests.e2e.running_gateway import RunningGateway, Server, mint, running_gateway
from tests.e2e.websocket_client import PATIENCE_SECONDS, open_socket, refusal
from websockets.exceptions import ConnectionClosed

from imgateway.core.settings import ConnectionSettings, ServerSettings

pytestmark = pytest.mark.anyio

JSON_V1 = "imgateway.json.v1"


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def welcomed_user(gateway: RunningGateway, query: str = "", **options: Any) -> str:
    socket = await open_socket(gateway.url(query), **options)
    welcome = json.loads(await socket.recv())
    await socket.close()
    assert welcome["type"] == "welcome"
    return str(welcome["data"]["userId"])


# Where the token is taken from.


async def test_the_token_may_come_in_the_header(shared_gateway: RunningGateway) -> None:
    assert await welcomed_user(shared_gateway, headers=bearer(mint("alice"))) == "alice"
    assert await welcomed_user(shared_gateway, headers={"Authorization": f"bearer {mint('alice')}"}) == "alice"


async def test_the_token_may_come_in_the_query(shared_gateway: RunningGateway) -> None:
    assert await welcomed_user(shared_gateway, f"token={mint('alice')}") == "alice"


async def test_the_token_may_come_in_the_subprotocols_and_is_not_echoed(shared_gateway: RunningGateway) -> None:
    socket = await open_socket(shared_gateway.url(), subprotocols=[JSON_V1, f"bearer.{mint('alice')}"])
    assert socket.subprotocol == JSON_V1
    assert socket.response is not None
    assert "bearer" not in str(socket.response.headers)
    assert json.loads(await socket.recv())["data"]["userId"] == "alice"
    await socket.close()


async def test_only_our_subprotocol_is_echoed_and_only_if_it_was_offered(shared_gateway: RunningGateway) -> None:
    for offered, echoed in ((["chat", JSON_V1], JSON_V1), (["chat"], None), (None, None)):
        socket = await open_socket(shared_gateway.url(), headers=bearer(mint()), subprotocols=offered)
        assert socket.subprotocol == echoed
        await socket.close()


async def test_a_bearer_subprotocol_alone_is_400(shared_gateway: RunningGateway) -> None:
    token = mint("alice")
    for headers in ({}, bearer(token)):
        problem = await shared_gateway.refused(subprotocols=[f"bearer.{token}"], headers=headers)
        assert (problem.status, problem.code) == (400, "INVALID_MESSAGE")


async def test_header_goes_before_subprotocol_goes_before_query(shared_gateway: RunningGateway) -> None:
    header, listed, query = mint("header"), mint("listed"), mint("query")
    everywhere: dict[str, Any] = {"headers": bearer(header), "subprotocols": [JSON_V1, f"bearer.{listed}"]}
    assert await welcomed_user(shared_gateway, f"token={query}", **everywhere) == "header"
    assert await welcomed_user(shared_gateway, f"token={query}", subprotocols=everywhere["subprotocols"]) == "listed"
    # The first one that is there counts, good or not.
    bad_header = {**everywhere, "headers": bearer("bad")}
    assert (await shared_gateway.refused(f"token={query}", **bad_header)).status == 401
    assert (await shared_gateway.refused(f"token={query}", subprotocols=[JSON_V1, "bearer.bad"])).status == 401


# Bad tokens.


@pytest.mark.parametrize(
    ("token", "code"),
    [
        (None, "UNAUTHENTICATED"),
        ("", "UNAUTHENTICATED"),
        ("nonsense", "UNAUTHENTICATED"),
        (mint(secret="another secret of enough bytes, really"), "UNAUTHENTICATED"),
        (mint(exp=None), "UNAUTHENTICATED"),
        (mint(exp="tomorrow"), "UNAUTHENTICATED"),
        (mint(sub=None), "UNAUTHENTICATED"),
        (mint(sub=7), "UNAUTHENTICATED"),
        (mint(""), "UNAUTHENTICATED"),
        (mint("x" * 129), "UNAUTHENTICATED"),
        (mint("al\nice"), "UNAUTHENTICATED"),
        (mint("al\x7fice"), "UNAUTHENTICATED"),
        (mint(seconds=-3600), "TOKEN_EXPIRED"),
    ],
)
async def test_a_bad_token_is_401_before_any_upgrade(
    shared_gateway: RunningGateway, token: str | None, code: str
) -> None:
    counted = shared_gateway.observer.counts["connect_decided", code]
    problem = await shared_gateway.refused(headers={} if token is None else bearer(token))
    assert (problem.status, problem.code, problem.retry_after) == (401, code, None)
    assert set(problem.body) == {"type", "title", "status", "detail", "code"}
    assert shared_gateway.observer.counts["connect_decided", code] == counted + 1


@pytest.mark.parametrize("user_id", ["x", "x" * 128, "王小明", "a/../b:{c}*", "a b"])
async def test_any_other_user_id_is_fine(shared_gateway: RunningGateway, user_id: str) -> None:
    assert await welcomed_user(shared_gateway, headers=bearer(mint(user_id))) == user_id


# Origins.


@pytest.mark.parametrize(
    ("allowed", "origin", "accepted"),
    [
        ((), None, True),
        ((), "http://{address}", True),
        ((), "https://{address}", True),
        ((), "http://evil.example", False),
        ((), "http://{host}", False),
        ((), "http://{address}.evil.example", False),
        ((), "null", False),
        (("https://chat.example",), "https://chat.example", True),
        (("https://chat.example",), "https://chat.example:443", True),
        (("https://chat.example",), None, True),
        (("https://chat.example",), "http://chat.example", False),
        (("https://chat.example",), "https://chat.example.evil.example", False),
        (("https://chat.example",), "http://{address}", False),
        (("*",), "http://evil.example", True),
        (("*",), "null", True),
    ],
)
async def test_origins(allowed: tuple[str, ...], origin: str | None, accepted: bool) -> None:
    async with running_gateway(network=ServerSettings(allowed_origins=allowed)) as gateway:
        sent = None if origin is None else origin.format(address=gateway.address, host=gateway.host)
        if accepted:
            assert await welcomed_user(gateway, headers=bearer(mint()), origin=sent) == "alice"
        else:
            problem = await gateway.refused(headers=bearer(mint()), origin=sent)
            assert (problem.status, problem.code) == (403, "FORBIDDEN")


# Limits and states.


async def test_an_exhausted_limit_is_429_and_a_full_gateway_503_both_with_retry_after(server: Server) -> None:
    limits = ConnectionSettings(max_per_user=1, on_excess="refuse", max_total=2)
    async with running_gateway(server, connections=limits) as gateway, await gateway.connect("alice"):
        problem = await gateway.refused(headers=bearer(mint("alice")))
        assert (problem.status, problem.code) == (429, "RATE_LIMITED")
        assert int(problem.retry_after or 0) >= 1
        async with await gateway.connect("bob"):
            problem = await gateway.refused(headers=bearer(mint("carol")))
            assert (problem.status, problem.code) == (503, "OVERLOADED")
            assert int(problem.retry_after or 0) >= 1
        # A place that is given back can be taken again.
        async with await gateway.connect("carol"):
            pass


async def test_before_it_is_ready_it_answers_503() -> None:
    async with running_gateway(wait_ready=False) as gateway:
        pass
    gateway.embedded.services.down = True
    async with running_gateway(embedded=gateway.embedded, wait_ready=False) as starting:
        problem = await starting.refused(headers=bearer(mint()))
        assert (problem.status, problem.code) == (503, "UNAVAILABLE")
        assert int(problem.retry_after or 0) >= 1
        starting.embedded.services.down = False
        await starting.gateway.wait_ready()
        assert await welcomed_user(starting, headers=bearer(mint())) == "alice"


async def test_acks_are_refused_and_an_unknown_session_is_not_resumed(gateway: RunningGateway) -> None:
    problem = await gateway.refused("acks=1", headers=bearer(mint()))
    assert (problem.status, problem.code) == (400, "INVALID_MESSAGE")
    async with await gateway.connect("alice", "session_id=somebody-elses&unknown=ignored") as client:
        assert client.welcome["resumed"] is False
        assert client.welcome["sessionId"] != "somebody-elses"


# What browsers get instead of an HTTP response.


@pytest.mark.parametrize(
    ("query", "headers", "origin", "code", "close_code"),
    [
        ("", {}, None, "UNAUTHENTICATED", 4501),
        ("", bearer(mint(seconds=-3600)), None, "TOKEN_EXPIRED", 4001),
        ("", bearer(mint()), "http://evil.example", "FORBIDDEN", 4503),
        ("&acks=1", bearer(mint()), None, "INVALID_MESSAGE", 4504),
        ("", bearer(mint("busy")), None, "RATE_LIMITED", 4029),
        ("", bearer(mint("late")), None, "OVERLOADED", 1013),
    ],
)
async def test_with_errors_frame_a_refusal_is_one_frame_and_its_close_code_and_costs_no_session(
    server: Server, query: str, headers: dict[str, str], origin: str | None, code: str, close_code: int
) -> None:
    limits = ConnectionSettings(max_per_user=1, on_excess="refuse", max_total=2 if code == "OVERLOADED" else None)
    async with (
        running_gateway(server, connections=limits) as gateway,
        await gateway.connect("busy") as first,
        await gateway.connect("other"),
    ):
        before = list(gateway.gateway.connections)
        socket = await open_socket(gateway.url(f"errors=frame{query}"), headers=headers, origin=origin)
        frame = json.loads(await socket.recv())
        assert frame["type"] == "error"
        assert frame["data"]["code"] == code
        assert ("retryAfter" in frame["data"]) == (code in {"RATE_LIMITED", "OVERLOADED"})
        assert isinstance(frame["timestamp"], int)
        with pytest.raises(ConnectionClosed) as closed:
            await socket.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == close_code
        # No session: nobody was replaced, nobody is present, nothing was opened.
        assert gateway.gateway.connections == before
        assert gateway.observer.counts["connection_opened", ""] == 2
        assert not await gateway.presence("alice")
        await first.nothing_came()


async def test_errors_frame_changes_nothing_for_who_is_welcome(shared_gateway: RunningGateway) -> None:
    async with await shared_gateway.connect("alice", "errors=frame") as client:
        await client.nothing_came()


async def test_a_refusal_as_frame_while_draining(server: Server) -> None:
    async with (
        running_gateway(server) as gateway,
        await gateway.connect() as client,
        anyio.create_task_group() as tasks,
    ):
        gateway.publisher.hold()
        await client.send_message()
        tasks.start_soon(gateway.gateway.drain)
        await client.expect("reconnect")
        socket = await open_socket(gateway.url("errors=frame"), headers=bearer(mint()))
        assert json.loads(await socket.recv())["data"]["code"] == "DRAINING"
        with pytest.raises(ConnectionClosed) as closed:
            await socket.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1012
        gateway.publisher.release()


# The welcome.


async def test_the_welcome_says_who_where_and_until_when(server: Server) -> None:
    exp = int(time.time()) + 300
    async with (
        running_gateway(server, connections=ConnectionSettings(ping_interval_seconds=7)) as gateway,
        await gateway.connect(token=mint("alice", exp=exp)) as client,
        await gateway.connect(token=mint("alice", exp=exp)) as second,
    ):
        welcome = client.welcome
        assert set(welcome) == {
            "connectionId", "gatewayId", "sessionId", "userId", "pingIntervalSeconds", "tokenExpiresAt", "resumed"
        }  # fmt: skip
        assert welcome["gatewayId"] == "gw-test"
        assert welcome["userId"] == "alice"
        assert welcome["pingIntervalSeconds"] == 7
        assert welcome["tokenExpiresAt"] == exp * 1000
        assert welcome["resumed"] is False
        ids = {w[name] for w in (welcome, second.welcome) for name in ("connectionId", "sessionId")}
        assert len(ids) == 4
        assert all(len(id_) >= 22 for id_ in ids), "128 bits at least"


@pytest.mark.usefixtures("_patient_presence")
async def test_presence_is_written_before_the_welcome(gateway: RunningGateway) -> None:
    gateway.store.hang()
    socket = await open_socket(gateway.url("device_id=phone&platform=ios"), headers=bearer(mint()))
    with pytest.raises(TimeoutError):
        with anyio.fail_after(0.2):
            await socket.recv()
    gateway.store.release()
    welcome = json.loads(await socket.recv())["data"]
    [record] = await gateway.presence()
    assert record.connection_id == welcome["connectionId"]
    assert (record.gateway_id, record.device_id, record.platform) == ("gw-test", "phone", "ios")
    assert abs(record.connected_at - time.time() * 1000) < 60_000
    assert record.expires_at > record.connected_at
    await socket.close()


async def test_without_a_session_store_clients_are_let_in_and_presence_follows(gateway: RunningGateway) -> None:
    gateway.store.down = True
    async with await gateway.connect() as client:
        assert not await gateway.presence()
        gateway.store.down = False
        with anyio.fail_after(PATIENCE_SECONDS):
            while not (records := await gateway.presence()):
                await anyio.sleep(0.01)
        assert [record.connection_id for record in records] == [client.welcome["connectionId"]]


async def test_what_was_sent_meanwhile_follows_the_welcome(gateway: RunningGateway) -> None:
    """A record that arrives between the upgrade and the welcome, and a client's frame sent before it."""
    gateway.store.hang()
    socket = await open_socket(gateway.url(), headers=bearer(mint()))
    await socket.send('{"type":"ping"}')
    record = {"target_user_id": "alice", "message_id": 1, "conversation_id": "c", "sender_id": "bob",
              "message_type": 1, "content": "early", "seq_id": 1, "timestamp": 1}  # fmt: skip
    await gateway.send_down(record)
    gateway.store.release()
    types = [json.loads(await socket.recv())["type"] for _ in range(3)]
    assert types[0] == "welcome"
    assert sorted(types[1:]) == ["new-message", "pong"]
    await socket.close()


@pytest.mark.parametrize(
    "query", [f"device_id={'x' * 129}", "device_id=a%0Ab", f"platform={'x' * 129}", "&".join("x=1" for _ in range(100))]
)
async def test_a_senseless_query_is_400(shared_gateway: RunningGateway, query: str) -> None:
    problem = await shared_gateway.refused(query, headers=bearer(mint()))
    assert (problem.status, problem.code) == (400, "INVALID_MESSAGE")


async def test_a_plain_request_is_told_to_upgrade(shared_gateway: RunningGateway) -> None:
    async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE_SECONDS) as http:
        response = await http.get(shared_gateway.http_url("/ws"), params={"token": mint()})
    assert response.status_code == 426
    assert response.headers["upgrade"] == "websocket"
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["status"] == 426


async def test_another_path_is_no_websocket(shared_gateway: RunningGateway) -> None:
    response = await refusal(f"ws://{shared_gateway.address}/other", headers=bearer(mint()))
    assert response.status_code in {403, 404}
