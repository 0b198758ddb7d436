"""Data sets and returns with something in them, in a real browser: made, changed live, downloaded, accessible."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Iterator

import psycopg
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, expect

from inference.phantoms import breast_case
from tests.browser.test_office_axe import PROGRAMME, report, sign_in
from tests.support import Stack, wait_for

pytestmark = [pytest.mark.browser, pytest.mark.stack, pytest.mark.timeout(600)]
RETURN = """
    INSERT INTO export_return (id, organisation_id, destination_id, case_id, format, state, state_since, sop_uid,
                               attempts, error, queued_at, identified, content, objects_count, answer)
    SELECT gen_random_uuid(), d.organisation_id, d.id, c.id, 'sr', 'failed', now(), '',
           12, 'AXE does not answer', now(), false, '', 0, ''
    FROM export_destination d JOIN programmes_case c ON c.organisation_id = d.organisation_id
    WHERE d.name = 'Axe' ORDER BY c.id LIMIT 1
"""


@pytest.fixture(scope="module")
def case(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A case to export and return; nobody reads it."""
    files = breast_case(78, malignant=False, size=(512, 416)).write(tmp_path_factory.mktemp("ways-out"))
    send = ["storescu", "-aet", "DEMO", "-aec", stack.aet, "127.0.0.1", str(stack.dicom_port)]
    subprocess.run([*send, *map(str, files)], check=True, timeout=120)
    wait_for(lambda: stack.query("SELECT 1 FROM programmes_case"), 60, "there is a case")


@pytest.fixture(params=["light", "dark"])
def context(request: pytest.FixtureRequest, browser: Browser) -> Iterator[BrowserContext]:
    made = browser.new_context(viewport={"width": 1400, "height": 900}, color_scheme=request.param)
    yield made
    made.close()


def accessible(page: Page) -> None:
    """No violation at desk and phone width, nothing wider than the screen."""
    for width in (1400, 390):
        page.set_viewport_size({"width": width, "height": 900})
        found = Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]
        assert found == [], report(found)
        assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    page.set_viewport_size({"width": 1400, "height": 900})


def test_a_data_set_is_made_and_downloaded(stack: Stack, context: BrowserContext, case: None) -> None:
    sign_in(stack, context, "carol")
    page = context.new_page()
    page.goto(f"{stack.url}/programmes/{PROGRAMME}/")
    page.get_by_role("button", name="Make a data set").click()
    page.wait_for_url("**/data-sets/")
    row = page.locator("#data-sets tbody tr").first
    expect(row).to_contain_text("Ready", timeout=30_000)  # by the live channel, without a reload
    digest = row.locator("code").inner_text()
    with page.expect_download() as waiting:
        row.get_by_role("link", name="Download").click()
    data = waiting.value.path().read_bytes()
    assert hashlib.sha256(data).hexdigest() == digest
    accessible(page)


def test_a_destination_and_its_failed_return(stack: Stack, context: BrowserContext, case: None) -> None:
    sign_in(stack, context, "dave")
    page = context.new_page()
    page.goto(f"{stack.url}/destinations/")
    if not page.get_by_role("link", name="Axe", exact=True).count():
        page.get_by_role("link", name="New destination").first.click()
        page.get_by_label("Name").fill("Axe")
        page.get_by_label("AE title").fill("AXE")
        page.get_by_label("Host").fill("127.0.0.1")
        page.get_by_label("Port (C-STORE, HL7)").fill("9")
        page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("link", name="Axe", exact=True)).to_be_visible()
    accessible(page)
    with psycopg.connect(stack.home.database_url("owner")) as db:
        db.execute(
            "DELETE FROM export_return r USING export_destination d WHERE d.id = r.destination_id AND d.name = 'Axe'"
        )
        db.execute(RETURN)
    page.goto(f"{stack.url}/returns/")
    expect(page.get_by_text("AXE does not answer")).to_be_visible()
    accessible(page)
    page.get_by_role("button", name="to Axe again").click()
    expect(page.get_by_text("is on its way to Axe again")).to_be_visible()
