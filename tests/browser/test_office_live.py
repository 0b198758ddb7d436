"""A second reading appears in the other reader's open worklist without a reload."""

from __future__ import annotations

import subprocess
import uuid

import pytest
from playwright.sync_api import Browser, expect

from inference.phantoms import breast_case
from tests.browser.test_office_axe import PROGRAMME, sign_in
from tests.support import Stack, wait_for

pytestmark = [pytest.mark.browser, pytest.mark.stack, pytest.mark.timeout(600)]


def test_a_second_reading_arrives_while_bob_looks(
    stack: Stack, browser: Browser, tmp_path_factory: pytest.TempPathFactory
) -> None:
    files = breast_case(991, malignant=True, size=(512, 416)).write(tmp_path_factory.mktemp("live"))
    send = ["storescu", "-aet", "DEMO", "-aec", stack.aet, "127.0.0.1", str(stack.dicom_port)]
    subprocess.run([*send, *map(str, files)], check=True, timeout=120)
    alice = stack.as_("alice")
    claim = wait_for(
        lambda: alice.post("/api/v1/worklist/claim/", {"programme": PROGRAMME})["assignment"], 180, "a case is offered"
    )
    assert claim["kind"] == "first"
    call = stack.query(
        "SELECT r.call FROM infer_caseresult r JOIN infer_run u ON u.id = r.run_id"
        " JOIN programmes_case c ON c.study_id = u.study_id WHERE c.id = %s",
        claim["case"]["id"],
    )[0]["call"]

    context = browser.new_context(viewport={"width": 1400, "height": 900})
    sign_in(stack, context, "bob")
    page = context.new_page()
    page.goto(f"{stack.url}/worklist/")
    expect(page.locator("[data-live-dot]")).to_have_attribute("data-state", "on")
    page.evaluate("window.sameDocument = true")

    answers = {"recall": not call, "malignancy": 1 if call else 99, "birads": "3", "density": "B", "comment": ""}
    body = {"answers": answers, "marks": [], "active_ms": 30_000, "key": str(uuid.uuid4())}
    alice.post(f"/api/v1/assignments/{claim['id']}/submit/", body)

    row = page.locator("#worklist tr", has_text="Second reading").filter(has_text=str(claim["case"]["number"]))
    expect(row.first).to_be_visible(timeout=30_000)
    assert page.evaluate("window.sameDocument === true")
    context.close()
