"""Results on their way to a PACS: the report under independent readers, the sending against dcmtk's storescp."""

from __future__ import annotations

import subprocess
from datetime import timedelta
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pydicom
import pytest
from django.http import Http404
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from deploy.embedded.config import free_port
from portal.archive.files import local_copy
from portal.consensus.actions import set_truth
from portal.consensus.models import Truth
from portal.core import storage
from portal.core.errors import Refused
from portal.deidentify.models import VaultPatient
from portal.export import sr, tasks
from portal.export.models import Destination, Return
from portal.export.returns import contents
from portal.export.returns.actions import queue_returns, resend_due, retry_return
from portal.export.rules import PAUSES, derived_uid
from portal.programmes.models import Case
from tests.factories.reading import Cast, cast, owed
from tests.factories.returns import Pacs, arrived, destination, pacs, settled_case

__all__ = ["cast"]
db = pytest.mark.django_db(transaction=True)


def mark(sop_uid: str, points: list[list[float]], label: str = "mass", **more: Any) -> dict[str, Any]:
    fixed = {"id": f"{sop_uid[-6:]}{points}", "tool": "rectangle", "frame": 1}
    return {**fixed, "sop_uid": sop_uid, "points_px": points, "label": label, **more}


def build_report(case: Case, where: Destination) -> pydicom.Dataset:
    """The report of a case as it would go there, pseudonymous."""
    row = Return(organisation=case.organisation, destination=where, case=case, format="sr")
    return contents.objects(row, contents.content_of(row))[0]


def validated(report: pydicom.Dataset, folder: Path) -> str:
    """What dciodvfy says of a report; fails on any error."""
    path = folder / "report.dcm"
    report.save_as(path, enforce_file_format=True)
    done = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, timeout=60)
    words = done.stdout + done.stderr
    assert "Error" not in words, words
    return words


# --- the outline of a mark --------------------------------------------------------------------------
def test_an_outline_counts_from_the_outer_corner_of_the_first_pixel() -> None:
    # the centre of the first pixel is 0, 0 for the viewer and 0.5\0.5 for SCOORD (PS3.3 C.18.6.1.2)
    points = sr.outline([3, 4, 10, 12], 32, 40)
    assert points is not None
    assert points.tolist() == [[3.5, 4.5], [10.5, 4.5], [10.5, 12.5], [3.5, 12.5], [3.5, 4.5]]


def test_what_lies_outside_is_cut_off_and_what_has_no_area_has_no_outline() -> None:
    cut = sr.outline([-9, -9, 99, 3], 32, 40)
    assert cut is not None and (cut.min(), cut[:, 0].max(), cut[:, 1].max()) == (0, 32, 3.5)
    assert sr.outline([40, 5, 50, 9], 32, 40) is None  # right of the image
    assert sr.outline([5, 5, 5, 9], 32, 40) is None  # no width
    assert sr.outline([float("nan"), 5, 6, 9], 32, 40) is None


NUMBERS = st.floats(-200, 200)


@given(st.tuples(NUMBERS, NUMBERS, NUMBERS, NUMBERS))
def test_outlines_lie_in_the_image_and_have_an_area(box: tuple[float, float, float, float]) -> None:
    points = sr.outline(box, 32, 40)
    if points is None:
        return
    assert points.min() >= 0 and points[:, 0].max() <= 32 and points[:, 1].max() <= 40
    assert np.ptp(points[:, 0]) > 0 and np.ptp(points[:, 1]) > 0
    assert points[0].tolist() == points[-1].tolist()


# --- the report -------------------------------------------------------------------------------------
@db
def test_the_report_of_a_finished_reading_under_two_independent_readers(cast: Cast, tmp_path: Path) -> None:
    _, study = arrived(cast, tmp_path / "in")
    uids = list(study.instances.order_by("series__number", "number", "sop_uid").values_list("sop_uid", flat=True))
    drawn = {uids[0]: [20.0, 30.0, 60.0, 90.0], uids[2]: [100.25, 40.0, 140.75, 88.0]}
    marks = [mark(uid, [[b[0], b[1]], [b[2], b[3]]], "distortion") for uid, b in drawn.items()]
    case = settled_case(cast, study, marks)
    report = build_report(case, destination(cast, 104))
    words = validated(report, tmp_path)
    assert "ComprehensiveSR" in words

    read = hd.sr.srread(tmp_path / "report.dcm")
    assert read.SOPClassUID == pydicom.uid.ComprehensiveSRStorage
    assert read.CompletionFlag == "COMPLETE" and read.Modality == "SR"
    assert (read.PatientID, read.StudyInstanceUID) == (study.patient.pseudonym, study.study_uid)
    whole = read.content.get_image_measurement_groups()
    assert len(whole) == 1
    evaluations = {e.name.meaning: e.value.meaning for e in whole[0].get_qualitative_evaluations()}
    assert evaluations == {"Recall": "Yes", "BI-RADS": "4", "Density": "B"}
    measured = whole[0].get_measurements()
    assert [(m.name.meaning, m.value) for m in measured] == [("Suspicion of malignancy", 80)]
    assert {s.referenced_sop_instance_uid for s in whole[0].source_images} == set(uids)

    regions = read.content.get_planar_roi_measurement_groups()
    assert len(regions) == 2
    found = {}
    for region in regions:
        assert region.reference_type == pydicom.sr.codedict.codes.DCM.ImageRegion
        assert region.finding_type.meaning == "Architectural distortion"
        place = region.roi
        found[place.ContentSequence[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID] = place.value
    assert set(found) == set(drawn)
    for uid, box in drawn.items():
        x0, y0, x1, y1 = (v + 0.5 for v in box)  # SCOORD counts from the pixel's corner
        np.testing.assert_allclose(found[uid], [[x0, y0], [x1, y0], [x1, y1], [x0, y1], [x0, y0]])
    tracked = [g.tracking_uid for g in [*whole, *regions]]
    assert len(set(tracked)) == 3
    evidence = read.CurrentRequestedProcedureEvidenceSequence
    cited = {i.ReferencedSOPInstanceUID for e in evidence for s in e.ReferencedSeriesSequence
             for i in s.ReferencedSOPSequence}  # fmt: skip
    assert cited == set(uids)


@db
def test_marks_without_an_area_are_named_without_coordinates(cast: Cast, tmp_path: Path) -> None:
    _, study = arrived(cast, tmp_path / "in")
    uid = study.instances.order_by("pk")[0].sop_uid
    case = settled_case(cast, study, [])
    boxes = [[400, 10, 500, 60], [30, 30, 30, 70], [-40, -40, -1, -1], [190, 240, 230, 300]]
    Truth.objects.filter(case=case).update(
        marks=[{"sop_uid": uid, "box": box, "label": "mass", "support": 1.0} for box in boxes]
    )
    report = build_report(case, destination(cast, 104))
    validated(report, tmp_path)
    read = hd.sr.srread(tmp_path / "report.dcm")
    regions = read.content.get_planar_roi_measurement_groups()
    assert [r.tracking_identifier for r in regions] == ["Mark 4"]
    assert regions[0].roi.value.max(axis=0).tolist() == [208, 256]  # cut at the image's edge
    named = [g for g in read.content.get_image_measurement_groups() if g.tracking_identifier != "Reading"]
    assert [g.tracking_identifier for g in named] == ["Mark 1", "Mark 2", "Mark 3"]
    assert {s.referenced_sop_instance_uid for g in named for s in g.source_images} == {uid}


@db
def test_old_images_without_a_study_id_make_a_valid_report(cast: Cast, tmp_path: Path) -> None:
    _, study = arrived(cast, tmp_path / "in")
    case = settled_case(cast, study, [])
    where = destination(cast, 104)
    headers = []
    for instance in study.instances.all():
        with local_copy(storage.archive(), instance.name) as path:
            header = pydicom.dcmread(path, stop_before_pixels=True)
        for keyword in ("StudyID", "ReferringPhysicianName", "PatientBirthDate", "AccessionNumber"):
            if keyword in header:
                del header[keyword]
        headers.append(header)
    truth = Truth.objects.get(case=case)
    result = sr.Result(case.protocol.form, truth.answers, [], {}, derived_uid("a"), derived_uid("b"), timezone.now())
    validated(sr.build(headers, "MG", result), tmp_path)
    assert build_report(case, where).SOPInstanceUID == build_report(case, where).SOPInstanceUID


# --- sending ----------------------------------------------------------------------------------------
def sent_by_tasks(case: Case) -> None:
    """What the pipeline does: queue, then run every owed send once more than needed."""
    tasks.queue_returns(str(case.pk))
    tasks.queue_returns(str(case.pk))
    for key in owed("export.return_queued"):
        tasks.send_return(key)
        tasks.send_return(key)


@pytest.fixture
def peer(tmp_path: Path) -> Any:
    with pacs(tmp_path / "pacs") as running:
        yield running


@db
def test_the_owners_pacs_gets_the_result_under_the_original_identity(cast: Cast, tmp_path: Path, peer: Pacs) -> None:
    originals, study = arrived(cast, tmp_path / "in")
    case = settled_case(cast, study, [])
    destination(cast, peer.port, restore_identity=True)
    sent_by_tasks(case)
    (row,) = Return.objects.all()
    assert (row.state, row.attempts, row.error, row.identified) == ("sent", 1, "", True)
    (got,) = peer.objects()
    assert got.SOPInstanceUID == row.sop_uid
    first = originals[0]
    for keyword in ("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyInstanceUID",
                    "StudyDate", "StudyTime", "AccessionNumber"):  # fmt: skip
        assert first[keyword].value and got[keyword].value == first[keyword].value, keyword
    (evidence,) = got.CurrentRequestedProcedureEvidenceSequence
    assert evidence.StudyInstanceUID == first.StudyInstanceUID
    cited = {(s.SeriesInstanceUID, i.ReferencedSOPInstanceUID) for s in evidence.ReferencedSeriesSequence
             for i in s.ReferencedSOPSequence}  # fmt: skip
    assert cited == {(o.SeriesInstanceUID, o.SOPInstanceUID) for o in originals}
    text = str(got)
    for pseudonym in (study.patient.pseudonym, study.study_uid, *study.instances.values_list("sop_uid", flat=True)):
        assert pseudonym not in text
    assert "PatientIdentityRemoved" not in got and "DeidentificationMethod" not in got
    validated(got, tmp_path)
    # nothing of it stays in the portal
    assert str(first.PatientName) not in str(list(Return.objects.values()))


@db
def test_any_other_destination_gets_the_pseudonym(cast: Cast, tmp_path: Path, peer: Pacs) -> None:
    originals, study = arrived(cast, tmp_path / "in")
    case = settled_case(cast, study, [])
    destination(cast, peer.port)
    sent_by_tasks(case)
    assert Return.objects.get().identified is False
    (got,) = peer.objects()
    assert (got.PatientID, got.StudyInstanceUID) == (study.patient.pseudonym, study.study_uid)
    assert got.PatientIdentityRemoved == "YES"
    text = str(got)
    for original in originals:
        for value in (original.PatientID, original.PatientName, original.AccessionNumber, original.SOPInstanceUID):
            assert str(value) not in text


@db
def test_whose_identity_is_not_in_the_vault_is_not_sent(cast: Cast, tmp_path: Path, peer: Pacs) -> None:
    _, study = arrived(cast, tmp_path / "in")
    case = settled_case(cast, study, [])
    destination(cast, peer.port, restore_identity=True)
    VaultPatient.objects.all().delete()
    sent_by_tasks(case)
    row = Return.objects.get()
    assert row.state == "failed" and row.next_at is None and "Unknown" in row.error
    assert peer.objects() == []


@db
def test_a_new_truth_is_a_new_object_and_an_unchanged_one_is_not_sent_again(
    cast: Cast, tmp_path: Path, peer: Pacs
) -> None:
    _, study = arrived(cast, tmp_path / "in")
    case = settled_case(cast, study, [])
    destination(cast, peer.port)
    sent_by_tasks(case)
    first = Return.objects.get().sop_uid
    assert queue_returns(case.pk) == [] and len(peer.objects()) == 1
    set_truth(cast.carol, case, False, "pathology")
    sent_by_tasks(case)
    row = Return.objects.get()
    assert row.state == "sent" and row.sop_uid != first
    assert [o.SOPInstanceUID for o in peer.objects()] == [first, row.sop_uid]
    assert len({o.SeriesInstanceUID for o in peer.objects()}) == 1
    set_truth(cast.carol, case, False, "pathology")  # the same said again
    sent_by_tasks(case)
    assert len(peer.objects()) == 2


@db
def test_a_peer_that_is_away_is_tried_again_with_growing_pauses(cast: Cast, tmp_path: Path) -> None:
    _, study = arrived(cast, tmp_path / "in")
    case = settled_case(cast, study, [])
    port = free_port()
    destination(cast, port)
    queue_returns(case.pk)
    row = Return.objects.get()
    pauses = []
    for n in (1, 2, 3):
        before = timezone.now()
        tasks.send_return(str(row.pk))
        row.refresh_from_db()
        assert (row.state, row.attempts) == ("failed", n) and "does not answer" in row.error
        assert row.next_at is not None
        pauses.append((row.next_at - before).total_seconds())
        assert resend_due() == 0  # not before its time
        Return.objects.filter(pk=row.pk).update(next_at=timezone.now() - timedelta(seconds=1))
        assert resend_due() == 1 and resend_due() == 0
    assert pauses == pytest.approx([30, 60, 120], abs=20)
    with pacs(tmp_path / "pacs", port) as peer:
        tasks.send_return(str(row.pk))
        row.refresh_from_db()
        assert (row.state, row.attempts, row.error) == ("sent", 4, "") and row.sent_at is not None
        assert [o.SOPInstanceUID for o in peer.objects()] == [row.sop_uid]


@db
def test_nothing_goes_to_a_closed_destination(cast: Cast, tmp_path: Path, peer: Pacs) -> None:
    _, study = arrived(cast, tmp_path / "in")
    case = settled_case(cast, study, [])
    where = destination(cast, peer.port)
    (row,) = queue_returns(case.pk)
    where.active = False
    where.save()
    assert queue_returns(case.pk) == []
    tasks.send_return(str(row.pk))
    row.refresh_from_db()
    assert (row.state, row.error, row.next_at) == ("failed", "The destination is closed.", None)
    assert peer.objects() == [] and resend_due() == 0


@db
def test_a_failed_return_is_sent_again_by_a_pacs_administrator(cast: Cast, tmp_path: Path) -> None:
    _, study = arrived(cast, tmp_path / "in")
    case = settled_case(cast, study, [])
    destination(cast, free_port())
    (row,) = queue_returns(case.pk)
    Return.objects.filter(pk=row.pk).update(attempts=PAUSES.attempts - 1)
    tasks.send_return(str(row.pk))
    row.refresh_from_db()
    assert row.state == "failed" and row.next_at is None  # given up: a person decides
    with pytest.raises(Http404):
        retry_return(cast.alice, row)
    assert retry_return(cast.dave, row).state == "queued"
    row.refresh_from_db()
    assert (row.attempts, row.error) == (0, "")
    with pytest.raises(Refused):
        retry_return(cast.dave, row)


def test_pauses_double_and_end() -> None:
    seconds = [w.total_seconds() for n in range(1, PAUSES.attempts) if (w := PAUSES.after(n))]
    assert seconds == [30, 60, 120, 240, 480, 960, 1920, 3840, 7680, 15360, 21600]
    assert PAUSES.after(PAUSES.attempts) is None
