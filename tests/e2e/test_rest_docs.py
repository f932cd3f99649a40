"""`/docs` as people see it: a real browser on the demo. A missing Chromium fails these tests."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect, sync_playwright
from tests.e2e.demo_process import running_demo
from tests.e2e.test_demo_chat import ARGUMENTS, CHROMIUM


@pytest.fixture
def docs() -> Iterator[tuple[Page, list[str]]]:
    complaints: list[str] = []
    with running_demo() as demo, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        page = browser.new_page(color_scheme="dark")
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(f"{demo.url}docs")
        yield page, complaints
        browser.close()


def test_routes_are_listed_found_and_tried(docs: tuple[Page, list[str]]) -> None:
    page, complaints = docs
    expect(page.get_by_role("heading", name="AuthService")).to_be_visible()
    page.get_by_label("Find").fill("post guest")
    operation = page.locator("details.operation")
    expect(operation).to_have_count(1)
    operation.locator("summary").first.click()
    expect(operation).to_contain_text("client_info".replace("_i", "I"))
    operation.get_by_label("Body").fill('{"clientInfo": {"deviceId": "0123456789abcdef0"}}')
    operation.get_by_role("button", name="Send").click()
    expect(operation.get_by_role("status")).to_contain_text("200 OK")
    expect(operation).to_contain_text("accessToken")
    assert complaints == []


def test_nothing_fits(docs: tuple[Page, list[str]]) -> None:
    page, _ = docs
    expect(page.locator("details.operation").first).to_be_visible()
    page.get_by_label("Find").fill("no such route")
    expect(page.get_by_text("No route has these words.")).to_be_visible()
