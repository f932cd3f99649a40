"""The WebSocket endpoint on an ASGI server that offers nothing of its own."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import attrs
import pytest
from tests.asgi import Channel, websocket_scope
from tests.gateways import World, eventually, message, new_gateway, quiet, running_world, settings

from imgateway.adapters.starlette.endpoint import WebSocketEndpoint
from imgateway.codes import TABLE, Code
from imgateway.core.settings import ServerSettings

pytestmark = pytest.mark.anyio


@attrs.define(eq=False)
class Site:
    """A gateway behind its endpoint."""

    world: World
    endpoint: WebSocketEndpoint
    tasks: Any

    def visit(self, channel: Channel, query: str = "token=ann", **how: Any) -> None:
        """A client asks for an upgrade."""
        self.tasks.start_soon(self.endpoint, websocket_scope(query, **how), channel.receive, channel.send)

    async def welcomed(self, query: str = "token=ann", **how: Any) -> Channel:
        """A client that got its welcome."""
        channel = Channel()
        self.visit(channel, query, **how)
        await eventually(lambda: channel.texts)
        assert json.loads(channel.texts[0])["type"] == "welcome"
        return channel


@asynccontextmanager
async def open_site(*, server: ServerSettings | None = None, **connections: Any) -> AsyncIterator[Site]:
    chosen = attrs.evolve(settings(**connections), server=server or ServerSettings())
    async with running_world() as world, new_gateway(world, chosen) as gateway:
        await gateway.wait_ready()
        async with anyio.create_task_group() as tasks:
            yield Site(world, WebSocketEndpoint(gateway), tasks)
            tasks.cancel_scope.cancel()
        assert gateway.connections == []


async def test_messages_go_up_and_come_down() -> None:
    async with open_site() as site:
        ann = await site.welcomed(subprotocols=["imgateway.json.v1"])
        assert ann.sent[0] == {"type": "websocket.accept", "subprotocol": "imgateway.json.v1"}
        data = {"conversationId": "c", "content": "你好", "messageType": 1, "client_msg_id": "m"}
        ann.text(json.dumps({"type": "send-message", "data": data}))
        await eventually(lambda: len(ann.texts) == 2)
        assert json.loads(ann.texts[1])["data"]["status"] == "accepted"
        site.world.write_downstream(message("ann", content="再见"))
        await eventually(lambda: len(ann.texts) == 3)
        assert json.loads(ann.texts[2])["data"]["content"] == "再见"
        ann.leave()
        await eventually(lambda: not site.world.observer.connections)
        await quiet()
        assert await site.world.online("ann") == []


async def test_a_refusal_is_a_problem_before_the_upgrade() -> None:
    async with open_site() as site:
        channel = Channel()
        site.visit(channel, "token=bad")
        await eventually(lambda: len(channel.sent) == 2)
        start, body = channel.sent
        assert (start["type"], start["status"]) == ("websocket.http.response.start", 401)
        headers = dict(start["headers"])
        assert headers[b"content-type"] == b"application/problem+json"
        assert headers[b"www-authenticate"] == b"Bearer"
        problem = json.loads(body["body"])
        assert problem == {
            "type": "about:blank",
            "title": TABLE[Code.UNAUTHENTICATED].title,
            "status": 401,
            "detail": "no",
            "code": "UNAUTHENTICATED",
        }


async def test_a_server_that_can_not_answer_with_a_response_gets_a_close() -> None:
    async with open_site() as site:
        channel = Channel()
        site.visit(channel, "token=bad", denial=False)
        await eventually(lambda: channel.sent)
        await quiet()
        assert channel.sent == [{"type": "websocket.close", "code": TABLE[Code.UNAUTHENTICATED].close_code}]


@pytest.mark.parametrize("denial", [True, False])
async def test_a_refusal_as_frame_is_one_frame_and_its_close_code(denial: bool) -> None:
    async with open_site(max_total=1) as site:
        await site.welcomed()
        channel = Channel()
        site.visit(channel, "errors=frame&token=ann", denial=denial)
        await eventually(lambda: channel.closed)
        accept, frame, close = channel.sent
        assert accept["type"] == "websocket.accept"
        error = json.loads(frame["text"])
        assert error["type"] == "error"
        assert (error["data"]["code"], error["data"]["retryAfter"]) == ("OVERLOADED", 1)
        assert close["code"] == TABLE[Code.OVERLOADED].close_code
        assert site.world.observer.connections == 1


@pytest.mark.parametrize(
    ("origin", "status"), [(None, None), ("http://h", None), ("http://evil.example", 403), ("null", 403)]
)
async def test_pages_of_other_origins_are_refused_before_their_token_is_looked_at(
    origin: str | None, status: int | None
) -> None:
    async with open_site() as site:
        headers = [("host", "h"), *([("origin", origin)] if origin else [])]
        if status is None:
            await site.welcomed(headers=headers)
            return
        channel = Channel()
        site.visit(channel, "token=bad", headers=headers)
        await eventually(lambda: channel.sent)
        assert channel.sent[0]["status"] == status
        assert site.world.observer.counts["connect_decided", "FORBIDDEN"] == 1


async def test_a_senseless_request_is_refused_and_counted() -> None:
    async with open_site() as site:
        channel = Channel()
        site.visit(channel, "token=ann&acks=1")
        await eventually(lambda: channel.sent)
        assert channel.sent[0]["status"] == 400
        assert site.world.observer.counts["connect_decided", "INVALID_MESSAGE"] == 1


async def test_limits_are_by_the_address_that_trusted_proxies_vouch_for() -> None:
    server = ServerSettings(trusted_proxies=("10.0.0.0/8",))
    async with open_site(server=server, max_per_ip=1, max_per_user=9) as site:

        async def status(*lines: str, peer: str = "10.0.0.1") -> int:
            channel = Channel()
            headers = [("x-forwarded-for", line) for line in lines]
            site.visit(channel, headers=headers, client=(peer, 1))
            await eventually(lambda: channel.sent)
            return int(channel.sent[0].get("status", 101))

        assert await status("198.51.100.1") == 101
        assert await status("6.6.6.6, 198.51.100.1") == 429
        assert await status("6.6.6.6", "198.51.100.1") == 429
        assert await status("6.6.6.6", "198.51.100.1, 10.2.2.2") == 429
        assert await status("198.51.100.1", "198.51.100.2") == 101
        assert await status("198.51.100.3", peer="203.0.113.1") == 101
        assert await status("198.51.100.4", peer="203.0.113.1") == 429


async def test_the_token_has_left_the_scope_before_anything_is_answered() -> None:
    async with open_site() as site:
        scope = websocket_scope("token=ann-canary")
        seen: list[bytes] = []

        async def send(_: Any) -> None:
            seen.append(scope["query_string"])

        channel = Channel()
        site.tasks.start_soon(site.endpoint, scope, channel.receive, send)
        await eventually(lambda: seen)
        assert not any(b"canary" in query for query in seen)


async def test_a_client_that_leaves_during_the_upgrade_gives_its_place_back() -> None:
    async with open_site(max_total=1) as site:
        channel = Channel(gone=OSError("gone"))
        scope = websocket_scope("token=ann")
        with pytest.raises(OSError, match="gone"):
            await site.endpoint(scope, channel.receive, channel.send)
        await site.welcomed()


async def test_an_upgrade_that_is_cancelled_before_the_welcome_leaves_nothing_behind() -> None:
    async with open_site(max_total=1) as site:
        site.world.sessions.hang()
        channel = Channel()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(site.endpoint, websocket_scope("token=ann"), channel.receive, channel.send)
            await eventually(lambda: site.world.observer.connections)
            await quiet()
            tasks.cancel_scope.cancel()
        assert site.world.observer.connections == 0
        site.world.sessions.release()
        await site.welcomed()


async def test_a_connection_is_closed_with_its_code_on_this_path_as_well() -> None:
    async with open_site() as site:
        ann = await site.welcomed()
        ann.arrive(type="websocket.receive", bytes=b"\x00")
        await eventually(lambda: ann.closed)
        assert ann.closed is not None
        assert ann.closed["code"] == 1003
        ann.leave(1003)
        await eventually(lambda: not site.world.observer.connections)


async def test_what_was_sent_before_a_close_counts_as_delivered() -> None:
    async with open_site(max_per_user=1) as site:
        ann = await site.welcomed()
        ann.gate = gate = anyio.Event()
        site.world.write_downstream(message("ann"))
        await quiet()
        site.visit(Channel())
        await quiet()
        gate.set()
        await eventually(lambda: ann.closed)
        assert len(ann.texts) == 2
        ann.leave(4509)
        await eventually(lambda: site.world.committed() == 1)
        assert site.world.undelivered() == []
