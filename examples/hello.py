"""The first client of docs/tutorial/first-chat.md. IMGATEWAY_TOKEN holds the token."""

import asyncio
import json
import os
import uuid

from websockets.asyncio.client import connect


async def main() -> None:
    """Send one message, and print what comes for it."""
    headers = {"Authorization": f"Bearer {os.environ['IMGATEWAY_TOKEN']}"}
    async with connect("ws://127.0.0.1:8080/ws", additional_headers=headers) as socket:
        print(await socket.recv())  # welcome
        data = {
            "conversationId": "lobby",
            "content": "hello from Python",
            "messageType": 1,
            "client_msg_id": uuid.uuid4().hex,
        }
        await socket.send(json.dumps({"type": "send-message", "data": data}))
        print(await socket.recv())  # message-ack
        print(await socket.recv())  # new-message


if __name__ == "__main__":
    asyncio.run(main())
