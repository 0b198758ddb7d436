"""A settled case goes back to the owner's PACS by itself: the real queues, zones and database roles, and storescp."""

from __future__ import annotations

import subprocess
import uuid
from pathlib import Path
from typing import Any

import psycopg
import pydicom
import pytest

from inference.phantoms import breast_case
from tests.factories.returns import pacs
from tests.flows.test_main_journey import answers, claim_study, finished_run, submit
from tests.support import Stack, wait_for

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]
DESTINATION = """
    INSERT INTO export_destination (organisation_id, name, kind, ae_title, host, port, tls, url, secret, wants,
                                    automatic, active, restore_identity, commit)
    SELECT id, 'Owner', 'dimse', 'PACS', '127.0.0.1', %s, false, '', '', '{sr,gsps,model-sr}', true, true, true, false
    FROM accounts_organisation WHERE slug = 'lakeside'
"""


def test_a_settled_case_reaches_the_pacs_under_its_identity(stack: Stack, tmp_path: Path) -> None:
    originals = breast_case(90210, malignant=False, size=(512, 416)).write(tmp_path / "case")
    first = pydicom.dcmread(originals[0])
    erin, alice = stack.as_("erin"), stack.as_("alice")
    before = {s["id"] for s in erin.get("/api/v1/studies/")["results"]}
    with pacs(tmp_path / "pacs") as peer:
        with psycopg.connect(stack.home.database_url("owner")) as db:
            db.execute(DESTINATION, [peer.port])
        command = ["storescu", "-aet", "DEMO", "-aec", stack.aet, "127.0.0.1", str(stack.dicom_port)]
        subprocess.run([*command, *map(str, originals)], check=True, timeout=120)
        study = wait_for(
            lambda: next(
                (
                    str(s["study_uid"])
                    for s in erin.get("/api/v1/studies/")["results"]
                    if s["id"] not in before and s["instance_count"] == 4
                ),
                None,
            ),
            60,
            "the study is in the archive",
        )
        case = finished_run(erin, study)["case"]
        assignment = wait_for(lambda: _found(alice, study), 60, "the case is offered to Alice")
        marks = [_mark(lesion) for lesion in case["lesions"]]
        share = case["score"] / case["threshold"] / 2 if not case["call"] else 0.9
        submit(alice, assignment, answers(case["call"], round(100 * share)), marks=marks)
        sent = wait_for(
            lambda: stack.query("SELECT state, sop_uid, attempts, error, identified FROM export_return"),
            60,
            "the return is queued",
        )
        kinds = {"sr", "model-sr"} | ({"gsps"} if marks else set())
        sent = wait_for(lambda: _all_sent(stack, kinds), 60, f"all are sent: {sent}")
        objects = peer.objects()
    assert {row["sop_uid"] for row in sent} == {got.SOPInstanceUID for got in objects} and len(sent) == len(kinds)
    assert all(row["identified"] for row in sent)
    for got in objects:
        for keyword in ("PatientID", "PatientName", "PatientBirthDate", "StudyInstanceUID", "StudyDate"):
            assert got[keyword].value == first[keyword].value, keyword
    for path in (tmp_path / "pacs").iterdir():
        done = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True)
        assert "Error" not in done.stderr + done.stdout, done.stderr
    rows = str(stack.query("SELECT to_jsonb(t)::text FROM export_return t"))
    rows += str(stack.query("SELECT to_jsonb(t)::text FROM core_outboxevent t"))
    assert str(first.PatientID) not in rows and str(first.PatientName) not in rows


def _all_sent(stack: Stack, kinds: set[str]) -> list[dict[str, Any]] | None:
    rows = stack.query("SELECT * FROM export_return WHERE state = 'sent'")
    return rows if {row["format"] for row in rows} >= kinds else None


def _found(client: Any, study: str) -> str | None:
    try:
        return claim_study(client, study)
    except AssertionError:
        return None


def _mark(lesion: dict[str, Any]) -> dict[str, Any]:
    x0, y0, x1, y1 = lesion["box"]
    fixed = {"tool": "rectangle", "frame": 1, "label": "mass", "rating": round(100 * lesion["score"])}
    return {"id": uuid.uuid4().hex, "sop_uid": lesion["sop_uid"], "points_px": [[x0, y0], [x1, y1]], **fixed}
