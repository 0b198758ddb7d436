"""Input alerts in a real browser: they appear by themselves, are decided by keyboard, and together."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from portal.demo.scans import stow
from tests.browser.test_office_axe import sign_in
from tests.browser.test_office_tables import accessible
from tests.factories.checking import DX, phantom
from tests.support import Stack, wait_for

pytestmark = [pytest.mark.browser, pytest.mark.stack, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def dave(stack: Stack, browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context(viewport={"width": 1400, "height": 900})
    sign_in(stack, context, "dave")
    yield context
    context.close()


def send(stack: Stack, folder: Path) -> int:
    """A mammogram whose header says chest; the number of alerts that waited before."""
    before = held(stack)
    ds = phantom("breast", **DX)
    ds.save_as(folder / f"{ds.SOPInstanceUID}.dcm")
    stow(stack.info["dicomweb"], stack.user("dave")["token"], [folder / f"{ds.SOPInstanceUID}.dcm"])
    return before


def held(stack: Stack) -> int:
    return stack.query("SELECT count(*) AS n FROM check_seriescheck WHERE state = 'held'")[0]["n"]


def opened(stack: Stack, context: BrowserContext, path: str) -> Page:
    page = context.new_page()
    page.goto(stack.url + path)
    expect(page.locator("#main h1")).to_be_visible()
    return page


def test_an_alert_appears_by_itself_and_is_decided_by_keyboard(
    stack: Stack, dave: BrowserContext, tmp_path: Path
) -> None:
    page = opened(stack, dave, "/input-alerts/?state=held")
    expect(page.locator("[data-live-dot]")).to_have_attribute("data-state", "on")
    rows = page.locator("#input-alerts tbody tr")
    before = send(stack, tmp_path)
    expect(rows).to_have_count(before + 1, timeout=180_000)  # without a reload
    expect(rows.first).to_contain_text("The header says DX CHEST PA; the picture looks like a mammogram")
    accessible(page)
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_url("**/input-alerts/*/")
    key = int(page.url.rstrip("/").rpartition("/")[2])
    expect(page.get_by_role("heading", name="What is it?")).to_be_visible()
    accessible(page)
    page.get_by_label("Note").fill("k3d")  # keys typed into a field decide nothing
    assert held(stack) == before + 1
    page.locator("h1").click()
    page.keyboard.press("3")
    expect(page.get_by_text("was decided.")).to_be_visible()
    [row] = stack.query("SELECT state, category, note FROM check_seriescheck WHERE id = %s", key)
    assert row == {"state": "corrected", "category": "mammogram", "note": "k3d"}
    page.close()


def test_several_alerts_are_decided_together(stack: Stack, dave: BrowserContext, tmp_path: Path) -> None:
    for _ in range(2):
        before = send(stack, tmp_path)
        wait_for(lambda before=before: held(stack) > before, 180, "the scan is held")
    before = held(stack)
    page = opened(stack, dave, "/input-alerts/?state=held")
    for _ in range(2):
        page.keyboard.press("j")
        page.keyboard.press("x")
    bar = page.get_by_role("form", name="Do with the chosen rows")
    expect(bar).to_contain_text("2 chosen")
    accessible(page)
    bar.get_by_role("button", name="Headers are right").click()
    expect(page.get_by_text("2 scans kept as their headers say.")).to_be_visible()
    assert held(stack) == before - 2
    page.close()
