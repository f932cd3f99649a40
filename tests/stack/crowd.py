"""A crowd of clients that come back whenever they are sent away, and say again what was not acknowledged."""

import asyncio
import json
import random
from typing import Any

from tests.e2e.light_client import LightClient
from tests.e2e.running_gateway import mint
from tests.stack.ledger import Ledger


class Person:
    """One user with one device, somewhere on one of the gateways.

    Attributes:
        place: gateway id and connection id while welcomed, else None.
    """

    def __init__(self, number: int, ports: list[int], ledger: Ledger) -> None:
        self.user_id = f"user-{number}"
        self.place: tuple[str, str] | None = None
        self._ports = ports
        self._home = ports[number % len(ports)]
        self._ledger = ledger
        self._client: LightClient | None = None
        self._unacked: dict[str, bytes] = {}
        self._serial = 0
        self._leaving = False

    async def live(self) -> None:
        """Connect, and again after every ending, until `leave`."""
        port = self._home
        while not self._leaving:
            try:
                self._client = await LightClient.connect("127.0.0.1", port, mint(self.user_id), self._on_text)
                await self._client.upgraded
                await self._client.closed
            except OSError:
                await asyncio.sleep(random.uniform(0.1, 0.5))
            self.place = None
            # The other gateway may be the one that is there.
            port = random.choice(self._ports)

    def leave(self) -> None:
        """Close politely, and stay away."""
        self._leaving = True
        if self._client is not None:
            self._client.close()

    def say_something(self) -> None:
        """Send a message in one of the person's two conversations; it is said again until it is acknowledged."""
        self._serial += 1
        conversation = f"{self.user_id}/{self._serial % 2}"
        message_id = f"{self.user_id}#{self._serial}"
        data = {
            "conversationId": conversation, "content": f"content of {message_id}", "messageType": 1,
            "client_msg_id": message_id,
        }  # fmt: skip
        payload = json.dumps({"type": "send-message", "data": data}).encode()
        self._ledger.sent[self.user_id, conversation].append(message_id)
        self._unacked[message_id] = payload
        if self.place is not None and self._client is not None:
            self._client.send_text(payload)

    def repeat_unacked(self) -> None:
        """Say again what nobody has answered."""
        if self.place is not None and self._client is not None:
            for payload in self._unacked.values():
                self._client.send_text(payload)

    def _on_text(self, text: bytes) -> None:
        frame = json.loads(text)
        data: dict[str, Any] = frame["data"]
        if frame["type"] == "new-message":
            message = data["id"], data["conversationId"], data["seqId"], data.get("redelivered", False)
            self._ledger.received[self.user_id].append(message)
        elif frame["type"] == "message-ack":
            message_id = data["client_msg_id"]
            self._unacked.pop(message_id, None)
            self._ledger.acked.setdefault(message_id, (data["topic"], data["partition"], data["offset"]))
        elif frame["type"] == "welcome":
            self.place = data["gatewayId"], data["connectionId"]
            self.repeat_unacked()


class Crowd:
    """Many people."""

    def __init__(self, count: int, ports: list[int], ledger: Ledger) -> None:
        self.people = [Person(number, ports, ledger) for number in range(count)]

    def places(self) -> dict[str, tuple[str, str] | None]:
        """Who is where."""
        return {person.user_id: person.place for person in self.people}

    def all_there(self) -> bool:
        """Whether everyone is welcomed."""
        return all(person.place is not None for person in self.people)
