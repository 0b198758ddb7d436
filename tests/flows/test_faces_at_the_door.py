"""A head CT sent by C-STORE comes into the archive without its face: the real queues, zones and database roles."""

from __future__ import annotations

import random
import subprocess
from contextlib import suppress
from io import BytesIO
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.uid import JPEG2000Lossless, generate_uid
from scipy.spatial.transform import Rotation

from tests.factories import head_files, heads
from tests.factories.enhanced import Part, enhanced
from tests.factories.heads import BRAIN, BRAIN_LESION, SOFT
from tests.support import Stack, wait_for

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]
STATES = "SELECT state, reason, count(*) AS n FROM ingest_receipt WHERE modality = 'CT' GROUP BY 1, 2"


def test_a_head_arrives_without_its_face(stack: Stack, tmp_path: Path) -> None:
    head = heads.scan(21, "CT", (6.0, 1.5, 1.5))
    scans = head_files.datasets(head)
    paths = []
    for n, scan in enumerate(scans):
        paths.append(tmp_path / f"{n:03}.dcm")
        paths[-1].write_bytes(head_files.encoded(scan))
    random.Random(9).shuffle(paths)
    known = set(_archived(stack))
    erin = stack.as_("erin")
    before = {s["study_uid"] for s in erin.get("/api/v1/studies/?limit=500")["results"]}
    command = ["storescu", "-aet", "DEMO", "-aec", stack.aet, "127.0.0.1", str(stack.dicom_port)]
    subprocess.run([*command, *map(str, paths)], check=True, timeout=120)
    seen: dict[Path, bytes] = {}
    waits = 0

    def all_there() -> str | None:
        nonlocal waits
        waits = max(waits, _waiting(stack))
        _look_into(stack, known, seen)
        rows = erin.get("/api/v1/studies/?limit=500")["results"]
        found = [s["study_uid"] for s in rows if s["study_uid"] not in before and s["instance_count"] == len(scans)]
        return found[0] if found else None

    study = wait_for(all_there, 300, "the head is in the archive")
    assert waits > 0
    points, labels = np.stack([p.points() for p in head.planes]), np.stack(head.labels)
    nose = (np.abs(points[..., 0]) < 8) & (points[..., 1] < -104) & (points[..., 2] < -45) & (labels == SOFT)
    lesion = labels == BRAIN_LESION
    assert nose.sum() > 50 and lesion.sum() > 50
    numbers, changed = set(), []
    for content in seen.values():  # every file that ever lay in the archive's storage
        made = pydicom.dcmread(BytesIO(content))
        n = int(made.InstanceNumber) - 1
        assert made.RecognizableVisualFeatures == "NO"
        old, new = scans[n].pixel_array, made.pixel_array
        kept = np.isin(labels[n], [BRAIN, BRAIN_LESION]) | (points[n][..., 1] > 0)
        assert np.array_equal(new[kept], old[kept])
        changed.append((new != old)[nose[n]])
        numbers.add(n)
    assert numbers == set(range(len(scans)))
    assert np.concatenate(changed).mean() > 0.9
    report = stack.as_("dave").get(f"/api/v1/studies/{study}/deidentification/")["faces"]
    assert [(one["done"], one["files"]) for one in report] == [("replaced", len(scans))]
    assert not _waiting(stack)


def test_a_scout_and_a_head_in_one_file_arrive_without_the_face(stack: Stack, tmp_path: Path) -> None:
    """The scout comes first and waits: its study's Enhanced CT shows where the face is."""
    ours = {"StudyInstanceUID": generate_uid(), "FrameOfReferenceUID": generate_uid()}
    whole = heads.scan(22, "CT", (6.0, 2.0, 2.0), span=(-165.0, 100.0))
    turned = Rotation.from_matrix([[0, 0, -1], [1, 0, 0], [0, -1, 0]])
    [scout] = head_files.datasets(heads.scan(22, "CT", (2.0, 2.0, 2.0), turned, span=(0.0, 2.0)), **ours)
    made = enhanced([Part(whole)], shuffled=4, syntax=JPEG2000Lossless, **ours)
    known, seen = set(_archived(stack)), dict[Path, bytes]()
    erin = stack.as_("erin")
    before = {s["study_uid"] for s in erin.get("/api/v1/studies/?limit=500")["results"]}
    for n, (scan, offer) in enumerate([(scout, "-x="), (made.dataset, "-xv")]):
        (tmp_path / f"{n}.dcm").write_bytes(head_files.encoded(scan))
        command = ["storescu", "-R", offer, "-aet", "DEMO", "-aec", stack.aet, "127.0.0.1", str(stack.dicom_port)]
        subprocess.run([*command, str(tmp_path / f"{n}.dcm")], check=True, timeout=120)

    def both_there() -> str | None:
        _look_into(stack, known, seen)
        rows = erin.get("/api/v1/studies/?limit=500")["results"]
        found = [s["study_uid"] for s in rows if s["study_uid"] not in before and s["instance_count"] == 2]
        return found[0] if found else None

    study = wait_for(both_there, 300, "both are in the archive")
    found = {int(ds.get("NumberOfFrames", 1)): ds for ds in map(pydicom.dcmread, map(BytesIO, seen.values()))}
    assert {ds.RecognizableVisualFeatures for ds in found.values()} == {"NO"}
    old, new = made.dataset.pixel_array, found[len(whole.planes)].pixel_array
    changed = []
    for at, (_, n) in enumerate(made.frames):
        points, labels = whole.planes[n].points(), whole.labels[n]
        kept = np.isin(labels, [BRAIN, BRAIN_LESION]) | (points[..., 1] > 0)
        assert np.array_equal(new[at][kept], old[at][kept])
        nose = (np.abs(points[..., 0]) < 8) & (points[..., 1] < -104) & (points[..., 2] < -45) & (labels == SOFT)
        changed.append((new[at] != old[at])[nose])
    assert np.concatenate(changed).mean() > 0.9
    assert (found[1].pixel_array != scout.pixel_array).any()
    report = stack.as_("dave").get(f"/api/v1/studies/{study}/deidentification/")["faces"]
    assert sorted((one["done"], one["reason"]) for one in report) == [("replaced", ""), ("replaced", "from_series")]


def _look_into(stack: Stack, known: set[Path], seen: dict[Path, bytes]) -> None:
    """Remember every file that ever lies in the archive's storage."""
    for path in _archived(stack):
        if path not in known and path not in seen:
            with suppress(FileNotFoundError):  # staged until a moment ago
                seen[path] = path.read_bytes()


def _archived(stack: Stack) -> list[Path]:
    return list((stack.home.path / "storage" / "archive").rglob("*.dcm"))


def _waiting(stack: Stack) -> int:
    return sum(row["n"] for row in stack.query(STATES) if row["reason"] == "waits_for_series")
