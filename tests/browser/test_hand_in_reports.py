"""The page to hand in reports, clicked through: typed text and files, what is said of each, and the live list."""

from __future__ import annotations

from pathlib import Path

import pydicom
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from inference.phantoms import chest
from portal.demo.scans import stow
from tests.browser.rooms import sign_in
from tests.factories.documents import pdf
from tests.factories.reports import TEXT, message
from tests.support import Stack

pytestmark = [pytest.mark.browser, pytest.mark.stack, pytest.mark.timeout(600)]
SCREENS = [("light", 1400, 950), ("dark", 1400, 950), ("light", 390, 844)]
NAMES = ("Quillfeather", "Zilquor", "Yqorvathy")


def scan(seed: int, number: str, folder: Path) -> Path:
    """A chest film of the patient whom the reports are about, with the accession number."""
    made = chest(seed, size=(96, 96))
    path = made.write(folder)[0]
    ds = pydicom.dcmread(path)
    ds.PatientID, ds.PatientName, ds.AccessionNumber = "QX771209", "Quillfeather^Rosa", number
    ds.save_as(path, enforce_file_format=True)
    return path


def result(page: Page, name: str) -> list[str]:
    line = page.locator("#results tbody tr", has_text=name).first
    expect(line).to_be_visible(timeout=60_000)
    return [cell.strip() for cell in line.locator("td").all_inner_texts()]


def accessible(page: Page) -> None:
    assert Axe().run(page).response["violations"] == []
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")


@pytest.mark.parametrize(("theme", "width", "height"), SCREENS, ids=["light", "dark", "phone"])
def test_reports_are_handed_in_and_followed(
    stack: Stack, browser: Browser, tmp_path: Path, theme: str, width: int, height: int
) -> None:
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=theme)
    page = sign_in(context, stack, "dave")
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda line: faults.append(line.text) if line.type == "error" else None)
    page.goto(f"{stack.url}/ingest/reports/")
    number = f"H-{theme[0]}{width}"

    # nothing chosen is said, and the way through by keys is seen
    page.get_by_role("button", name="Hand in").click()
    expect(page.locator("[data-chosen]")).to_have_text("Choose a file or type the report's text.")
    page.locator("#files").focus()
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Tab")
    ring = "() => getComputedStyle(document.querySelector('label[for=files]')).outlineStyle"
    assert page.evaluate(ring) == "solid"
    accessible(page)

    # typed text, by keyboard alone
    page.get_by_label("Text of the report").fill(f"{TEXT} On {theme} {width}.")
    page.get_by_role("button", name="Hand in").focus()
    page.keyboard.press("Enter")
    assert result(page, "Typed text")[0] == "Refused" and "patient ID" in result(page, "Typed text")[2]
    expect(page.get_by_label("Text of the report")).to_have_value(f"{TEXT} On {theme} {width}.")  # nothing is lost
    page.get_by_label("Patient ID").fill("QX771209")
    page.get_by_label("Accession number").fill(number)
    page.get_by_role("button", name="Hand in").click()
    expect(page.locator("#results tbody tr").first).to_contain_text("Identities are being removed.", timeout=60_000)
    expect(page.get_by_label("Patient ID")).to_have_value("")  # the next report is another patient's
    waits = page.locator("#reports tbody tr").first
    expect(waits).to_contain_text("Waits for its scan", timeout=60_000)  # comes by itself

    # files: nothing is sent before it is asked for
    good, bad, scanned = tmp_path / "good.hl7", tmp_path / "letter.docx", tmp_path / "page.pdf"
    good.write_bytes(message(accession=number, control=number))
    bad.write_bytes(b"PK\x03\x04 word")
    scanned.write_bytes(pdf(""))
    page.locator("#files").set_input_files([good, bad, scanned])
    expect(page.locator("[data-chosen]")).to_have_text("good.hl7, letter.docx, page.pdf")
    assert page.locator("#results tbody tr", has_text="good.hl7").count() == 0
    page.get_by_role("button", name="Hand in").click()
    assert result(page, "good.hl7")[0] == "Received"
    assert "Word files" in result(page, "letter.docx")[2] and "patient ID" in result(page, "page.pdf")[2]
    expect(page.locator("#progress [data-count]")).to_have_text("3 of 3 files")
    accessible(page)

    # the scan comes: both reports are filed, and the page says so without being loaded again
    page.evaluate("window.loadedOnce = true")
    stow(f"{stack.url}/dicomweb", stack.user("dave")["token"], [scan(9000 + width + len(theme), number, tmp_path)])
    filed = page.locator("#reports tbody tr", has_text="Filed with its scan.")
    expect(filed.nth(1)).to_be_visible(timeout=120_000)
    assert page.evaluate("window.loadedOnce")
    assert not [name for name in NAMES if name in page.locator("#reports").inner_text()]
    accessible(page)
    filed.first.get_by_role("link", name="Open scan").click()
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    context.close()
    assert faults == []


def test_it_stands_in_the_menu_of_those_who_send(stack: Stack, browser: Browser) -> None:
    for name, there in (("erin", True), ("alice", False)):
        context = browser.new_context(viewport={"width": 1400, "height": 950})
        page = sign_in(context, stack, name)
        page.goto(stack.url)
        assert (page.locator("#rail").get_by_role("link", name="Hand in reports").count() == 1) == there
        context.close()
