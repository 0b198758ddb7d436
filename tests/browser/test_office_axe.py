"""Every page of the office in a real browser: no accessibility violation, no script error, no refusal by the
content security policy, nothing wider than the screen; in both themes, at desk and phone width.
"""

from __future__ import annotations

import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, expect

from inference.phantoms import breast_case
from tests.support import Stack, wait_for

pytestmark = [pytest.mark.browser, pytest.mark.stack, pytest.mark.timeout(600)]

PROGRAMME = "screening-mammography"
PAGES = [
    ("", "/accounts/login/"),
    ("", "/accounts/password/reset/"),
    ("", "/nothing-here/"),
    ("alice", "/"),
    ("alice", "/worklist/"),
    ("alice", "/programmes/"),
    ("alice", f"/programmes/{PROGRAMME}/"),
    ("alice", "/scores/"),
    ("alice", "/scans/"),
    ("alice", "/account/tokens/"),
    ("alice", "/accounts/2fa/"),
    ("alice", "/accounts/password/change/"),
    ("alice", "/accounts/logout/"),
    ("carol", "/"),
    ("carol", "/programmes/"),
    ("carol", f"/programmes/{PROGRAMME}/"),
    ("carol", f"/programmes/{PROGRAMME}/?state=arbitration"),
    ("carol", f"/programmes/{PROGRAMME}/cases/1/"),
    ("carol", f"/programmes/{PROGRAMME}/cases/1/report/"),
    ("carol", f"/programmes/{PROGRAMME}/settings/"),
    ("carol", "/functions/"),
    ("carol", "/data-sets/"),
    ("carol", "/cohorts/"),
    ("carol", "/cohorts/new/?modality=MG&sex=F"),
    ("carol", "/cohorts/1/"),
    ("carol", "/cohorts/1/edit/"),
    ("erin", "/"),
    ("dave", "/"),
    ("dave", "/ingest/"),
    ("dave", "/ingest/quarantine/"),
    ("dave", "/input-alerts/"),
    ("dave", "/pixels/"),
    ("dave", "/looks/"),
    ("dave", "/lists/"),
    ("dave", "/site-rules/"),
    ("dave", "/site-rules/new/"),
    ("dave", "/input-check/"),
    ("dave", "/ingest/sources/"),
    ("dave", "/ingest/rules/"),
    ("dave", "/ingest/upload/"),
    ("dave", "/ingest/reports/"),
    ("dave", "/returns/"),
    ("dave", "/peers/"),
    ("dave", "/peers/new/"),
    ("dave", "/peers/hl7/"),
    ("dave", "/peers/hl7/new/"),
    ("dave", "/peers/fetches/"),
    ("dave", "/peers/standing/"),
    ("dave", "/peers/standing/new/"),
    ("dave", "/peers/routing/"),
    ("dave", "/peers/routing/new/"),
    ("dave", "/peers/throughput/"),
    ("dave", "/destinations/"),
    ("dave", "/destinations/new/"),
    ("grace", "/"),
    ("grace", "/account/usage/"),
    ("grace", "/account/members/"),
    ("mallory", "/"),
    ("mallory", "/programmes/"),
    ("mallory", "/worklist/"),
]
SETTLED = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
SCREENS: list[tuple[Any, int]] = [("light", 1400), ("dark", 1400), ("light", 390)]
HEIGHT = 900


def sign_in(stack: Stack, context: BrowserContext, name: str) -> None:
    page = context.new_page()
    page.goto(f"{stack.url}/accounts/login/")
    page.get_by_label("User name or e-mail").fill(name)
    page.get_by_label("Password").fill(stack.user(name)["password"])
    page.get_by_role("button", name="Sign in").click()
    expect(page.locator("#main")).to_be_visible()
    page.close()


@pytest.fixture(scope="module")
def read_case(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> None:
    """One mammography case, read by Alice against the model, so that pages have something to show."""
    files = breast_case(77, malignant=True, size=(512, 416)).write(tmp_path_factory.mktemp("office"))
    send = ["storescu", "-aet", "DEMO", "-aec", stack.aet, "127.0.0.1", str(stack.dicom_port)]
    subprocess.run([*send, *map(str, files)], check=True, timeout=120)
    alice = stack.as_("alice")
    claim = wait_for(
        lambda: alice.post("/api/v1/worklist/claim/", {"programme": PROGRAMME})["assignment"], 180, "a case is offered"
    )
    answers = {"recall": False, "malignancy": 3, "birads": "1", "density": "B", "comment": ""}
    body = {"answers": answers, "marks": [], "active_ms": 41_000, "key": str(uuid.uuid4())}
    alice.post(f"/api/v1/assignments/{claim['id']}/submit/", body)
    cohort = {"name": "Mammograms", "description": "For the pages", "query": {"modality": "MG"}}
    assert stack.as_("carol").post("/api/v1/cohorts/", cohort)["id"] == 1
    wait_for(
        lambda: stack.query("SELECT 1 FROM second_read_comparison WHERE sentence <> ''"), 60, "the reading is compared"
    )


@contextmanager
def people(stack: Stack, browser: Browser, theme: Any, width: int) -> Iterator[dict[str, BrowserContext]]:
    """One signed-in browser context for each person, in one theme and width."""
    made: dict[str, BrowserContext] = {}
    for name in dict.fromkeys(name for name, _ in PAGES):
        context = browser.new_context(viewport={"width": width, "height": HEIGHT}, color_scheme=theme)
        if name:
            sign_in(stack, context, name)
        made[name] = context
    yield made
    for context in made.values():
        context.close()


@pytest.fixture(scope="module")
def desk(browser: Browser, stack: Stack, read_case: None) -> Iterator[dict[str, BrowserContext]]:
    with people(stack, browser, *SCREENS[0]) as made:
        yield made


@pytest.fixture(scope="module", params=SCREENS, ids=[f"{theme}-{width}" for theme, width in SCREENS])
def contexts(
    request: pytest.FixtureRequest, browser: Browser, stack: Stack, desk: dict[str, BrowserContext]
) -> Iterator[dict[str, BrowserContext]]:
    if request.param == SCREENS[0]:
        yield desk
        return
    with people(stack, browser, *request.param) as made:
        yield made


@pytest.mark.parametrize(("name", "path"), PAGES, ids=[f"{n or 'stranger'}{p}" for n, p in PAGES])
def test_a_page_is_accessible(stack: Stack, desk: dict[str, BrowserContext], name: str, path: str) -> None:
    """Loaded once: a page follows its screen and theme as they change."""
    page = desk[name].new_page()
    heard: list[str] = []
    page.on("pageerror", lambda error: heard.append(str(error)))
    page.on("console", lambda line: heard.append(line.text) if line.type == "error" else None)
    answer = page.goto(stack.url + path)
    expect(page.locator("#main")).to_be_visible()
    expected = 404 if path == "/nothing-here/" else 200
    assert answer is not None and answer.status == expected
    for theme, width in SCREENS:
        page.emulate_media(color_scheme=theme, reduced_motion="reduce")
        page.set_viewport_size({"width": width, "height": HEIGHT})
        if page.locator("[data-plot]").count():
            expect(page.locator("[data-plot][data-drawn]").first).to_be_visible()
        page.evaluate(SETTLED)  # the window's new size is laid out, and those that watch it have seen it
        found = Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]
        assert found == [], f"{theme}, {width}: {report(found)}"
        assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth"), width
    assert [line for line in heard if "404" not in line] == []
    page.close()


def test_asking_who_a_patient_is(stack: Stack, contexts: dict[str, BrowserContext]) -> None:
    """From the scan's page to the answer, which is shown once; each page on the way is accessible."""
    page = contexts["dave"].new_page()
    study = stack.query("SELECT study_uid FROM archive_study ORDER BY id LIMIT 1")[0]["study_uid"]
    page.goto(f"{stack.url}/scans/{study}/")
    page.get_by_role("link", name="Who is this?").click()
    assert Axe().run(page).response["violations"] == []
    page.get_by_label("Reason").fill("The referring doctor asked by telephone")
    page.get_by_role("button", name="Ask").click()
    page.get_by_role("button", name="Show it now").click(timeout=60_000)  # comes by itself
    expect(page.get_by_role("heading", name="Patient", exact=True)).to_be_visible()
    assert Axe().run(page).response["violations"] == []
    page.goto(page.url)
    expect(page.get_by_text("Shown before")).to_be_visible()
    page.close()


def report(violations: list[dict[str, Any]]) -> str:
    return "\n".join(f"{v['id']}: {v['help']}\n  {n['html'][:200]}" for v in violations for n in v["nodes"])


def test_the_palette_opens_a_page_by_keyboard(stack: Stack, contexts: dict[str, BrowserContext]) -> None:
    page = contexts["carol"].new_page()
    page.goto(stack.url)
    page.keyboard.press("Control+k")
    box = page.get_by_role("combobox")
    expect(box).to_be_focused()
    expect(page.get_by_role("option", name="Programmes")).to_be_visible()
    assert Axe().run(page).response["violations"] == []
    box.fill("screening")
    expect(page.get_by_role("option").first).to_contain_text("Screening mammography")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/programmes/{PROGRAMME}/")
    page.close()


def test_rows_are_walked_by_keyboard(stack: Stack, contexts: dict[str, BrowserContext]) -> None:
    page = contexts["carol"].new_page()
    page.goto(f"{stack.url}/programmes/")
    page.keyboard.press("j")
    page.keyboard.press("j")
    row = page.locator("tr:focus")
    href = row.get_attribute("data-href")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**{href}")
    page.close()


def test_why_shows_the_parts_and_the_sentence(stack: Stack, contexts: dict[str, BrowserContext]) -> None:
    row = stack.query("SELECT sentence, parts FROM second_read_comparison WHERE sentence <> '' ORDER BY id LIMIT 1")[0]
    number = stack.query(
        "SELECT c.number FROM second_read_comparison k JOIN programmes_case c ON c.id = k.case_id"
        " WHERE k.sentence <> '' ORDER BY k.id LIMIT 1"
    )[0]["number"]
    page: Page = contexts["carol"].new_page()
    page.goto(f"{stack.url}/programmes/{PROGRAMME}/cases/{number}/")
    expect(page.get_by_text(row["sentence"]).first).to_be_visible()
    for part in row["parts"]:
        expect(page.get_by_text(part["words"]).first).to_be_visible()
    page.close()


def test_members_roles_and_tokens(stack: Stack, contexts: dict[str, BrowserContext], tmp_path: Path) -> None:
    page = contexts["grace"].new_page()
    page.goto(f"{stack.url}/account/members/")
    page.get_by_role("button", name="Change roles of Grace Graf").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Account administrator").uncheck()
    dialog.get_by_label("Reader", exact=True).check()
    dialog.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Someone has to stay account administrator.")).to_be_visible()
    page.goto(f"{stack.url}/account/tokens/")
    name = f"script {uuid.uuid4().hex[:6]}"
    page.get_by_label("Name").fill(name)
    page.get_by_role("button", name="Make a token").click()
    token = page.locator("#new-token").inner_text()
    assert token not in page.goto(f"{stack.url}/account/tokens/").text()  # type: ignore[union-attr]
    page.get_by_role("button", name=f"Revoke {name}").click()
    expect(page.get_by_text(f"{name} was revoked")).to_be_visible()
    page.close()
