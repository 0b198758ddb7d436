"""Nothing a reader did is lost or overwritten unseen: no network, a closed window, two windows. And by keys alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from inference.phantoms import breast_case
from tests.browser.rooms import drag, inside, mammograms, opened, ready, sign_in
from tests.support import Client, Stack, wait_for

pytestmark = [pytest.mark.browser, pytest.mark.stack, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def cases(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Four first readings that wait: one for each test, in whatever order they run."""
    made = [breast_case(seed, malignant=True, size=(384, 312)) for seed in (561, 562, 563, 564)]
    return mammograms(stack, *(case.write(tmp_path_factory.mktemp("drafts"), truth=False) for case in made))


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context(viewport={"width": 1400, "height": 950})
    yield context
    context.close()


def mark(page: Page, view: int) -> None:
    page.keyboard.press("r")
    start = inside(page, view, 0.35, 0.45)
    drag(page, start, (start[0] + 40, start[1] + 50))


def draft(alice: Client, case: dict[str, Any]) -> dict[str, Any]:
    kept = alice.get(f"/api/v1/assignments/{case['id']}/")["draft"]
    return kept or {"answers": {}, "marks": []}


def state(page: Page, words: str) -> None:
    expect(page.get_by_test_id("saved")).to_have_attribute("data-state", words, timeout=20_000)


def test_what_is_drawn_without_a_network_arrives_later(
    stack: Stack, context: BrowserContext, cases: list[dict[str, Any]]
) -> None:
    alice, case = stack.as_("alice"), cases[0]
    page = sign_in(context, stack, "alice")
    opened(page, stack, case["url"])
    before = len(draft(alice, case)["marks"])
    mark(page, 0)
    state(page, "saved")
    wait_for(lambda: len(draft(alice, case)["marks"]) == before + 1, 10, "the first mark is saved")

    context.set_offline(True)
    mark(page, 1)
    page.keyboard.press("y")
    state(page, "offline")
    expect(page.get_by_test_id("saved")).to_contain_text("Kept in this browser")
    mark(page, 2)
    page.keyboard.press("Enter")  # incomplete: the form says what is missing, nothing is lost
    expect(page.get_by_text("Needs an answer.").first).to_be_visible()
    assert len(draft(alice, case)["marks"]) == before + 1

    context.set_offline(False)
    state(page, "saved")
    wait_for(lambda: len(draft(alice, case)["marks"]) == before + 3, 20, "all marks are saved")
    assert draft(alice, case)["answers"].get("recall") is True
    # the copy in the browser goes once the server has all of it
    page.wait_for_function("() => !Object.keys(localStorage).some(k => k.startsWith('concord-draft'))", timeout=10_000)


def test_a_draft_of_a_closed_window_meets_a_newer_one(
    stack: Stack, context: BrowserContext, cases: list[dict[str, Any]]
) -> None:
    alice, case = stack.as_("alice"), cases[1]
    page = sign_in(context, stack, "alice")
    opened(page, stack, case["url"])
    page.keyboard.press("y")
    wait_for(lambda: draft(alice, case)["answers"].get("recall") is True, 20, "the first answer is saved")
    context.set_offline(True)
    page.keyboard.press("n")
    state(page, "offline")
    page.close()  # with something that was never sent
    context.set_offline(False)
    there = draft(alice, case)
    elsewhere = {**there, "answers": {**there["answers"], "birads": "5"}, "client": "another machine"}
    alice.put(f"/api/v1/assignments/{case['id']}/draft/", elsewhere)

    page = context.new_page()
    opened(page, stack, case["url"])
    box = page.get_by_test_id("conflict")
    expect(box).to_contain_text("Changed in another window")
    page.keyboard.press("2")
    page.wait_for_timeout(1500)
    assert draft(alice, case)["answers"]["birads"] == "5", "nothing is sent before the reader has chosen"
    box.get_by_role("button", name="Keep this one").click()
    state(page, "saved")
    now = draft(alice, case)["answers"]
    assert (now["recall"], now["birads"]) == (False, "2")


def test_two_windows_ask_before_one_overwrites_the_other(
    stack: Stack, context: BrowserContext, cases: list[dict[str, Any]]
) -> None:
    alice, case = stack.as_("alice"), cases[2]
    one = sign_in(context, stack, "alice")
    two = context.new_page()
    for page in (one, two):
        opened(page, stack, case["url"])
    one.bring_to_front()
    one.keyboard.press("y")
    state(one, "saved")
    wait_for(lambda: draft(alice, case)["answers"].get("recall") is True, 10, "the first window's answer is saved")
    two.bring_to_front()
    two.locator("#q-comment").fill("from the second window")
    expect(two.get_by_test_id("conflict")).to_be_visible()
    two.get_by_test_id("submit").click()  # not even a submission goes over it
    two.locator("#q-malignancy").fill("70")
    expect(two.get_by_test_id("conflict")).to_be_visible()
    assert "comment" not in draft(alice, case)["answers"]
    two.get_by_role("button", name="Take the other").click()
    ready(two)
    expect(two.locator("[data-question=recall] [aria-checked=true]")).to_contain_text("Yes")
    expect(two.locator("#q-comment")).to_have_value("")


def test_a_case_is_read_by_keys_alone(stack: Stack, context: BrowserContext, cases: list[dict[str, Any]]) -> None:
    page = sign_in(context, stack, "alice")
    page.goto(f"{stack.url}/worklist/")
    case, first = cases[3], ""
    while first != case["url"]:
        page.keyboard.press("j")
        first = page.locator("tr:focus").get_attribute("data-href") or ""
    page.keyboard.press("Enter")
    page.wait_for_url(f"**{first}")
    ready(page)
    focus = "() => document.activeElement?.dataset?.testid ?? ''"
    assert page.evaluate(focus) == "viewport-0"
    page.keyboard.press("Tab")
    assert page.evaluate(focus) == "viewport-1"
    window = page.locator(".corner.window").nth(1)
    before = window.inner_text()
    for _ in range(3):
        page.keyboard.press("]")
    expect(window).not_to_have_text(before)
    page.keyboard.press("Control+k")
    page.keyboard.type("reset")
    page.keyboard.press("Enter")
    expect(window).to_have_text(before)
    assert page.evaluate(focus) == "viewport-1", "the finder gives the focus back"

    marks = page.get_by_test_id("mark-list").locator("li")
    count = marks.count()
    page.keyboard.press("r")
    page.keyboard.press("x")  # one in the middle of the view, moved and grown by the arrows
    expect(marks).to_have_count(count + 1)
    alice = stack.as_("alice")
    wait_for(lambda: len(draft(alice, case)["marks"]) == count + 1, 10, "the mark is saved")
    drawn = draft(alice, case)["marks"][-1]["points_px"]
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Shift+ArrowDown")
    wait_for(lambda: draft(alice, case)["marks"][-1]["points_px"] != drawn, 10, "the mark is moved")
    page.wait_for_timeout(700)
    (x0, y0), (x1, y1) = draft(alice, case)["marks"][-1]["points_px"]
    (a0, b0), (a1, b1) = drawn
    assert x0 > a0 and x1 - x0 == pytest.approx(a1 - a0, abs=0.1)
    assert y0 == pytest.approx(b0, abs=0.1) and y1 > b1
    page.keyboard.press("Escape")

    page.keyboard.press("n")
    page.keyboard.press("1")
    page.keyboard.press("b")
    page.keyboard.press("Enter")
    expect(page.locator("#q-malignancy")).to_be_focused()  # what is missing takes the focus
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    wait_for(lambda: first not in page.url or page.get_by_test_id("done").count(), 30, "the reading is sent")
    assert stack.query("SELECT state FROM read_reading WHERE assignment_id = %s", case["id"])[0]["state"] == "submitted"
    ready(page) if first not in page.url else None
    assert page.evaluate(focus) == "viewport-0", "the next case stands there"
