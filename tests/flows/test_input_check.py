"""Scans with right and wrong headers over HTTP, on the real processes: what is held, noted and let through."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread

from portal.demo.scans import stow
from tests.factories.checking import DX, phantom, upside_down_tones
from tests.support import Stack, wait_for

pytestmark = [pytest.mark.stack, pytest.mark.timeout(900)]
API = "/api/v1/input-alerts/"


def studies(stack: Stack) -> set[str]:
    return {row["study_uid"] for row in stack.as_("dave").get("/api/v1/studies/?limit=200")["results"]}


def send(stack: Stack, folder: Path, ds: Any) -> tuple[str, dict[str, Any]]:
    """Send one image; its study's UID in the portal and what the check says of its series."""
    before, path = studies(stack), folder / f"{ds.SOPInstanceUID}.dcm"
    ds.save_as(path)
    stow(stack.info["dicomweb"], stack.user("dave")["token"], [path])
    uid = wait_for(lambda: next(iter(studies(stack) - before), None), 120, "the scan is archived")
    address = f"/api/v1/studies/{uid}/input-check/"
    [row] = wait_for(lambda: stack.as_("dave").get(address), 180, "the scan is checked")
    return uid, row


def runs(stack: Stack, uid: str, *states: str) -> list[tuple[str, str]]:
    """(function, state) of a scan's runs, once all have one of these states."""
    address = f"/api/v1/studies/{uid}/runs/"

    def there() -> list[tuple[str, str]]:
        found = [(run["function"]["slug"], run["state"]) for run in stack.as_("erin").get(address)]
        return found if found and {state for _, state in found} <= {*states} else []

    return sorted(wait_for(there, 240, f"its runs are {' or '.join(states)}"))


def test_a_mammogram_that_says_chest_waits_until_it_is_decided(stack: Stack, tmp_path: Path) -> None:
    uid, row = send(stack, tmp_path, phantom("breast", **DX))
    assert (row["state"], row["claimed"], row["found"]) == ("held", "chest_frontal", "mammogram")
    assert runs(stack, uid, "held") == [("heatmap-chest-phantom", "held")]
    carol, erin, mallory = (stack.as_(name) for name in ("carol", "erin", "mallory"))
    assert row["id"] in {one["id"] for one in carol.get(f"{API}?state=held")["results"]}
    body = {"decision": "correct", "category": "mammogram", "note": "one breast"}
    for other in (erin, mallory):
        assert other.raw("POST", f"{API}{row['id']}/decide/", body).status_code == 404
    decided = [carol.post(f"{API}{row['id']}/decide/", body) for _ in range(2)]
    assert decided[0] == decided[1] and decided[0]["state"] == "corrected"
    assert runs(stack, uid, "done", "cancelled") == [
        ("heatmap-chest-phantom", "cancelled"), ("malignancy-mammo-phantom", "done"),
    ]  # fmt: skip
    # a case of the programme for mammograms, none of that for chests
    sql = (
        "SELECT p.slug FROM programmes_case c JOIN programmes_programme p ON p.id = c.programme_id "
        "JOIN archive_study s ON s.id = c.study_id WHERE s.study_uid = %s"
    )
    found = wait_for(lambda: stack.query(sql, uid), 60, "its case is made")
    assert [one["slug"] for one in found] == ["screening-mammography"]
    metadata = carol.get(f"/dicomweb/studies/{uid}/metadata")
    assert metadata[0]["00080060"]["Value"] == ["DX"]  # the header is as it came


def test_a_right_header_goes_through(stack: Stack, tmp_path: Path) -> None:
    uid, row = send(stack, tmp_path, phantom("chest"))
    assert (row["state"], row["verdict"], row["words"]) == ("passed", "agrees", "")
    assert runs(stack, uid, "done") == [("heatmap-chest-phantom", "done")]
    assert stack.as_("carol").get(f"{API}{row['id']}/")["version"] == row["version"] == "0.1.0"


def test_inverted_tones_are_noted_and_the_run_goes_on(stack: Stack, tmp_path: Path) -> None:
    ds = upside_down_tones(phantom("chest"))
    uid, row = send(stack, tmp_path, ds)
    assert dcmread(tmp_path / f"{ds.SOPInstanceUID}.dcm").PhotometricInterpretation == "MONOCHROME2"
    assert (row["state"], row["inverted"], row["found"]) == ("noted", True, "chest_frontal")
    assert runs(stack, uid, "done") == [("heatmap-chest-phantom", "done")]
