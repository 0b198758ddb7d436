"""Where the protocol answers a difference by showing it, the reader's open windows say so without a reload."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from inference.phantoms import breast_case
from tests.browser.rooms import mammograms, opened, sign_in
from tests.support import Stack

pytestmark = [pytest.mark.browser, pytest.mark.stack, pytest.mark.timeout(600)]
TRIGGER = "UPDATE programmes_protocol SET trigger = %s WHERE hanging = 'mammography' RETURNING id"


@pytest.fixture
def case(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """A first reading that waits, under a protocol that alerts."""
    assert stack.query(TRIGGER, "alert")
    files = breast_case(571, malignant=True, size=(384, 312)).write(tmp_path_factory.mktemp("alert"), truth=False)
    yield mammograms(stack, files)[0]
    stack.query(TRIGGER, "second_reading")


def test_the_reader_who_differs_sees_it_in_the_open_windows(stack: Stack, browser: Browser, case: Any) -> None:
    call = stack.query(
        "SELECT r.call FROM infer_caseresult r JOIN infer_run u ON u.id = r.run_id"
        " JOIN programmes_case c ON c.study_id = u.study_id WHERE c.id = %s",
        case["case"]["id"],
    )[0]["call"]
    context = browser.new_context(viewport={"width": 1400, "height": 950})
    room, other = sign_in(context, stack, "alice"), context.new_page()
    opened(room, stack, f"/read/{case['id']}/")
    uid = stack.as_("alice").get(f"/api/v1/assignments/{case['id']}/")["images"][0]["study_uid"]
    opened(other, stack, f"/view/{uid}/")
    for page in (room, other):
        expect(page.locator("header .live.on")).to_be_attached(timeout=20_000)
        page.evaluate("window.sameDocument = true")
    expect(room.get_by_test_id("model").locator("h3")).to_have_count(0)

    answers = {"recall": not call, "malignancy": 1 if call else 99, "birads": "3", "density": "B", "comment": ""}
    body = {"answers": answers, "marks": [], "active_ms": 30_000, "key": str(uuid.uuid4()), "revision": 0}
    stack.as_("alice").post(f"/api/v1/assignments/{case['id']}/submit/", body)

    expect(room.get_by_test_id("model").locator("h3").first).to_be_visible(timeout=30_000)
    link = other.get_by_test_id("alerted")
    expect(link).to_contain_text(f"case {case['case']['number']}", timeout=30_000)
    assert link.get_attribute("href") == f"/read/{case['id']}/"
    assert all(page.evaluate("window.sameDocument === true") for page in (room, other))
    context.close()
