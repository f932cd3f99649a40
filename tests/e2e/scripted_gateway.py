"""A scripted gateway and back end for the demo's page: what it is answered is what the test says."""

import json
import re
import time
from collections.abc import Callable
from importlib.resources import files
from typing import Any
from urllib.parse import parse_qs

import attrs
from playwright.sync_api import Locator, Page, Route, WebSocketRoute
from tests.e2e.browser import PATIENCE_SECONDS

from imgateway.adapters.starlette.static_page import POLICY

ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync")
URL = "http://demo.test/"
MEDIA_TYPES = {"html": "text/html", "js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}
HOUR_MS = 3_600_000

AFTER_1 = "start_seq_id=2&ascending=true&limit=100"

Frame = dict[str, Any]


@attrs.define(eq=False, slots=False)  # Playwright marks the owner of a bound method
class Gateway:
    """Gateway and back end as the test tells them to be.

    Attributes:
        welcomes: whether a new connection is welcomed at once.
        acks: whether messages are acknowledged at once.
        history: what the back end answers for the lobby.
        holds_list: whether the answer to a request for the list is held back, as `held`.
        listed: how often the list was told; the page asks for it only once it says that it is online.
        epoch: when the lobby was made; changes when the back end loses its memory.
        title: what the lobby is called.
        refuses: the status that the next call of each method of AuthService gets.
        people: who is there, all of them online.
    """

    page: Page
    welcomes: bool = True
    acks: bool = True
    history: list[Frame] = attrs.field(factory=list)
    holds_list: bool = False
    listed: int = 0
    epoch: str = "1700000000000"
    title: str = "Lobby"
    people: list[str] = attrs.field(factory=lambda: ["alice"])
    held: list[Callable[[], None]] = attrs.field(factory=list)
    sockets: list[WebSocketRoute] = attrs.field(factory=list)
    received: list[tuple[str, Frame]] = attrs.field(factory=list)
    logins: int = 0
    refuses: dict[str, int] = attrs.field(factory=dict)
    auth: list[str] = attrs.field(factory=list)
    pulled: list[str] = attrs.field(factory=list)
    complaints: list[str] = attrs.field(factory=list)

    def begin(self, password: str = "") -> None:
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.route("**/*", self._serve)
        self.page.route_web_socket(re.compile("/ws"), self._connected)
        self.page.goto(URL)
        self.page.get_by_label("Your name").fill("Alice")
        self.page.get_by_label("Password").fill(password)
        self.page.get_by_label("Your name").press("Enter")

    def send(self, type_: str, data: Frame) -> None:
        self.sockets[-1].send(json.dumps({"type": type_, "data": data, "timestamp": 0}))

    def close(self, code: int) -> None:
        self.sockets[-1].close(code=code)

    def of_type(self, type_: str) -> list[Frame]:
        return [data for received, data in self.received if received == type_]

    def until(self, condition: Callable[[], bool]) -> None:
        """Let the page and this script go on until the condition holds."""
        end = time.monotonic() + PATIENCE_SECONDS
        while not condition():
            assert time.monotonic() < end
            self.page.evaluate(
                "new Promise(done => { const {port1, port2} = new MessageChannel(); port1.onmessage = done;"
                " port2.postMessage(0); })"
            )

    def _connected(self, socket: WebSocketRoute) -> None:
        self.sockets.append(socket)
        socket.on_message(self._receive)
        if self.welcomes:
            now = int(time.time() * 1000)
            data = {"userId": "alice", "tokenExpiresAt": now + HOUR_MS}
            socket.send(json.dumps({"type": "welcome", "data": data, "timestamp": now}))

    def _receive(self, text: str | bytes) -> None:
        frame = json.loads(text)
        self.received.append((frame["type"], frame["data"]))
        if self.acks and frame["type"] == "send-message":
            self.ack(frame["data"])

    def ack(self, message: Frame) -> None:
        receipt = {"status": "accepted", "topic": "t", "partition": 0, "offset": 0}
        self.send("message-ack", {"client_msg_id": message["client_msg_id"], **receipt})

    def _serve(self, route: Route) -> None:
        path, _, query = route.request.url.removeprefix(URL).partition("?")
        newest = max(self.history, key=lambda frame: frame["seqId"], default=None)
        if path.startswith("api/auth/"):
            self.auth.append(path.removeprefix("api/auth/"))
            if self.auth[-1] in self.refuses:
                status = self.refuses.pop(self.auth[-1])
                route.fulfill(status=status, json={"status": status, "detail": "No."})
                return
            self.logins += 1
            expires_in = str(int(time.time()) + HOUR_MS // 1000)
            tokens = {"accessToken": f"t{self.logins}", "refreshToken": f"r{self.logins}", "expiresIn": expires_in}
            user = {"user": {"id": "alice", "username": "Alice"}} if path != "api/auth/refresh" else {}
            route.fulfill(json=tokens | user)
        elif path == "api/conversations":
            lobby = {"id": "world", "type": "CONVERSATION_TYPE_WORLD", "name": self.title, "createdAt": self.epoch}
            last = {} if newest is None else {"lastMessage": as_told(newest)}
            answer = {"conversations": [lobby | last], "total": "1", "page": 1, "pageSize": 100}
            if self.holds_list:
                self.held.append(lambda: route.fulfill(json=answer))
            else:
                self.listed += 1
                route.fulfill(json=answer)
        elif path == "api/conversations:readMarks":
            route.fulfill(json={})
        elif path == "api/conversations/world/members":
            route.fulfill(json={"members": [{"user": {"id": each, "username": each.title()}} for each in self.people]})
        elif path == "api/conversations/world/online":
            route.fulfill(json={"userIds": self.people})
        elif path == "api/conversations/world/messages":
            self.pulled.append(query)
            start = int(parse_qs(query)["start_seq_id"][0])
            route.fulfill(json={"messages": [as_told(each) for each in self.history if each["seqId"] >= start]})
        else:
            name = path.removeprefix("demo/") or "index.html"
            body = files("imgateway_cli.demo").joinpath("page", name).read_bytes()
            headers = {"Content-Security-Policy": POLICY, "Content-Type": MEDIA_TYPES[name.rpartition(".")[2]]}
            route.fulfill(body=body, headers=headers)

    # What the page shows.

    @property
    def status(self) -> Locator:
        return self.page.get_by_role("status")

    @property
    def contents(self) -> Locator:
        return self.page.locator(".message .content")

    def say(self, text: str) -> None:
        draft = self.page.get_by_role("textbox", name="Message")
        draft.fill(text)
        draft.press("Enter")

    def tick(self, label: str) -> Locator:
        return self.page.locator(".message").get_by_role("img", name=label, exact=True)


def as_told(frame: Frame) -> Frame:
    """A message as the HTTP API tells it: 64-bit numbers are text."""
    return {
        "id": frame["id"], "conversationId": "world", "sender": frame["sender"], "type": "MESSAGE_TYPE_TEXT",
        "content": frame["content"], "seqId": str(frame["seqId"]), "createdAt": str(frame["createdAt"]),
    }  # fmt: skip


def message(seq_id: int, content: str = "", **more: object) -> Frame:
    return {
        "id": str(2**60 + seq_id), "conversationId": "world", "sender": {"id": "bob", "username": "Bob"},
        "content": content or f"n{seq_id}", "messageType": 1, "seqId": seq_id, "createdAt": 1_700_000_000_000, **more,
    }  # fmt: skip
