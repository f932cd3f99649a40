"""`imgateway demo` as people see it: real browser tabs on a real process. A missing Chromium fails these tests."""

import re
import signal
import subprocess
from collections.abc import Callable, Iterator

import attrs
import pytest
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright
from tests.e2e.browser import CHROMIUM
from tests.e2e.demo_process import Demo, running_demo

ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture
def demo() -> Iterator[Demo]:
    with running_demo() as started:
        yield started


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@attrs.define(eq=False)
class Tab:
    """One user's browser tab, with everything it complained about and everything it asked for."""

    page: Page
    complaints: list[str] = attrs.field(factory=list)
    requests: list[str] = attrs.field(factory=list)

    def join(self, url: str, name: str, password: str = "") -> "Tab":
        self.page.goto(url)
        self.page.get_by_label("Your name").fill(name)
        self.page.get_by_label("Password").fill(password)
        self.page.get_by_role("button", name="Join the chat").click()
        expect(self.status).to_have_text("Online")
        return self

    @property
    def status(self) -> Locator:
        return self.page.get_by_role("status")

    @property
    def draft(self) -> Locator:
        return self.page.get_by_role("textbox", name="Message")

    def say(self, text: str) -> None:
        self.draft.fill(text)
        self.draft.press("Enter")

    def message(self, text: str) -> Locator:
        return self.page.locator(".message").filter(has_text=text)

    def tick(self, text: str, label: str) -> Locator:
        return self.message(text).get_by_role("img", name=label, exact=True)

    @property
    def contents(self) -> Locator:
        return self.page.locator(".message .content")

    def entry(self, title: str) -> Locator:
        titled = self.page.locator(".title", has_text=title)
        return self.page.get_by_role("navigation").get_by_role("button").filter(has=titled)


OpenTab = Callable[..., Tab]


@pytest.fixture
def tab(chromium: Browser) -> Iterator[OpenTab]:
    """Opens a tab in a profile of its own."""
    contexts = []

    def open_tab(**options: object) -> Tab:
        context = chromium.new_context(**options)  # type: ignore[arg-type]  # any of Playwright's options
        contexts.append(context)
        opened = Tab(context.new_page())
        opened.page.on("console", lambda message: opened.complaints.append(message.text))
        opened.page.on("pageerror", lambda error: opened.complaints.append(str(error)))
        opened.page.on("request", lambda request: opened.requests.append(request.url))
        return opened

    yield open_tab
    for context in contexts:
        context.close()


def test_a_port_that_is_taken_is_told_in_one_line(demo: Demo) -> None:
    second = subprocess.run(demo.command, capture_output=True, text=True, timeout=60, check=False)
    assert second.returncode == 1
    assert second.stdout == ""
    assert f"127.0.0.1:{demo.port} can't be bound" in second.stderr
    assert len(second.stderr.splitlines()) == 1


def test_two_tabs_chat(demo: Demo, tab: OpenTab) -> None:
    alice, ming = tab().join(demo.url, "Alice"), tab().join(demo.url, "小明")
    alice.say("Hello 小明, can you read me?")
    expect(ming.message("can you read me?")).to_be_visible()
    ming.say("看得到!👍 消息到了。")
    expect(alice.message("看得到!👍 消息到了。")).to_contain_text("小明")
    expect(alice.tick("can you read me?", "Read")).to_be_visible()
    expect(ming.tick("看得到", "Read")).to_be_visible()
    expect(alice.message("can you read me?")).to_have_class(re.compile(r"\bown\b"))
    expect(ming.message("can you read me?")).not_to_have_class(re.compile(r"\bown\b"))
    for number in range(30):
        (alice if number % 3 else ming).say(f"n{number}.")
    expect(alice.contents).to_have_count(32)
    expect(ming.contents).to_have_count(32)
    assert alice.contents.all_text_contents() == ming.contents.all_text_contents()
    for each in (alice, ming):
        assert each.complaints == []
        assert all(url.startswith(demo.url) for url in each.requests)


def test_what_people_write_is_text(demo: Demo, tab: OpenTab) -> None:
    evil = "<img src=x onerror=\"document.title='owned'\"><b>bold</b>"
    alice, other = tab().join(demo.url, "Alice"), tab().join(demo.url, "<i>Bob")
    other.say(evil)
    expect(alice.contents).to_have_text([evil])
    expect(alice.message(evil)).to_contain_text("<i>Bob")
    expect(alice.entry("<i>Bob")).to_be_visible()
    assert alice.page.locator(".message img, .message b, .message i").count() == 0
    assert alice.complaints == []


def test_a_direct_message_counts_as_unread_until_it_is_looked_at(demo: Demo, tab: OpenTab) -> None:
    alice, bob, carol = (tab().join(demo.url, name) for name in ("Alice", "Bob", "Carol"))
    alice.entry("Bob").click()
    alice.say("just between us")
    expect(bob.entry("Alice").get_by_label("1 unread")).to_be_visible()
    expect(bob.page).to_have_title("(1) imgateway chat")
    expect(alice.tick("just between us", "Sent")).to_be_visible()
    bob.entry("Alice").click()
    expect(bob.message("just between us")).to_be_visible()
    expect(bob.entry("Alice").get_by_label("1 unread")).to_be_hidden()
    expect(alice.tick("just between us", "Read")).to_be_visible()
    carol.say("for all")
    expect(alice.entry("Lobby").get_by_label("1 unread")).to_be_visible()
    expect(carol.entry("Alice")).not_to_contain_text("just between us")


def test_the_same_user_in_two_tabs_sees_what_the_other_wrote(demo: Demo, tab: OpenTab) -> None:
    first, second = (tab().join(demo.url, name, "correct horse") for name in ("Alice", "alice"))
    first.say("from the first")
    expect(second.message("from the first")).to_have_class(re.compile(r"\bown\b"))
    expect(second.tick("from the first", "Sent")).to_be_visible()
    expect(first.contents).to_have_count(1)


def test_people_are_seen_to_come_and_go(demo: Demo, tab: OpenTab) -> None:
    alice, bob = tab().join(demo.url, "Alice"), tab()
    expect(alice.page.get_by_role("link", name="Open a second tab")).to_be_visible()
    bob.join(demo.url, "Bob")
    expect(alice.entry("Bob")).to_contain_text("Online")
    bob.page.close()
    expect(alice.entry("Bob")).to_contain_text("Offline")


def test_a_reload_keeps_the_user_and_the_history(demo: Demo, tab: OpenTab) -> None:
    alice, bob = tab().join(demo.url, "Alice"), tab().join(demo.url, "Bob")
    alice.say("one")
    bob.say("two")
    expect(alice.tick("one", "Read")).to_be_visible()
    alice.page.reload()
    expect(alice.status).to_have_text("Online")
    expect(alice.contents).to_have_text(["one", "two"])
    expect(alice.tick("one", "Read")).to_be_visible()


def test_what_was_unread_before_a_restart_stays_unread(demo: Demo, tab: OpenTab) -> None:
    alice, bob = tab().join(demo.url, "Alice"), tab().join(demo.url, "Bob")
    alice.entry("Bob").click()
    alice.say("look at me")
    expect(bob.entry("Alice").get_by_label("1 unread")).to_be_visible()
    demo.end(signal.SIGKILL)
    expect(bob.status).to_have_text("Reconnecting")
    demo.start()
    expect(bob.status).to_have_text("Online")
    alice.entry("Lobby").click()
    alice.say("after the restart")
    expect(bob.message("after the restart")).to_be_visible()
    expect(bob.entry("Alice").get_by_label("1 unread")).to_be_visible()
    bob.entry("Alice").click()
    expect(bob.message("look at me")).to_be_visible()
    expect(bob.entry("Alice").get_by_label("1 unread")).to_be_hidden()


def test_leaving_ends_the_session(demo: Demo, tab: OpenTab) -> None:
    alice = tab().join(demo.url, "Alice")
    alice.page.get_by_role("button", name="Leave the chat").click()
    expect(alice.page.get_by_label("Your name")).to_be_visible()
    alice.page.reload()
    expect(alice.page.get_by_label("Your name")).to_be_visible()


def test_a_name_that_is_refused_is_explained(demo: Demo, tab: OpenTab) -> None:
    alice = tab()
    alice.page.goto(demo.url)
    alice.page.get_by_label("Your name").fill("a:b")
    alice.page.get_by_role("button", name="Join the chat").click()
    expect(alice.page.get_by_role("alert")).to_contain_text("no colon")
    alice.page.get_by_label("Your name").fill("ab")
    alice.page.get_by_label("Your name").press("Enter")
    expect(alice.status).to_have_text("Online")


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_the_page_outlives_a_restart_of_the_gateway(demo: Demo, tab: OpenTab, how: signal.Signals) -> None:
    alice, bob = tab().join(demo.url, "Alice"), tab().join(demo.url, "Bob")
    alice.say("before")
    expect(alice.tick("before", "Read")).to_be_visible()
    code = demo.end(how)
    assert code == (0 if how is signal.SIGTERM else -signal.SIGKILL)
    expect(alice.status).to_have_text("Reconnecting")
    expect(alice.page.get_by_text(re.compile(r"Reconnecting in \d+ s\."))).to_be_visible()
    alice.say("meanwhile")
    expect(alice.tick("meanwhile", "Sending")).to_be_visible()
    demo.start()
    expect(alice.status).to_have_text("Online")
    expect(bob.status).to_have_text("Online")
    expect(bob.message("meanwhile")).to_be_visible()
    expect(alice.tick("meanwhile", "Read")).to_be_visible()
    bob.say("后来")
    expect(alice.contents).to_have_text(["before", "meanwhile", "后来"])
    expect(bob.contents).to_have_text(["before", "meanwhile", "后来"])
    expect(bob.page.get_by_text("The server was restarted.")).to_be_visible()
    expect(alice.tick("before", "Read")).to_be_visible()


def test_a_phone_shows_one_pane_and_never_scrolls_sideways(demo: Demo, tab: OpenTab) -> None:
    phone = tab(viewport={"width": 360, "height": 740}, is_mobile=True, has_touch=True).join(demo.url, "Zoë 🚀")
    other = tab().join(demo.url, "An extraordinarily long name !!!!")

    def scrolls_sideways() -> bool:
        return bool(phone.page.evaluate("document.documentElement.scrollWidth > innerWidth"))

    other.say("supercalifragilistic" * 20)
    other.say("长" * 300 + " https://example.com/" + "a" * 200)
    phone.say("短")
    expect(phone.contents).to_have_count(3)
    assert not scrolls_sideways()
    assert phone.page.locator(".bubble").evaluate_all(
        "bubbles => bubbles.every(b => b.scrollWidth <= b.clientWidth && b.getBoundingClientRect().right <= innerWidth)"
    )
    expect(phone.entry("Lobby")).to_be_hidden()
    phone.page.get_by_role("button", name="Show conversations").click()
    expect(phone.draft).to_be_hidden()
    assert not scrolls_sideways()
    phone.entry("An extraordinarily").click()
    expect(phone.draft).to_be_visible()
    assert not scrolls_sideways()


def test_enter_sends_unless_shift_is_held_or_text_is_being_composed(demo: Demo, tab: OpenTab) -> None:
    alice = tab().join(demo.url, "Alice")
    alice.draft.fill("first line")
    alice.draft.press("Shift+Enter")
    alice.draft.press_sequentially("second line")
    alice.draft.evaluate(
        "node => node.dispatchEvent(new KeyboardEvent('keydown', {key: 'Enter', isComposing: true, bubbles: true}))"
    )
    expect(alice.draft).to_have_value("first line\nsecond line")
    assert alice.contents.count() == 0
    alice.draft.press("Enter")
    expect(alice.contents).to_have_text(["first line\nsecond line"])
    expect(alice.draft).to_have_value("")
    alice.draft.fill("  \n ")
    expect(alice.page.get_by_role("button", name="Send")).to_be_disabled()


def test_the_length_of_a_message_is_shown_near_its_limit(demo: Demo, tab: OpenTab) -> None:
    alice = tab().join(demo.url, "Alice")
    limit, send = alice.page.locator("#limit"), alice.page.get_by_role("button", name="Send")
    alice.draft.fill("字" * 1000)
    expect(limit).to_have_text("")
    alice.draft.fill("字" * 1667)
    expect(limit).to_contain_text("5,001 of 5,000 bytes")
    expect(send).to_be_disabled()
    alice.draft.fill("字" * 1666 + "ab")
    expect(limit).to_have_text("5,000 of 5,000 bytes")
    expect(send).to_be_enabled()
    alice.draft.press("Enter")
    expect(alice.tick("字", "Sent")).to_be_visible()
