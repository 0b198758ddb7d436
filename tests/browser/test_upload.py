"""The upload page, clicked through: files, a folder and a zip file, with what happened to each of them."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from inference.phantoms import chest
from tests.browser.rooms import sign_in
from tests.support import Stack, wait_for

pytestmark = [pytest.mark.browser, pytest.mark.stack, pytest.mark.timeout(600)]


def row(page: Page, name: str) -> list[str]:
    line = page.locator("#results tbody tr", has_text=name).first
    expect(line).to_be_visible(timeout=60_000)
    return [cell.strip() for cell in line.locator("td").all_inner_texts()]


def test_files_a_folder_and_a_zip_are_taken_or_refused_with_a_reason(
    stack: Stack, browser: Browser, tmp_path: Path
) -> None:
    scans = [chest(seed, size=(96, 96)).write(tmp_path / str(seed))[0] for seed in (881, 882, 883)]
    context = browser.new_context(viewport={"width": 1400, "height": 950})
    page = sign_in(context, stack, "dave")
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.goto(f"{stack.url}/ingest/upload/")

    page.locator("#files").focus()
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Tab")
    ring = "() => getComputedStyle(document.querySelector('label[for=files]')).outlineStyle"
    assert page.evaluate(ring) == "solid", "who comes by keys sees where they are"

    one = tmp_path / "one.dcm"
    one.write_bytes(scans[0].read_bytes())
    notes, cut = tmp_path / "notes.txt", tmp_path / "cut.dcm"
    notes.write_text("not a scan")
    cut.write_bytes(scans[1].read_bytes()[:900])
    page.locator("#files").set_input_files([one, notes, cut])
    assert row(page, "one.dcm")[0::2] == ["Received", "Received."]
    for name in ("notes.txt", "cut.dcm"):
        state, _, words = row(page, name)
        assert state == "Quarantined" and len(words) > 10, (name, state, words)
    expect(page.locator("#progress [data-count]")).to_have_text("3 of 3 files")
    assert page.locator("#progress progress").evaluate("bar => bar.value") == 1
    assert Axe().run(page).response["violations"] == []

    folder = tmp_path / "disc"
    (folder / "IMAGES").mkdir(parents=True)
    (folder / "IMAGES" / "again.dcm").write_bytes(one.read_bytes())
    (folder / "IMAGES" / "two.dcm").write_bytes(scans[1].read_bytes())
    (folder / "DICOMDIR").write_bytes(b"a list of files")
    page.locator("#folder").set_input_files(folder)
    assert row(page, "two.dcm")[0] == "Received"
    assert row(page, "DICOMDIR")[0] == "Ignored"
    # the first file may not be archived yet; it is told to be a duplicate at once or when it is
    assert row(page, "again.dcm")[0] in ("Received", "Duplicate")

    packed = tmp_path / "packed.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        archive.write(scans[2], "deep/three.dcm")
    broken = tmp_path / "broken.zip"
    broken.write_bytes(packed.read_bytes()[:200])
    page.locator("#files").set_input_files([packed, broken])
    assert row(page, "three.dcm")[0] == "Received"
    assert row(page, "broken.zip")[0] == "Quarantined"

    # the network is away for a moment: the same files can be sent again with one click
    context.set_offline(True)
    late = tmp_path / "late.dcm"
    late.write_bytes(chest(884, size=(96, 96)).write(tmp_path / "884")[0].read_bytes())
    page.locator("#files").set_input_files(late)
    page.get_by_role("button", name="Stop").click()
    assert row(page, "late.dcm")[0] == "Not sent"
    context.set_offline(False)
    page.get_by_role("button", name="Send failed files again").click()
    wait_for(lambda: row(page, "late.dcm")[0] == "Received", 30, "the file is sent again")
    context.close()
    assert faults == []
