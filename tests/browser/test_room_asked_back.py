"""Whoever holds a reading is told in the open reading room when a worklist manager asks for it back (UPS-RS)."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from inference.phantoms import breast_case
from tests.browser.rooms import mammograms, opened, sign_in
from tests.support import Stack

pytestmark = [pytest.mark.browser, pytest.mark.stack, pytest.mark.timeout(600)]


def test_the_open_room_says_who_is_asked(stack: Stack, browser: Browser, tmp_path: Path) -> None:
    alice, carol = stack.as_("alice"), stack.as_("carol")
    (case,) = mammograms(stack, breast_case(573, malignant=False, size=(256, 208)).write(tmp_path, truth=False))
    context = browser.new_context(viewport={"width": 1400, "height": 950})
    room = sign_in(context, stack, "alice")
    opened(room, stack, f"/read/{case['id']}/")
    expect(room.locator("header .live.on")).to_be_attached(timeout=20_000)

    study = alice.get(f"/api/v1/assignments/{case['id']}/")["images"][0]["study_uid"]
    query = f"/dicomweb/workitems?ProcedureStepState=IN%20PROGRESS&StudyInstanceUID={study}"
    [item] = carol.get(query)
    why = [{"00741238": {"vr": "LT", "Value": ["<b>Needed</b> elsewhere"]}}]
    asked = carol.raw("POST", f"/dicomweb/workitems/{item['00080018']['Value'][0]}/cancelrequest", why)
    assert asked.status_code == 202
    words = f"You are asked to give case {case['case']['number']} back: <b>Needed</b> elsewhere"
    expect(room.get_by_test_id("notice")).to_contain_text(words, timeout=30_000)
    context.close()
    alice.post(f"/api/v1/assignments/{case['id']}/release/", {})
