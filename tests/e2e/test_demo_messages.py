"""The demo's page against a scripted gateway: acknowledgements, holes, repeats. A real Chromium, a turned clock."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect, sync_playwright
from tests.e2e.browser import CHROMIUM
from tests.e2e.scripted_gateway import AFTER_1, ARGUMENTS, Gateway, message


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
        page.unroute_all(behavior="ignoreErrors")  # an answer on its way when the page closes is no error


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
    gateway.until(lambda: gateway.listed == 1)
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
    gateway.until(lambda: gateway.listed == 1)
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
    gateway.until(lambda: gateway.listed == 1)
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
