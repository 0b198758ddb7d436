"""Tables of the office in a real browser: by keyboard, on a phone, without scripts; many rows done with together."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.browser.test_office_axe import report, sign_in
from tests.support import Stack

pytestmark = [pytest.mark.browser, pytest.mark.stack, pytest.mark.timeout(300)]
PAGE = "/ingest/quarantine/"


@pytest.fixture(scope="module", autouse=True)
def files(stack: Stack) -> None:
    """Four files in quarantine, none of which is an image."""
    for n in range(4):
        send(stack, f"no image {n}")


def send(stack: Stack, content: str) -> None:
    answer = httpx.post(
        f"{stack.url}/ingest/upload/",
        files={"files": ("x.dcm", content.encode())},
        headers={"Authorization": f"Bearer {stack.user('dave')['token']}"},
        timeout=60,
    )
    assert answer.status_code == 200


@pytest.fixture(scope="module")
def dave(stack: Stack, browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context(viewport={"width": 1400, "height": 900})
    sign_in(stack, context, "dave")
    yield context
    context.close()


def opened(stack: Stack, context: BrowserContext, path: str = PAGE) -> Page:
    page = context.new_page()
    page.goto(stack.url + path)
    expect(page.locator("#main h1")).to_be_visible()
    return page


def accessible(page: Page) -> None:
    found = Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]
    assert found == [], report(found)


def waiting(stack: Stack) -> int:
    return stack.query("SELECT count(*) AS n FROM ingest_receipt WHERE state = 'quarantined'")[0]["n"]


def test_rows_are_chosen_and_discarded_by_keyboard(stack: Stack, dave: BrowserContext) -> None:
    before = waiting(stack)
    page = opened(stack, dave)
    bar = page.get_by_role("form", name="Do with the chosen rows")
    expect(bar).to_be_hidden()
    for key in ("j", "x", "j", "x"):
        page.keyboard.press(key)
    expect(bar).to_contain_text("2 chosen")
    assert page.get_by_label("Choose all rows of this page").evaluate("box => box.indeterminate")
    accessible(page)
    page.keyboard.press("k")
    page.keyboard.press("x")
    expect(bar).to_contain_text("1 chosen")
    bar.get_by_role("button", name="Discard").focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name="Discard: 1 chosen")
    expect(dialog).to_contain_text("There is no way back.")
    accessible(page)
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    assert waiting(stack) == before  # asked, and not done
    bar.get_by_role("button", name="Discard").click()
    dialog.get_by_role("button", name="Discard").click()
    expect(page.get_by_text("1 file discarded.")).to_be_visible()
    assert waiting(stack) == before - 1
    page.close()


def test_what_is_chosen_stays_chosen_when_rows_change(stack: Stack, dave: BrowserContext) -> None:
    page = opened(stack, dave)
    expect(page.locator("[data-live-dot]")).to_have_attribute("data-state", "on")
    for place in (0, 1):
        page.locator("[data-choose]").nth(place).check()
    page.locator("h1").click()  # a box that has the focus would be left alone anyway
    chosen = page.locator("[data-choose]:checked").evaluate_all("all => all.map(box => box.value)")
    before = page.locator("#quarantine tbody tr").count()
    send(stack, "one more")
    expect(page.locator("#quarantine tbody tr")).to_have_count(before + 1)
    assert page.locator("[data-choose]:checked").evaluate_all("all => all.map(box => box.value)") == chosen
    assert len(chosen) == 2
    expect(page.locator("[data-chosen]").last).to_contain_text("2 chosen")
    page.close()


def test_a_view_is_saved_opened_and_removed(stack: Stack, dave: BrowserContext) -> None:
    page = opened(stack, dave, f"{PAGE}?sort=size")
    page.locator("summary", has_text="Columns").click()
    page.get_by_label("Digest").uncheck()
    page.get_by_role("button", name="Show").click()
    expect(page.get_by_role("columnheader", name="Digest")).to_have_count(0)
    expect(page.get_by_role("columnheader", name="Size")).to_have_attribute("aria-sort", "ascending")
    page.locator("summary", has_text="Views").click()
    page.get_by_label("Name of the view").fill("Small first")
    accessible(page)
    page.get_by_role("button", name="Save").click()
    page.goto(stack.url + PAGE)
    expect(page.get_by_role("columnheader", name="Digest")).to_be_visible()
    page.locator("summary", has_text="Views").click()
    page.get_by_role("link", name="Small first").click()
    expect(page.get_by_role("columnheader", name="Digest")).to_have_count(0)
    page.locator("summary", has_text="Views").click()
    page.get_by_role("button", name="Remove the view Small first").click()
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_text("The view Small first is kept")).to_be_visible()
    page.close()


def test_without_scripts_filters_and_buttons_work(stack: Stack, browser: Browser, dave: BrowserContext) -> None:
    plain = browser.new_context(java_script_enabled=False, storage_state=dave.storage_state())
    page = plain.new_page()
    page.goto(stack.url + PAGE)
    page.get_by_label("Reason", exact=True).select_option("truncated")
    page.get_by_role("button", name="Filter").click()
    expect(page.get_by_text("No file in quarantine fits these filters.")).to_be_visible()
    page.get_by_role("link", name="Clear", exact=True).click()
    before = waiting(stack)
    page.locator("[data-choose]").first.check()
    page.get_by_role("button", name="Discard").click()
    expect(page.get_by_role("heading", name="Discard these files?")).to_be_visible()
    page.get_by_role("button", name="Discard").click()
    expect(page.get_by_text("1 file discarded.")).to_be_visible()
    assert waiting(stack) == before - 1
    plain.close()


def test_on_a_phone_a_row_is_a_card(stack: Stack, browser: Browser, dave: BrowserContext) -> None:
    phone = browser.new_context(viewport={"width": 390, "height": 844}, storage_state=dave.storage_state())
    page = opened(stack, phone)
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    label = page.locator("td[data-label=Source]").first
    assert label.evaluate("cell => getComputedStyle(cell, '::before').content") == '"Source"'
    page.locator("[data-choose]").first.check()
    expect(page.locator("#bulk")).to_be_in_viewport()
    accessible(page)
    phone.close()
