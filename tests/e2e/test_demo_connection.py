"""The demo's page against a scripted gateway: endings, refusals, tokens. A real Chromium, a turned clock."""

import json
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect, sync_playwright
from tests.e2e.browser import CHROMIUM
from tests.e2e.scripted_gateway import ARGUMENTS, HOUR_MS, Gateway, message

from imgateway.core.settings import ConnectionSettings


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


def pause(gateway: Gateway) -> None:
    """Stop the page's clock, at a time that is certainly still to come: it can't be turned back."""
    gateway.page.clock.pause_at(gateway.page.evaluate("Date.now()") + 60_000)


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
    pause(gateway)
    gateway.welcomes = False
    for attempt, seconds in enumerate([1, 1, 2, 4, 8, 16, 30, 30]):
        gateway.close(1013)
        expect(gateway.page.get_by_text(f"Reconnecting in {seconds} s.")).to_be_visible()
        gateway.page.clock.run_for(seconds * 1000)
        gateway.until(lambda count=attempt + 2: len(gateway.sockets) == count)  # type: ignore[misc]  # binds the count


def test_it_waits_as_long_as_the_gateway_asks_for(gateway: Gateway) -> None:
    gateway.begin()
    expect(gateway.status).to_have_text("Online")
    pause(gateway)
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
