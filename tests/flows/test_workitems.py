"""A worklist manager's way through a reading, on the real processes: a mammogram arrives by C-STORE, its work item is
found and claimed by UPS-RS, its images are fetched by WADO-RS, the reading is submitted in the portal.
"""

from __future__ import annotations

import subprocess
import uuid
from pathlib import Path
from typing import Any

import pytest
from dicomweb_client.api import DICOMwebClient
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from inference.phantoms import breast_case
from tests.support import Stack, wait_for

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]
LABEL = "Screening mammography"


def items(stack: Stack, name: str, **query: str) -> dict[str, Dataset]:
    """Work items by UID."""
    answer = stack.as_(name).http.get("/dicomweb/workitems", params={"WorklistLabel": LABEL, **query})
    assert answer.status_code in {200, 204, 206}, answer.text
    found = [Dataset.from_json(one) for one in answer.json()] if answer.content else []
    return {item.SOPInstanceUID: item for item in found}


def change(stack: Stack, name: str, uid: str, state: str, transaction: str) -> Any:
    data = {"00741000": {"vr": "CS", "Value": [state]}, "00081195": {"vr": "UI", "Value": [transaction]}}
    return stack.as_(name).raw("PUT", f"/dicomweb/workitems/{uid}/state", [data])


def claimed(stack: Stack) -> set[str]:
    """What Alice has in hand by the portal's own worklist."""
    return {i["id"] for i in stack.as_("alice").get("/api/v1/worklist/")["items"] if i["state"] == "claimed"}


def test_from_the_scanner_to_a_completed_work_item(stack: Stack, tmp_path: Path) -> None:
    before = items(stack, "alice")
    files = breast_case(4713, malignant=False, size=(256, 208)).write(tmp_path)
    send = ["storescu", "-aet", "DEMO", "-aec", stack.aet, "127.0.0.1", str(stack.dicom_port)]
    subprocess.run([*send, *map(str, files)], check=True, timeout=120)
    uid = wait_for(
        lambda: next(iter(items(stack, "alice", ProcedureStepState="SCHEDULED").keys() - before.keys()), None),
        240,
        "the case is a work item",
    )
    had, mine = claimed(stack), generate_uid()
    answer = change(stack, "alice", uid, "IN PROGRESS", mine)
    assert (answer.status_code, answer.content) == (200, b"")
    assert change(stack, "bob", uid, "IN PROGRESS", generate_uid()).status_code == 409
    item = items(stack, "alice", SOPInstanceUID=uid)[uid]
    assert item.ProcedureStepState == "IN PROGRESS"

    client = DICOMwebClient(
        f"{stack.url}/dicomweb", headers={"Authorization": f"Bearer {stack.user('alice')['token']}"}
    )
    fetched = 0
    for series in item.InputInformationSequence:
        place = (series.StudyInstanceUID, series.SeriesInstanceUID)
        for image in series.ReferencedSOPSequence:
            fetched += client.retrieve_instance(*place, image.ReferencedSOPInstanceUID).Rows == 256
    assert fetched == 4

    alice = stack.as_("alice")
    [assignment] = claimed(stack) - had
    early = change(stack, "alice", uid, "COMPLETED", mine)
    assert early.status_code == 409
    answers = {"recall": False, "malignancy": 3, "birads": "1", "density": "B", "comment": ""}
    body = {"answers": answers, "marks": [], "active_ms": 41_000, "key": str(uuid.uuid4())}
    alice.post(f"/api/v1/assignments/{assignment}/submit/", body)
    assert items(stack, "alice", SOPInstanceUID=uid)[uid].ProcedureStepState == "COMPLETED"
    done = change(stack, "alice", uid, "COMPLETED", mine)
    assert done.status_code == 200 and "already in the requested state of COMPLETED" in done.headers["Warning"]
