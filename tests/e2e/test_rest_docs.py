"""`/docs` as people see it: a real browser on the demo. A missing Chromium fails these tests."""

import re
from collections.abc import Iterator

import attrs
import httpx
import pytest
from playwright.sync_api import Browser, Locator, Page, Route, expect, sync_playwright
from tests.e2e.browser import CHROMIUM
from tests.e2e.demo_process import running_demo
from tests.e2e.test_demo_chat import ARGUMENTS
from tests.grpc_protos import descriptors
from tests.grpc_routes import EVERYWHERE, table_of

from imgateway.adapters.grpc.openapi import document_bytes
from imgateway.core.settings_grpc import GrpcSettings

DEVICE = '{"clientInfo": {"deviceId": "0123456789abcdef0"}}'


@attrs.define(eq=False)
class Docs:
    """The page in a tab of its own.

    Attributes:
        complaints: what the browser wrote to its console.
    """

    page: Page
    url: str
    complaints: list[str] = attrs.field(factory=list)

    def operation(self, name: str) -> Locator:
        """An operation, opened by its address."""
        self.page.goto(f"{self.url}docs#{name}")
        found = self.page.locator(f"details#{name}")
        expect(found).to_have_attribute("open", "")
        return found

    def sign_in(self) -> str:
        """Be a guest, whose token the page has from then on."""
        guest = self.operation("AuthService_GuestLogin")
        guest.get_by_label("Body").fill(DEVICE)
        guest.get_by_role("button", name="Send").click()
        guest.get_by_role("button", name="Use as token").click()
        return self.page.get_by_label("Token").input_value()


@pytest.fixture(scope="module")
def demo_url() -> Iterator[str]:
    with running_demo() as demo:
        yield demo.url


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def docs(chromium: Browser, demo_url: str) -> Iterator[Docs]:
    page = chromium.new_page(color_scheme="dark")
    docs = Docs(page, demo_url)
    page.on("console", lambda message: docs.complaints.append(message.text))
    page.on("pageerror", lambda error: docs.complaints.append(str(error)))
    page.goto(f"{demo_url}docs")
    yield docs
    page.close()


def test_routes_are_listed_found_and_tried(docs: Docs) -> None:
    page = docs.page
    expect(page.get_by_role("heading", name="AuthService")).to_be_visible()
    page.keyboard.press("/")
    page.keyboard.type("post guest")
    operation = page.locator("details.operation:visible")
    expect(operation).to_have_count(1)
    operation.locator("summary").first.press("Enter")
    expect(page).to_have_url(re.compile("#AuthService_GuestLogin$"))
    operation.get_by_text("ClientInfo", exact=True).first.click()
    expect(operation).to_contain_text("deviceId")
    operation.get_by_label("Body").fill(DEVICE)
    operation.get_by_role("button", name="Send").click()
    expect(operation.get_by_role("status")).to_contain_text("200 OK")
    expect(operation.get_by_label("Answer")).to_contain_text("accessToken")
    assert docs.complaints == []


def test_texts_of_numbers_are_told_as_what_they_are(docs: Docs) -> None:
    listing = docs.operation("ConversationService_GetMessages")
    after = listing.get_by_label("startSeqId")
    expect(after).to_have_attribute("placeholder", "string (int64)")
    expect(after).to_have_attribute("inputmode", "numeric")


def test_it_is_told_how_durations_are_written(docs: Docs) -> None:
    files = descriptors("promised.proto")
    made = document_bytes(table_of(files), GrpcSettings(services=EVERYWHERE))
    docs.page.route("**/openapi.json", lambda route: route.fulfill(body=made, content_type="application/json"))
    docs.page.reload()
    found = docs.page.locator("details#Promises_Say")
    found.locator("summary").first.click()
    parameters, answer = (found.locator("dl.members").nth(index) for index in (0, 1))
    for members in (parameters, answer):
        expect(text_of(members, "lasts")).to_have_text(["How long it was.", "Seconds, like 1.5s."])
        expect(text_of(members, "rests")).to_have_text(["Seconds, like 1.5s."])
        expect(text_of(members, "manyLasts")).to_have_text(["Seconds, like 1.5s."])
        expect(text_of(members, "mask")).to_have_text(["Names of fields in camel case, with commas between them."])
        expect(text_of(members, "i64")).to_have_count(0)
    assert docs.complaints == []


def text_of(members: Locator, name: str) -> Locator:
    """The paragraphs on a member or parameter."""
    return (
        members.locator("dt", has_text=re.compile(f"^{name}$")).locator("xpath=following-sibling::dd[1]").locator("p")
    )


def test_nothing_fits(docs: Docs) -> None:
    page = docs.page
    expect(page.locator("details.operation").first).to_be_visible()
    page.get_by_label("Find").fill("no such route")
    expect(page.get_by_text("No route has these words.")).to_be_visible()
    expect(page.locator("details.operation:visible")).to_have_count(0)


def test_the_token_is_sent_to_private_routes_and_kept_in_the_tab_alone(docs: Docs) -> None:
    listing = docs.operation("ConversationService_GetConversationsOptimized")
    expect(listing.get_by_text("Needs a token")).to_be_visible()
    token = docs.sign_in()
    assert token
    listing = docs.operation("ConversationService_GetConversationsOptimized")
    listing.get_by_label("pageSize").fill("1")
    listing.get_by_label("typeFilter").select_option("CONVERSATION_TYPE_WORLD")
    with docs.page.expect_request(re.compile("/api/conversations")) as asked:
        listing.get_by_role("button", name="Send").click()
    assert asked.value.url.endswith("/api/conversations?pageSize=1&typeFilter=CONVERSATION_TYPE_WORLD")
    expect(listing.get_by_role("status")).to_contain_text("200 OK")
    assert docs.page.evaluate("JSON.stringify(localStorage) + document.cookie") == "{}"
    assert token in docs.page.evaluate("JSON.stringify(sessionStorage)")


def test_a_stream_is_shown_while_it_comes(docs: Docs) -> None:
    token = docs.sign_in()
    with httpx.Client(
        trust_env=False, base_url=f"{docs.url}api/", headers={"Authorization": f"Bearer {token}"}, timeout=20
    ) as http:
        lobby = http.get("conversations").json()["conversations"][0]["id"]
        stream = docs.operation("MessageService_WatchMessages")
        stream.get_by_label("conversationId").fill(lobby)
        stream.get_by_label("afterSeqId").fill("1")
        stream.get_by_label("Answer as").select_option("text/event-stream")
        for number in (1, 2):
            http.post(f"conversations/{lobby}/messages", json={"type": 1, "content": "Hi", "clientMsgId": f"m{number}"})
        stream.get_by_role("button", name="Send").click()
        expect(stream.get_by_label("Answer", exact=True)).to_contain_text('"clientMsgId":"m2"')
        http.post(f"conversations/{lobby}/messages", json={"type": 1, "content": "Hi", "clientMsgId": "m3"})
    expect(stream.get_by_label("Answer", exact=True)).to_contain_text('"clientMsgId":"m3"')
    stream.get_by_role("button", name="Stop").click()
    expect(stream.get_by_role("status")).to_contain_text("stopped")
    assert docs.complaints == []


def test_services_that_are_not_known_yet_are_waited_for(docs: Docs) -> None:
    def not_yet(route: Route) -> None:
        route.fulfill(status=503)

    docs.page.route("**/openapi.json", not_yet)
    docs.page.reload()
    expect(docs.page.get_by_text("have not said yet")).to_be_visible()
    docs.page.unroute("**/openapi.json", not_yet)
    expect(docs.page.get_by_role("heading", name="AuthService")).to_be_visible()


def test_what_can_not_be_read_is_said(docs: Docs) -> None:
    docs.page.route("**/openapi.json", lambda route: route.fulfill(status=200, body="no JSON"))
    docs.page.reload()
    expect(docs.page.get_by_text("can't be understood")).to_be_visible()


def test_a_description_is_text_and_never_markup(docs: Docs) -> None:
    evil = "<img src=x onerror=alert(1)>"
    schema = {"$ref": "#/components/schemas/A"}
    operation = {
        "operationId": "A_B",
        "tags": [evil],
        "summary": evil,
        "description": f"`{evil}`\n\n- {evil}",
        "responses": {"200": {"description": evil, "content": {"application/json": {"schema": schema}}}},
    }
    properties = {"a": schema, evil: {"type": evil}}
    inside = {"type": "object", "description": evil, "properties": properties, "oneOf": [schema]}
    made = {
        "openapi": "3.1.0",
        "info": {"title": evil, "version": "1"},
        "paths": {f"/{evil}": {"get": operation}},
        "components": {"schemas": {"A": inside}},
    }
    docs.page.route("**/openapi.json", lambda route: route.fulfill(json=made))
    docs.page.reload()
    found = docs.page.locator("details#A_B")
    found.locator("summary").first.click()
    expect(found.locator("dd").first).to_have_text("A")  # it contains itself, and is not opened again
    expect(found.locator("div.schema > p.type")).to_have_text(["A", "A"])  # nor where it is a choice of its own
    expect(docs.page.locator("main img")).to_have_count(0)
    assert docs.complaints == []


def test_small_screens_need_no_sideways_scrolling(docs: Docs) -> None:
    docs.page.set_viewport_size({"width": 360, "height": 700})
    docs.operation("ConversationService_UpdateMemberRole")
    assert docs.page.evaluate("document.documentElement.scrollWidth") <= 360
