"""The demo's page against a scripted gateway: endings, refusals, silence, holes. A real Chromium, a turned clock."""

import json
import re
import time
from collections.abc import Callable, Iterator
from importlib.resources import files
from typing import Any
from urllib.parse import parse_qs

import attrs
import pytest
from playwright.sync_api import Browser, Locator, Page, Route, WebSocketRoute, expect, sync_playwright

from imgateway.core.settings import ConnectionSettings
from imgateway_cli.demo.page import POLICY

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync")
URL = "http://demo.test/"
PATIENCE_SECONDS = 20
MEDIA_TYPES = {"html": "text/html", "js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}
HOUR_MS = 3_600_000

expect.set_options(timeout=PATIENCE_SECONDS * 1000)

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


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def gateway(chromium: Browser) -> Iterator[Gateway]:
    with chromium.new_context() as context:
        page = context.new_page()
        page.clock.install()
        scripted = Gateway(page)
        yield scripted
        assert scripted.complaints == []


@pytest.mark.parametrize("code", [4000, 4008, 4029, 4499, 1001, 1012, 1013])
def test_after_these_endings_it_comes_back(gateway: Gateway, code: int) -> None:
    gateway.begin()
    expect(gateway.status).to_have_text("Online")
    gateway.close(code)
    gateway.until(lambda: len(gateway.sockets) == 2)
    expect(gateway.status).to_have_text("Online")
    assert gateway.logins == 1


def test_while_it_is_away_nobodys_presence_is_known(gateway: Gateway) -> None:
    gateway.people = ["alice", "bob"]
    gateway.begin()
    subtitle, bob = gateway.page.locator("#chat-subtitle"), gateway.page.locator(".conversation", has_text="Bob")
    expect(subtitle).to_have_text("2 people, 2 online")
    expect(bob).to_contain_text("Online")
    gateway.welcomes = False
    gateway.close(1012)
    expect(subtitle).to_have_text("2 people")
    expect(bob).to_contain_text("Presence unknown")
    expect(bob.locator(".avatar[data-online]")).to_have_count(0)
    gateway.welcomes = True
    gateway.until(lambda: len(gateway.sockets) == 2)
    gateway.close(1012)
    expect(subtitle).to_have_text("2 people, 2 online")
    expect(bob).to_contain_text("Online")


@pytest.mark.parametrize("code", [1002, 1003, 1007, 1009, 4500, 4503, 4504, 4509, 4510, 4999])
def test_after_these_endings_it_stays_away_until_asked(gateway: Gateway, code: int) -> None:
    gateway.begin()
    expect(gateway.status).to_have_text("Online")
    gateway.close(code)
    expect(gateway.status).to_have_text("Offline")
    gateway.page.clock.run_for(600_000)
    expect(gateway.status).to_have_text("Offline")
    assert len(gateway.sockets) == 1
    gateway.page.get_by_role("button", name="Connect again").click()
    expect(gateway.status).to_have_text("Online")


@pytest.mark.parametrize("code", [4001, 4501])
def test_a_token_that_no_longer_counts_is_replaced(gateway: Gateway, code: int) -> None:
    gateway.begin()
    expect(gateway.status).to_have_text("Online")
    gateway.close(code)
    gateway.until(lambda: len(gateway.sockets) == 2)
    expect(gateway.status).to_have_text("Online")
    assert gateway.auth == ["guest", "refresh"]


def test_a_guest_whose_session_is_forgotten_comes_as_the_same_guest(gateway: Gateway) -> None:
    gateway.begin()
    expect(gateway.status).to_have_text("Online")
    gateway.refuses = {"refresh": 401}
    with gateway.page.expect_request("**/api/auth/guest") as again:
        gateway.close(4001)
    assert json.loads(again.value.post_data or "")["clientInfo"]["deviceId"].endswith(" alice")
    gateway.until(lambda: len(gateway.sockets) == 2)
    assert gateway.auth == ["guest", "refresh", "guest"]


def test_with_a_password_a_name_is_registered_unless_it_is(gateway: Gateway) -> None:
    gateway.refuses = {"login": 401}
    gateway.begin("correct horse")
    expect(gateway.status).to_have_text("Online")
    assert gateway.auth == ["login", "register", "login"]
    gateway.refuses = {"refresh": 401}
    gateway.close(4001)
    expect(gateway.page.get_by_text("Your session has ended.")).to_be_visible()
    gateway.page.get_by_role("button", name="Leave the chat").click()
    expect(gateway.page.get_by_label("Your name")).to_be_visible()
    gateway.until(lambda: gateway.auth[-1] == "logout")


def test_a_wrong_password_is_told(gateway: Gateway) -> None:
    gateway.refuses = {"login": 401, "register": 409}
    gateway.begin("wrong horse")
    expect(gateway.page.get_by_role("alert")).to_contain_text("Somebody else has this name, or the password is wrong.")
    assert gateway.sockets == []


def test_what_it_takes_for_the_longest_message_is_the_gateways_default(gateway: Gateway) -> None:
    gateway.begin()
    limit = gateway.page.locator("meta[name=max-content-bytes]").get_attribute("content")
    assert limit == str(ConnectionSettings().max_content_bytes)


def test_it_gives_up_when_no_token_is_good_enough(gateway: Gateway) -> None:
    gateway.welcomes = False
    gateway.begin()
    for number in range(1, 4):
        gateway.until(lambda number=number: len(gateway.sockets) == number)  # type: ignore[misc]  # binds the number
        gateway.send("error", {"code": "UNAUTHENTICATED", "message": "no", "details": ""})
        gateway.close(4501)
    expect(gateway.status).to_have_text("Offline")
    expect(gateway.page.get_by_text("does not accept your sign-in")).to_be_visible()


def test_the_waiting_time_doubles_up_to_its_cap(gateway: Gateway) -> None:
    gateway.page.add_init_script("Math.random = () => 0.999")
    gateway.begin()
    expect(gateway.status).to_have_text("Online")
    gateway.page.clock.pause_at(gateway.page.evaluate("Date.now()") + 1000)
    gateway.welcomes = False
    for attempt, seconds in enumerate([1, 1, 2, 4, 8, 16, 30, 30]):
        gateway.close(1013)
        expect(gateway.page.get_by_text(f"Reconnecting in {seconds} s.")).to_be_visible()
        gateway.page.clock.run_for(seconds * 1000)
        gateway.until(lambda count=attempt + 2: len(gateway.sockets) == count)  # type: ignore[misc]  # binds the count


def test_it_waits_as_long_as_the_gateway_asks_for(gateway: Gateway) -> None:
    gateway.begin()
    expect(gateway.status).to_have_text("Online")
    gateway.page.clock.pause_at(gateway.page.evaluate("Date.now()") + 1000)
    gateway.send("reconnect", {"afterMs": 40_000, "reason": "drain"})
    gateway.close(1012)
    expect(gateway.page.get_by_text("Reconnecting in 40 s.")).to_be_visible()
    gateway.page.clock.run_for(39_900)
    expect(gateway.page.get_by_text("Reconnecting in 1 s.")).to_be_visible()
    assert len(gateway.sockets) == 1
    gateway.page.clock.run_for(200)
    gateway.until(lambda: len(gateway.sockets) == 2)


def test_a_gateway_that_never_welcomes_is_left(gateway: Gateway) -> None:
    gateway.welcomes = False
    gateway.begin()
    gateway.until(lambda: len(gateway.sockets) == 1)
    expect(gateway.status).to_have_text("Connecting…")
    gateway.welcomes = True
    gateway.page.clock.run_for(12_000)
    expect(gateway.status).to_have_text("Online")
    assert len(gateway.sockets) == 2


def test_what_was_not_acknowledged_goes_out_again_under_the_same_id(gateway: Gateway) -> None:
    gateway.acks = False
    gateway.begin()
    expect(gateway.status).to_have_text("Online")
    gateway.say("one")
    gateway.say("two")
    expect(gateway.tick("Sending")).to_have_count(2)
    gateway.until(lambda: len(gateway.of_type("send-message")) == 2)
    gateway.ack(gateway.of_type("send-message")[0])
    expect(gateway.tick("Sent")).to_have_count(1)
    gateway.acks = True
    gateway.close(1012)
    expect(gateway.tick("Sent")).to_have_count(2)
    sent = gateway.of_type("send-message")
    assert [data["content"] for data in sent] == ["one", "two", "two"]
    assert sent[1] == sent[2]
    expect(gateway.contents).to_have_text(["one", "two"])


def test_a_connection_that_falls_silent_is_given_up(gateway: Gateway) -> None:
    gateway.acks = False
    gateway.begin()
    expect(gateway.status).to_have_text("Online")
    gateway.say("anyone there?")
    gateway.until(lambda: len(gateway.of_type("send-message")) == 1)
    gateway.acks = True
    gateway.page.clock.run_for(16_000)
    expect(gateway.tick("Sent")).to_be_visible()
    assert len(gateway.sockets) == 2


@pytest.mark.parametrize("code", ["UNAVAILABLE", "OVERLOADED", "RATE_LIMITED"])
def test_a_message_that_failed_for_now_can_be_retried(gateway: Gateway, code: str) -> None:
    gateway.acks = False
    gateway.begin()
    expect(gateway.status).to_have_text("Online")
    gateway.say("try me")
    gateway.until(lambda: len(gateway.of_type("send-message")) == 1)
    [first] = gateway.of_type("send-message")
    error = {"code": code, "message": "Later.", "details": "", "retryAfter": 1}
    gateway.send("error", {**error, "client_msg_id": first["client_msg_id"]})
    expect(gateway.tick("Not sent")).to_be_visible()
    gateway.acks = True
    gateway.page.get_by_role("button", name="Retry").click()
    expect(gateway.tick("Sent")).to_be_visible()
    expect(gateway.page.get_by_role("button", name="Retry")).to_be_hidden()
    assert gateway.of_type("send-message") == [first, first]


def test_a_message_that_will_never_pass_can_only_be_discarded(gateway: Gateway) -> None:
    gateway.acks = False
    gateway.begin()
    expect(gateway.status).to_have_text("Online")
    gateway.say("bad")
    gateway.until(lambda: len(gateway.of_type("send-message")) == 1)
    [first] = gateway.of_type("send-message")
    gateway.send(
        "error",
        {"code": "INVALID_MESSAGE", "message": "No.", "details": "", "client_msg_id": first["client_msg_id"]},
    )
    expect(gateway.tick("Not sent")).to_be_visible()
    assert gateway.page.get_by_role("button", name="Retry").count() == 0
    gateway.page.get_by_role("button", name="Discard").click()
    expect(gateway.contents).to_have_count(0)


def test_a_hole_is_filled_from_the_history(gateway: Gateway) -> None:
    gateway.begin()
    expect(gateway.status).to_have_text("Online")
    gateway.history = [message(1)]
    gateway.send("new-message", message(1))
    expect(gateway.contents).to_have_text(["n1"])
    assert gateway.pulled == []
    gateway.history = [message(number) for number in (1, 2, 3, 4)]
    gateway.send("new-message", message(4))
    expect(gateway.contents).to_have_text(["n1", "n2", "n3", "n4"])
    assert gateway.pulled == [AFTER_1]
    gateway.send("new-message", message(5))
    expect(gateway.contents).to_have_count(5)
    assert len(gateway.pulled) == 1


def test_what_was_missed_while_away_is_pulled(gateway: Gateway) -> None:
    gateway.begin()
    expect(gateway.status).to_have_text("Online")
    gateway.history = [message(1)]
    gateway.send("new-message", message(1))
    expect(gateway.contents).to_have_count(1)
    gateway.history = [message(1), message(2), message(3)]
    gateway.close(1012)
    expect(gateway.contents).to_have_text(["n1", "n2", "n3"])
    assert gateway.pulled == [AFTER_1]


def test_an_answer_older_than_a_message_takes_nothing_back(gateway: Gateway) -> None:
    gateway.begin()
    expect(gateway.status).to_have_text("Online")
    gateway.holds_list, gateway.title = True, "Lounge"
    gateway.history = [message(1)]
    gateway.send("new-message", message(1))  # from somebody new, so the page asks for the list
    gateway.until(lambda: len(gateway.held) == 1)
    gateway.send("new-message", message(2))
    gateway.send("new-message", message(3))
    expect(gateway.contents).to_have_count(3)
    gateway.held.pop()()
    expect(gateway.page.get_by_role("heading", name="Lounge")).to_be_visible()
    gateway.send("new-message", message(4))
    expect(gateway.contents).to_have_text(["n1", "n2", "n3", "n4"])
    expect(gateway.page.get_by_text("The server was restarted")).to_have_count(0)


def test_frames_before_the_list_wait_for_it(gateway: Gateway) -> None:
    gateway.history = [message(1), message(2)]
    gateway.begin()
    expect(gateway.contents).to_have_text(["n1", "n2"])
    gateway.holds_list, gateway.epoch = True, "1700000000001"
    gateway.history = [message(1, "new 1", id="9"), message(2, "new 2", id="10")]
    gateway.close(1012)
    gateway.until(lambda: len(gateway.held) == 1)
    gateway.send("new-message", message(3, "new 3", id="11"))
    gateway.held.pop()()
    expect(gateway.contents).to_have_text(["n1", "n2", "new 1", "new 2", "new 3"])
    expect(gateway.page.get_by_text("The server was restarted")).to_have_count(1)


def test_repeats_are_shown_once_and_latecomers_in_their_place(gateway: Gateway) -> None:
    gateway.begin()
    expect(gateway.status).to_have_text("Online")
    gateway.history = [message(1), message(2)]
    for frame in (message(2), message(1), message(2, redelivered=True), message(1, redelivered=True), message(3)):
        gateway.send("new-message", frame)
    expect(gateway.contents).to_have_text(["n1", "n2", "n3"])


def test_frames_it_does_not_know_change_nothing(gateway: Gateway) -> None:
    gateway.begin()
    expect(gateway.status).to_have_text("Online")
    gateway.send("conversation.renamed", {"conversationId": "world"})
    gateway.send("message.read", {"conversationId": "elsewhere", "userId": "bob", "seqId": 1})
    gateway.send("error", {"code": "INVALID_MESSAGE", "message": "?", "details": ""})
    gateway.send("message-ack", {"client_msg_id": "not mine", "status": "accepted"})
    gateway.send("new-message", message(1))
    expect(gateway.contents).to_have_text(["n1"])
    expect(gateway.status).to_have_text("Online")


def test_the_token_is_renewed_before_it_ends(gateway: Gateway) -> None:
    gateway.begin()
    expect(gateway.status).to_have_text("Online")
    gateway.page.clock.fast_forward(int(HOUR_MS * 0.79))
    assert gateway.of_type("refresh-token") == []
    gateway.page.clock.fast_forward(int(HOUR_MS * 0.02))
    gateway.until(lambda: gateway.of_type("refresh-token") == [{"token": "t2"}])
    now = gateway.page.evaluate("Date.now()")
    gateway.send("token-refreshed", {"tokenExpiresAt": now + HOUR_MS})
    gateway.send("new-message", message(1))
    expect(gateway.contents).to_have_count(1)
    gateway.page.clock.fast_forward(int(HOUR_MS * 0.81))
    gateway.until(lambda: len(gateway.of_type("refresh-token")) == 2)
    assert len(gateway.sockets) == 1
