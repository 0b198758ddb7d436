"""A model's results in the queue of returns: valid, equal to what is stored, to Orthanc by C-STORE and STOW-RS."""

from __future__ import annotations

import gzip
from collections import Counter
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pydicom
import pytest
from django.core.management import call_command

from portal.core.sealed import seal
from portal.deidentify.models import VaultPatient
from portal.export import tasks
from portal.export.kinds import KINDS
from portal.export.models import Return
from portal.export.returns import contents
from portal.export.returns.actions import queue_run_returns
from portal.infer import actions, execute
from portal.infer.models import CaseResult, Matrix, Run
from portal.programmes.actions import make_cases
from tests.factories.objects import by_dcmjs, valid
from tests.factories.reading import Cast, cast, owed
from tests.factories.receivers import PASSWORD, USER, orthanc
from tests.factories.returns import arrived, destination, settled_case

__all__ = ["cast"]
pytestmark = pytest.mark.django_db(transaction=True)
OF_RUN = [key for key, kind in KINDS.items() if kind.of == "run"]


@pytest.fixture
def breast(cast: Cast, tmp_path: Path) -> tuple[list[pydicom.Dataset], Run]:
    call_command("concord_register_packages")
    originals, study = arrived(cast, tmp_path / "in", 41, (640, 520))
    run = next(r for r in actions.plan_runs(study.pk) if r.version.function.output_type == "malignancy")
    run = execute.execute_run(run.pk)
    assert run.state == Run.State.DONE and run.result.call, run.error
    return originals, run


def made(run: Run, kind: str, where: Any) -> list[pydicom.Dataset]:
    row = Return(organisation=run.organisation, destination=where, run=run, format=kind)
    return contents.objects(row, contents.content_of(row))


def test_every_kind_is_valid_and_says_what_the_run_said(
    cast: Cast, breast: tuple[list[pydicom.Dataset], Run], tmp_path: Path
) -> None:
    _, run = breast
    where = destination(cast, 104)
    objects = {kind: made(run, kind, where) for kind in OF_RUN}
    paths = {
        kind: [valid(ds, tmp_path / f"{kind}-{n}.dcm") for n, ds in enumerate(several)]
        for kind, several in objects.items()
    }
    assert [len(objects[kind]) for kind in OF_RUN] == [1, 1, 4, 4, 4]
    for several in paths.values():
        for path in several:
            assert by_dcmjs(path)["StudyInstanceUID"] == run.study.study_uid

    report = hd.sr.srread(paths["model-sr"][0])
    groups = {g.tracking_identifier: g for g in report.content.get_image_measurement_groups()}
    numbers = {m.name.meaning: m.value for m in groups["Case"].get_measurements()}
    assert numbers["Score"] == pytest.approx(run.result.score, abs=1e-6)
    assert numbers["Threshold"] == pytest.approx(run.result.threshold, abs=1e-6)
    assert numbers["Mean of side l"] == pytest.approx(run.result.sides["L"], abs=1e-6)
    assert [e.value.meaning for e in groups["Case"].get_qualitative_evaluations()] == ["Yes"]
    places = report.content.get_planar_roi_measurement_groups()
    lesions = run.result.lesions
    assert len(places) == len(lesions) > 0
    for place, lesion in zip(places, lesions, strict=True):
        assert place.get_measurements()[0].value == pytest.approx(lesion["score"], abs=1e-6)
        corners = np.array(lesion.get("polygon") or [lesion["box"][:2], lesion["box"][2:]]) + 0.5
        np.testing.assert_allclose(place.roi.value.min(axis=0), corners.min(axis=0), atol=1e-4)
        np.testing.assert_allclose(place.roi.value.max(axis=0), corners.max(axis=0), atol=1e-4)

    state = pydicom.dcmread(paths["model-gsps"][0])
    layers = Counter(item.GraphicLayer for item in state.GraphicAnnotationSequence)
    assert layers["MODEL"] == len({lesion["sop_uid"] for lesion in lesions}) and layers["MAP MALIGNANCY"] > 0
    for ds in map(pydicom.dcmread, paths["model-pm"]):
        source = ds.ReferencedSeriesSequence[0].ReferencedInstanceSequence[0].ReferencedSOPInstanceUID
        row = Matrix.objects.get(image__run=run, image__instance__sop_uid=source, row=64)
        stored = np.frombuffer(gzip.decompress(bytes(row.data)), np.uint8).reshape(row.shape)
        assert np.array_equal(ds.pixel_array, stored[0] / np.float32(255))


def test_no_place_goes_out_of_a_case_that_is_not_called(
    cast: Cast, breast: tuple[list[pydicom.Dataset], Run], tmp_path: Path
) -> None:
    _, run = breast
    CaseResult.objects.filter(run=run).update(call=False)
    run = Run.objects.get(pk=run.pk)
    where = destination(cast, 104)
    assert {kind: len(made(run, kind, where)) for kind in OF_RUN} == dict.fromkeys(OF_RUN, 0) | {"model-sr": 1}
    (report,) = made(run, "model-sr", where)
    read = hd.sr.srread(valid(report, tmp_path / "sr.dcm"))
    assert read.content.get_planar_roi_measurement_groups() == []
    destination(cast, 104, name="maps", wants=["model-pm"])
    (row,) = [r for r in queue_run_returns(run.pk) if r.format == "model-pm"]
    tasks.send_return(str(row.pk))
    row.refresh_from_db()
    assert (row.state, row.objects_count, row.next_at) == ("nothing", 0, None)


def test_what_a_model_says_waits_until_nobody_is_to_read_the_scan(
    cast: Cast, breast: tuple[list[pydicom.Dataset], Run]
) -> None:
    _, run = breast
    destination(cast, 104, wants=["sr", "model-sr", "model-sc"])
    make_cases(run.study_id)
    assert queue_run_returns(run.pk) == []
    case = settled_case(cast, run.study, [])
    tasks.queue_returns(str(case.pk))
    tasks.queue_returns(str(case.pk))
    rows = list(Return.objects.order_by("format").values_list("format", "case", "run"))
    assert rows == [("model-sc", None, run.pk), ("model-sr", None, run.pk), ("sr", case.pk, None)]


def test_orthanc_takes_all_kinds_by_both_ways_under_the_owners_identity(
    cast: Cast, breast: tuple[list[pydicom.Dataset], Run], tmp_path: Path
) -> None:
    originals, run = breast
    everything = [key for key, kind in KINDS.items() if "dimse" in kind.takers]
    case = settled_case(cast, run.study, _drawn(run))
    with orthanc(tmp_path / "orthanc") as peer:
        destination(cast, peer.port, ae_title="ORTHANC", wants=everything, restore_identity=True)
        tasks.queue_returns(str(case.pk))
        _send_all()
        rows = list(Return.objects.all())
        assert {r.state for r in rows} == {"sent"}, [(r.format, r.error) for r in rows]
        assert len(rows) == len(everything) and all(r.identified for r in rows)
        got = peer.objects()
        assert len(got) == sum(r.objects_count for r in rows)
        for ds in got:
            assert ds.PatientID == originals[0].PatientID and ds.StudyInstanceUID == originals[0].StudyInstanceUID
            assert run.study.study_uid not in str(ds) and "PatientIdentityRemoved" not in ds
        assert Counter(ds.SOPClassUID.name for ds in got) == {
            "Comprehensive SR Storage": 2,
            "Grayscale Softcopy Presentation State Storage": 2,
            "Segmentation Storage": 4 + len({lesion["sop_uid"] for lesion in run.result.lesions}),
            "Parametric Map Storage": 4,
            "Secondary Capture Image Storage": 4,
        }

        # the same over the web, pseudonymous: equal objects but for the identity
        web = destination(
            cast, 0, name="web", kind="dicomweb", url=peer.url, wants=everything,
            secret=seal("destination", f"{USER}:{PASSWORD}"),
        )  # fmt: skip
        tasks.queue_returns(str(case.pk))
        _send_all()
        over = list(Return.objects.filter(destination=web))
        assert {r.state for r in over} == {"sent"}, [(r.format, r.error) for r in over]
        assert not any(r.identified for r in over)
        more = [ds for ds in peer.objects() if ds.StudyInstanceUID == run.study.study_uid]
        assert len(more) == sum(r.objects_count for r in over) == len(got)
        assert {ds.PatientID for ds in more} == {run.study.patient.pseudonym}
        for original in originals:
            assert not any(str(original.PatientName) in str(ds) for ds in more)

        # a server that wants another password is tried again
        web.secret = seal("destination", "nobody:x")
        web.save()
        row = over[0]
        Return.objects.filter(pk=row.pk).update(state="queued")
        tasks.send_return(str(row.pk))
        row.refresh_from_db()
        assert (row.state, row.error) == ("failed", "web answered 401") and row.next_at


def test_whose_identity_is_not_in_the_vault_is_not_sent(cast: Cast, breast: tuple[list[pydicom.Dataset], Run]) -> None:
    _, run = breast
    destination(cast, 104, wants=["model-sc"], restore_identity=True)
    VaultPatient.objects.all().delete()
    (row,) = queue_run_returns(run.pk)
    tasks.send_return(str(row.pk))
    row.refresh_from_db()
    assert row.state == "failed" and row.next_at is None and "Unknown" in row.error


def _drawn(run: Run) -> list[dict[str, Any]]:
    """What a reader draws who sees what the model sees."""
    marks = []
    for n, lesion in enumerate(run.result.lesions):
        x0, y0, x1, y1 = lesion["box"]
        points = [[x0, y0], [x1, y0], [x1, y1], [x0, y1]]
        marks.append({"id": str(n), "tool": "freehand", "frame": 1, "sop_uid": lesion["sop_uid"], "label": "mass",
                      "points_px": points, "rating": 90})  # fmt: skip
    return marks


def _send_all() -> None:
    for key in owed("export.return_queued"):
        tasks.send_return(key)
