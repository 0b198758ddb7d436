"""The reading room in a real browser: Alice reads blinded and disagrees, and the worklist of Bob renews itself."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from inference.phantoms import breast_case
from tests.support import Stack, wait_for

pytestmark = [
    pytest.mark.browser,
    pytest.mark.stack,
    pytest.mark.timeout(600),
]
SEED = 8123


def sign_in(browser: Browser, stack: Stack, name: str) -> Page:
    page = browser.new_context(viewport={"width": 1400, "height": 950}).new_page()
    page.goto(f"{stack.url}/accounts/login/")
    page.fill("input[name=login]", name)
    page.fill("input[name=password]", stack.user(name)["password"])
    page.press("input[name=password]", "Enter")
    page.wait_for_url(f"{stack.url}/")
    return page


def rows(page: Page) -> int:
    return page.locator("main table tbody tr").count()


def drag(page: Page, start: tuple[float, float], end: tuple[float, float]) -> None:
    page.mouse.move(*start)
    page.mouse.down()
    for step in range(1, 9):
        page.mouse.move(*(a + (b - a) * step / 8 for a, b in zip(start, end, strict=True)))
    page.mouse.up()


def test_the_whole_reading(stack: Stack, browser: Browser, tmp_path: Path) -> None:
    alice, bob = sign_in(browser, stack, "alice"), sign_in(browser, stack, "bob")
    faults: list[str] = []
    alice.on("pageerror", lambda error: faults.append(str(error)))
    for page in (alice, bob):
        page.goto(f"{stack.url}/worklist/")
        expect(page.locator("[data-live-dot]")).to_have_attribute("data-state", "on", timeout=15_000)
    before = rows(alice)

    # the scan arrives by dcmtk and its case appears without a reload
    files = breast_case(SEED, malignant=True, size=(1024, 832)).write(tmp_path)
    command = ["storescu", "-aet", "DEMO", "-aec", stack.aet, "127.0.0.1", str(stack.dicom_port)]
    subprocess.run([*command, *map(str, files)], check=True, timeout=120)
    wait_for(lambda: rows(alice) > before, 120, "the case appears in Alice's open worklist")
    items = stack.as_("alice").get("/api/v1/worklist/")["items"]
    newest = max((i for i in items if i["kind"] == "first"), key=lambda i: i["created_at"])
    study = stack.query(
        "SELECT s.study_uid FROM programmes_assignment a JOIN programmes_case c ON c.id = a.case_id "
        "JOIN archive_study s ON s.id = c.study_id WHERE a.id = %s",
        newest["id"],
    )[0]["study_uid"]
    run = stack.as_("erin").get(f"/api/v1/studies/{study}/runs/")[0]

    # four views hang, the model's output is not there
    alice.goto(f"{stack.url}{newest['url']}")
    alice.wait_for_selector("body[data-ready=true]", timeout=90_000)
    assert alice.locator(".viewport").count() == 4 and alice.locator(".broken").count() == 0
    expect(alice.get_by_test_id("model")).to_contain_text("Blinded reading")
    violations = Axe().run(alice).response["violations"]
    assert violations == [], [(v["id"], v["nodes"][0]["html"]) for v in violations]

    # a mark and answers by mouse and keys, kept over a reload
    box = alice.get_by_test_id("viewport-0").bounding_box()
    assert box
    alice.keyboard.press("r")
    middle = (box["x"] + box["width"] * 0.8, box["y"] + box["height"] * 0.4)
    drag(alice, middle, (middle[0] + 50, middle[1] + 60))
    expect(alice.get_by_test_id("mark-list").locator("li")).to_have_count(1)
    alice.keyboard.press("n" if run["case"]["call"] else "y")
    alice.keyboard.press("1")
    alice.keyboard.press("b")
    alice.locator("#q-malignancy").fill("5" if run["case"]["call"] else "95")
    expect(alice.get_by_test_id("saved")).to_have_attribute("data-state", "saved", timeout=15_000)
    alice.wait_for_timeout(700)
    alice.reload()
    alice.wait_for_selector("body[data-ready=true]", timeout=90_000)
    expect(alice.get_by_test_id("mark-list").locator("li")).to_have_count(1)
    expect(alice.locator("[data-question=birads] [aria-checked=true]")).to_have_text("1")

    # submit: the second reading appears in Bob's open worklist
    alice.get_by_test_id("submit").click()
    wait_for(lambda: not alice.url.endswith(newest["url"]) or alice.get_by_test_id("done").count(), 60, "it is sent")
    wanted = (
        "SELECT s.id FROM programmes_assignment s JOIN programmes_assignment f ON f.case_id = s.case_id "
        "WHERE f.id = %s AND s.kind = 'second'"
    )
    second = wait_for(lambda: stack.query(wanted, newest["id"]), 60, "a second reading is asked for")
    row = bob.locator(f"main table tbody tr[data-href$='/read/{second[0]['id']}/']")
    expect(row).to_contain_text("Second reading", timeout=60_000)
    assert faults == []
