"""A chat service in one process: the gateway, and a small back end behind it on the memory ports.

IMGATEWAY_AUTH__SECRET holds the secret of the tokens. See docs/tutorial/first-chat.md and docs/how-to/embed.md.
"""

import itertools
import json
import os
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import anyio
import uvicorn
from anyio.abc import TaskStatus
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from imgateway import Settings
from imgateway.adapters.jwt import JwtAuthenticator
from imgateway.adapters.memory import Embedded, MemoryConsumer
from imgateway.adapters.starlette import gateway_routes
from imgateway.adapters.uvicorn import GatewayHttpProtocol, GatewayWebSocketProtocol
from imgateway.core.settings_loading import load
from imgateway.model import OutgoingRecord, UserId


class BackEnd:
    """Numbers the messages of each conversation and sends them to everyone who ever wrote there."""

    def __init__(self, embedded: Embedded) -> None:
        self.embedded = embedded
        self._members: defaultdict[str, set[str]] = defaultdict(set)
        self._seq_ids: defaultdict[str, Iterable[int]] = defaultdict(lambda: itertools.count(1))
        self._message_ids = itertools.count(time.time_ns())

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Read what clients write, until cancelled."""
        consumer = MemoryConsumer(self.embedded.broker, self.embedded.topics.upstream, "back-end")
        await consumer.start()
        task_status.started()
        while True:
            records = await consumer.take()
            for record in records:
                message = json.loads(record.value)
                if message["kind"] == "send-message":
                    members = self._members[message["conversation_id"]]
                    members.add(message["user_id"])
                    await self.send(members, message["user_id"], message)
            await consumer.commit({record.partition: record.offset + 1 for record in records})

    async def send(self, users: Iterable[str], sender: str, message: Mapping[str, Any]) -> None:
        """Give the message its place in its conversation, and hand it to the gateways where its readers are."""
        conversation_id = message["conversation_id"]
        record = {
            "message_id": next(self._message_ids),
            "conversation_id": conversation_id,
            "sender_id": sender,
            "message_type": message.get("message_type", 1),
            "content": message["content"],
            "seq_id": next(iter(self._seq_ids[conversation_id])),
            "client_msg_id": message.get("client_msg_id"),
            "timestamp": time.time_ns() // 1_000_000,
        }
        targets = defaultdict(list)
        for user_id in users:
            for session in (await self.embedded.sessions.lookup(UserId(user_id)))[:1]:
                targets[session.gateway_id].append(user_id)
        for gateway_id, user_ids in targets.items():
            value = json.dumps({"target_user_ids": user_ids, **record}).encode()
            topic = self.embedded.topics.downstream(gateway_id)
            self.embedded.broker.append(OutgoingRecord(topic, conversation_id.encode(), value))


def chat_app(settings: Settings) -> Starlette:
    """The service as an application: the gateway's routes, and `POST /announce` for the operator."""
    embedded = Embedded()
    back_end = BackEnd(embedded)
    gateway = embedded.gateway(JwtAuthenticator.from_settings(settings.auth), settings)

    async def announce(request: Request) -> Response:
        order = await request.json()
        await back_end.send(order["to"], "operator", {"conversation_id": "news", "content": order["text"]})
        return JSONResponse({"sent": True})

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with anyio.create_task_group() as tasks:
            await tasks.start(back_end.run)
            async with gateway:
                yield
                await gateway.drain()
            tasks.cancel_scope.cancel()

    return Starlette(
        routes=[Route("/announce", announce, methods=["POST"]), *gateway_routes(gateway)], lifespan=lifespan
    )


if __name__ == "__main__":
    settings = load(None, os.environ, {}).settings
    uvicorn.run(
        chat_app(settings),
        port=settings.server.port,
        ws=GatewayWebSocketProtocol,
        http=GatewayHttpProtocol,
        ws_max_size=settings.server.max_frame_bytes,
    )
