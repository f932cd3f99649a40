"""A client that keeps its connection, its messages and its place. See docs/how-to/write-a-client.md.

python examples/client.py ws://127.0.0.1:8080/ws "$TOKEN"
"""

import asyncio
import json
import random
import sys
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.http11 import Response
from websockets.typing import Subprotocol

FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 30.0

Data = Mapping[str, Any]

_BROKEN_OFF = {"error": {"code": "UNAVAILABLE", "message": "The connection ended: the outcome is unknown."}}


class CallError(Exception):
    """A call has no result. `code` says why."""

    def __init__(self, error: Data) -> None:
        super().__init__(f"{error['code']}: {error['message']}")
        self.code = str(error["code"])


class ChatClient:
    """One user's connection to a gateway, made again whenever that is advised.

    Args:
        url: the gateway's WebSocket.
        token: gives a token that holds; asked before every connect.
        on_message: is given every message once and, within a conversation, in order.
        pull: asks the back end for the messages of a conversation behind a `seqId`, in order.
    """

    def __init__(
        self,
        url: str,
        token: Callable[[], Awaitable[str]],
        on_message: Callable[[Data], None],
        pull: Callable[[str, int], Awaitable[list[Data]]],
    ) -> None:
        self._url = url
        self._token = token
        self._on_message = on_message
        self._pull = pull
        self._socket: ClientConnection | None = None
        self._unanswered: dict[str, str] = {}
        self._calls: dict[str, asyncio.Future[Data]] = {}
        self._seen: dict[str, int] = {}
        self._pause = FIRST_PAUSE_SECONDS
        self._come_back_after = 0.0

    async def send(self, conversation_id: str, content: str) -> str:
        """Send a message, now or with the next connection; its `client_msg_id`."""
        client_msg_id = uuid.uuid4().hex
        data = {"conversationId": conversation_id, "content": content, "messageType": 1, "client_msg_id": client_msg_id}
        self._unanswered[client_msg_id] = _frame("send-message", data)
        await self._offer(client_msg_id)
        return client_msg_id

    async def call(self, kind: str, data: Data) -> Any:
        """The result of the back end's method that answers frames of type `kind`.

        Raises:
            CallError: it was refused; or the connection ended first, and nobody knows whether it was done.
        """
        client_msg_id = uuid.uuid4().hex
        answer = self._calls[client_msg_id] = asyncio.get_running_loop().create_future()
        try:
            if self._socket is None:
                raise CallError(_BROKEN_OFF["error"])
            with suppress(ConnectionClosed):  # then `run` finds it closed as well
                await self._socket.send(_frame(kind, {**data, "client_msg_id": client_msg_id}))
            reply = await answer
        finally:
            del self._calls[client_msg_id]
        if "error" in reply:
            raise CallError(reply["error"])
        return reply["result"]

    @property
    def unanswered(self) -> int:
        """How many messages were neither acknowledged nor refused."""
        return len(self._unanswered)

    async def run(self) -> str:
        """Stay connected until the gateway ends it for good; why it did."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                self._come_back_after = 0.0
                why = await self._connected_once(tasks)
                self._socket = None
                for client_msg_id in self._calls:
                    self._replied({"client_msg_id": client_msg_id, **_BROKEN_OFF})
                if why is not None:
                    return why
                # The gateway's wish, or a pause that doubles; at random, so that a crowd does not come back in step.
                await asyncio.sleep(max(self._come_back_after, self._pause * random.random()))
                self._pause = min(2 * self._pause, LONGEST_PAUSE_SECONDS)

    async def _connected_once(self, tasks: asyncio.TaskGroup) -> str | None:
        """Connect and listen until the connection ends; why not to come back, or None."""
        headers = {"Authorization": f"Bearer {await self._token()}"}
        subprotocols = [Subprotocol("imgateway.json.v1")]
        try:
            async with connect(self._url, additional_headers=headers, subprotocols=subprotocols) as socket:
                await self._listen(socket, tasks)
        except InvalidStatus as refused:
            status, code = refused.response.status_code, _code_of(refused.response)
            if status < 500 and status != 429 and code != "TOKEN_EXPIRED":
                return f"refused with {status} {code}"
            self._come_back_after = float(refused.response.headers.get("Retry-After", 0))
        except ConnectionClosed as closed:
            close_code = closed.rcvd.code if closed.rcvd else 1006
            if not (4000 <= close_code <= 4499 or close_code in (1001, 1006, 1012, 1013)):
                return f"closed with {close_code}"
        except (OSError, TimeoutError):
            pass  # nobody there: try again
        return None

    async def _listen(self, socket: ClientConnection, tasks: asyncio.TaskGroup) -> None:
        while True:
            frame = json.loads(await socket.recv())
            data = frame["data"]
            match frame["type"]:
                case "welcome":
                    self._pause = FIRST_PAUSE_SECONDS
                    self._socket = socket
                    for client_msg_id in list(self._unanswered):
                        await self._offer(client_msg_id)
                    for conversation_id in list(self._seen):
                        await self._catch_up(conversation_id)
                case "message-ack":
                    self._unanswered.pop(data["client_msg_id"], None)
                case "reply":
                    self._replied(data)
                case "error":
                    self._refused(data, tasks)
                case "new-message":
                    await self._arrived(data)
                case "reconnect":
                    self._come_back_after = data["afterMs"] / 1000

    async def _offer(self, client_msg_id: str) -> None:
        if self._socket is not None and client_msg_id in self._unanswered:
            try:
                await self._socket.send(self._unanswered[client_msg_id])
            except ConnectionClosed:
                self._socket = None  # it stays unanswered: the next connection takes it along

    def _refused(self, error: Data, tasks: asyncio.TaskGroup) -> None:
        client_msg_id = error.get("client_msg_id")
        self._replied({"client_msg_id": client_msg_id, "error": error})  # where it is about a call
        if client_msg_id in self._unanswered:
            if error["code"] == "UNAVAILABLE":
                tasks.create_task(self._offer_again(client_msg_id, error.get("retryAfter", 1)))
            elif error["code"] != "DRAINING":
                del self._unanswered[client_msg_id]  # it would be refused again

    async def _offer_again(self, client_msg_id: str, seconds: float) -> None:
        """By the same id: if the first attempt was written after all, the answer is `duplicate`."""
        await asyncio.sleep(seconds)
        await self._offer(client_msg_id)

    def _replied(self, reply: Data) -> None:
        answer = self._calls.get(reply.get("client_msg_id", ""))
        if answer is not None and not answer.done():
            answer.set_result(reply)

    async def _arrived(self, message: Data) -> None:
        conversation_id, seq_id = message["conversationId"], message["seqId"]
        if seq_id > self._seen.setdefault(conversation_id, seq_id - 1) + 1:
            await self._catch_up(conversation_id)
        self._take(message)

    async def _catch_up(self, conversation_id: str) -> None:
        for message in await self._pull(conversation_id, self._seen[conversation_id]):
            self._take(message)

    def _take(self, message: Data) -> None:
        if message["seqId"] > self._seen[message["conversationId"]]:  # else it is a repeat
            self._seen[message["conversationId"]] = message["seqId"]
            self._on_message(message)


def _frame(kind: str, data: Data) -> str:
    return json.dumps({"type": kind, "data": data, "timestamp": time.time_ns() // 1_000_000})


def _code_of(response: Response) -> str:
    if response.headers.get("Content-Type") != "application/problem+json":
        return ""
    return str(json.loads(response.body or b"{}").get("code", ""))


async def main(url: str, token: str) -> None:
    """Say hello, and print what comes."""

    async def same_token() -> str:
        return token

    async def nothing_to_pull(conversation_id: str, after: int) -> list[Data]:
        return []

    client = ChatClient(url, same_token, lambda message: print(json.dumps(message)), nothing_to_pull)
    await client.send("lobby", "hello from Python")
    print(await client.run())


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
