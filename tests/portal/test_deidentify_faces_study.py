"""Scouts and single slices of a head: they get the face of another series of the study, whichever came first."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from django.utils import timezone
from pydicom.dataset import Dataset
from scipy.spatial.transform import Rotation

from portal.archive.actions import replace_receipt, store_receipt
from portal.deidentify.actions import deidentify_receipt, renew_face
from portal.deidentify.faces import door, stored
from portal.deidentify.folder import Job, run
from portal.deidentify.models import FaceSeries
from portal.deidentify.table import Options
from portal.ingest.models import Receipt, Source
from tests.factories import archive as make
from tests.factories import head_files, heads
from tests.factories.door import archived, look, owed, received
from tests.factories.heads import BRAIN, BRAIN_LESION, SOFT, Head

AXIAL = heads.scan(17, "MR", (5.0, 2.5, 2.5), span=(-165.0, 100.0))
SAGITTAL = Rotation.from_matrix([[0, 0, -1], [1, 0, 0], [0, -1, 0]])
CORONAL = Rotation.from_euler("x", 90, degrees=True)


def planes(modality: str, bright: float = 1.0) -> Head:
    """A scout: three slices, one each way, through the middle of the head."""
    thin = [heads.scan(17, modality, (2.0, 2.5, 2.5), turn, span=(0.0, 2.0)) for turn in (None, CORONAL, SAGITTAL)]
    slices = [v * bright for one in thin for v in one.slices]
    return Head(modality, [p for one in thin for p in one.planes], slices, [n for one in thin for n in one.labels])


def scans(head: Head, series: str, **values: Any) -> list[Dataset]:
    same = {"StudyInstanceUID": "1.2.3.7", "FrameOfReferenceUID": "1.2.3.6"}
    return head_files.datasets(head, series=series, **{**same, **values})


def profile(head: Head, n: int) -> np.ndarray:
    """Where the nose stands out in a slice."""
    points = head.planes[n].points()
    front = (np.abs(points[..., 0]) < 8) & (points[..., 1] < -104) & (points[..., 2] < -45)
    return front & (head.labels[n] == SOFT)


def gone(head: Head, n: int, before: Dataset, after: Dataset) -> float:
    """Share of the nose that is new; brain and all behind the face stay to the bit."""
    changed = before.pixel_array != after.pixel_array
    behind = head.planes[n].points()[..., 1] > 0
    assert not changed[np.isin(head.labels[n], [BRAIN, BRAIN_LESION]) | behind].any()
    return float(changed[profile(head, n)].mean())


@pytest.fixture
def source() -> Iterator[Source]:
    yield Source.objects.create(organisation=make.organisation(), kind="upload", name="Door")
    stored.plan_of.cache_clear()


def arrive(source: Source, found: list[Dataset]) -> list[Receipt]:
    return [deidentify_receipt(received(source, head_files.encoded(one)).pk) for one in found]


def done(receipts: list[Receipt]) -> list[Dataset]:
    for receipt in receipts:
        assert store_receipt(deidentify_receipt(receipt.pk).pk).state == "archived"
    return [archived(receipt) for receipt in receipts]


def face(receipt: Receipt) -> dict[str, Any]:
    receipt.refresh_from_db()
    return receipt.deidentification.face


@pytest.mark.django_db
def test_a_scout_gets_the_face_of_the_series_that_came_before(source: Source) -> None:
    arrive(source, scans(AXIAL, "1.2.3.1"))
    look()
    scout = planes("MR", 0.25)
    before = scans(scout, "1.2.3.2")
    receipts = arrive(source, before)
    look()
    after = done(receipts)
    assert {ds.RecognizableVisualFeatures for ds in after} == {"NO"}
    assert gone(scout, 2, before[2], after[2]) > 0.95 and profile(scout, 2).sum() > 50
    assert face(receipts[2]) == {"done": "replaced", "here": True, "reason": "from_series"}
    # skin as bright as this scout's tissue, which shows a quarter of the series' values
    changed = before[2].pixel_array != after[2].pixel_array
    assert np.percentile(after[2].pixel_array[changed], 99) < 0.25 * 420 * 1.6


@pytest.mark.django_db
def test_a_scout_that_came_first_is_cleaned_anew(source: Source) -> None:
    scout = planes("MR")
    before = scans(scout, "1.2.3.2")
    receipts = arrive(source, before)
    look()
    assert {ds.RecognizableVisualFeatures for ds in done(receipts)} == {"YES"}
    arrive(source, scans(AXIAL, "1.2.3.1"))
    look()
    assert FaceSeries.objects.filter(state="waiting").count() == 1
    look()
    assert {s.state for s in FaceSeries.objects.all()} == {"planned"}
    assert owed("deidentify.face_changed") == {str(r.pk) for r in receipts}
    for receipt in receipts:
        assert renew_face(receipt.pk) and replace_receipt(receipt.pk)
    after = archived(receipts[2])
    assert gone(scout, 2, before[2], after) > 0.95 and after.RecognizableVisualFeatures == "NO"
    look()
    assert not FaceSeries.objects.filter(state="waiting").exists()  # neither wakes the other for ever


@pytest.mark.django_db
def test_both_that_are_decided_at_once_know_of_each_other(source: Source, monkeypatch: Any) -> None:
    scout = planes("MR")
    arrive(source, scans(scout, "1.2.3.2"))
    arrive(source, scans(AXIAL, "1.2.3.1"))
    first, second = FaceSeries.objects.order_by("pk")
    FaceSeries.objects.update(first_at=timezone.now() - timedelta(days=1))
    for series in (first, second):
        series.advance("planning")
    lent = door.study.lent

    def meanwhile(*args: Any) -> Any:
        found = lent(*args)
        monkeypatch.setattr(door.study, "lent", lent)
        door.look_at_series(second.pk)  # between the look and the decision
        return found

    monkeypatch.setattr(door.study, "lent", meanwhile)
    door.look_at_series(first.pk)
    assert FaceSeries.objects.get(pk=first.pk).state == "waiting"
    look()
    assert {s.state for s in FaceSeries.objects.all()} == {"planned"}


@pytest.mark.django_db
@pytest.mark.parametrize(
    "other",
    [{"FrameOfReferenceUID": "1.2.3.66"}, {"StudyInstanceUID": "1.2.3.77"}, {"FrameOfReferenceUID": None}],
)
def test_without_the_same_study_and_frame_of_reference_nothing_is_certain(source: Source, other: Any) -> None:
    arrive(source, scans(AXIAL, "1.2.3.1"))
    look()
    scout = planes("MR")
    before = scans(scout, "1.2.3.2", **other)
    receipts = arrive(source, before)
    look()
    for old, new in zip(before, done(receipts), strict=True):
        assert new.RecognizableVisualFeatures == "YES" and new.PixelData == old.PixelData
    assert face(receipts[0]) == {"done": "open", "reason": "few_slices"}


@pytest.mark.django_db
def test_what_lies_beyond_the_series_is_left_and_said(source: Source) -> None:
    """The series ends within the face: what is certain goes, the header still says YES."""
    arrive(source, scans(heads.scan(17, "MR", (5.0, 2.5, 2.5), span=(-70.0, 100.0)), "1.2.3.1"))
    look()
    scout = planes("MR")
    before = scans(scout, "1.2.3.2")
    receipts = arrive(source, before)
    look()
    after = done(receipts)[2]
    assert gone(scout, 2, before[2], after) > 0.9 and after.RecognizableVisualFeatures == "YES"
    assert face(receipts[2]) == {"done": "open", "reason": "in_part"}


@pytest.mark.django_db
def test_a_topogram_is_no_slice_and_keeps_its_pixels(source: Source) -> None:
    """Nothing in its own header says a head; the series that comes later does."""
    ct = heads.scan(17, "CT", (5.0, 2.5, 2.5))
    lateral = heads.scan(17, "CT", (2.0, 2.5, 2.5), SAGITTAL, span=(0.0, 2.0))
    values = {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}
    [topogram] = scans(lateral, "1.2.3.3", BodyPartExamined="", **values)
    receipts = arrive(source, [topogram])
    look()
    [after] = done(receipts)
    assert "RecognizableVisualFeatures" not in after
    arrive(source, scans(ct, "1.2.3.4"))
    look()
    look()
    [receipt] = receipts
    assert renew_face(receipt.pk) and replace_receipt(receipt.pk)
    after = archived(receipt)
    assert after.RecognizableVisualFeatures == "YES" and after.PixelData == topogram.PixelData
    assert face(receipt) == {"done": "open", "reason": "projection"}


@pytest.mark.django_db
def test_too_few_slices_of_a_head_wait_for_the_rest(source: Source, settings: Any) -> None:
    """A slow sender: the first slices stay at the door as long as the setting lets them, with pauses between them."""
    settings.FACE_SETTLE_SECONDS, settings.FACE_LATEST_SECONDS = 0, 600
    every = scans(AXIAL, "1.2.3.1")
    first = arrive(source, every[44:48])  # of the crown
    for _ in range(2):
        for series in FaceSeries.objects.filter(pk__in=_quiet()):
            door.look_at_series(series.pk)
    assert FaceSeries.objects.get().state == "waiting" and not _quiet()  # nor is it looked at again for nothing
    assert {deidentify_receipt(r.pk).reason for r in first} == {"waits_for_series"}
    rest = arrive(source, every[:44] + every[48:])
    for pk in _quiet():
        door.look_at_series(pk)
    assert FaceSeries.objects.get().state == "planned"
    assert {ds.RecognizableVisualFeatures for ds in done(first + rest[:1])} == {"NO"}


@pytest.mark.django_db
def test_a_scout_that_waits_goes_on_with_its_series(source: Source, settings: Any) -> None:
    settings.FACE_SETTLE_SECONDS, settings.FACE_LATEST_SECONDS = 0, 600
    scout = planes("MR")
    receipts = arrive(source, scans(scout, "1.2.3.2"))
    for pk in _quiet():
        door.look_at_series(pk)
    assert not _quiet()
    arrive(source, scans(AXIAL, "1.2.3.1"))
    for _ in range(2):  # first the series, then the scout
        for pk in _quiet():
            door.look_at_series(pk)
    assert {ds.RecognizableVisualFeatures for ds in done(receipts)} == {"NO"}


@pytest.mark.django_db
def test_few_slices_go_on_when_the_time_is_over_and_others_at_once(source: Source, settings: Any) -> None:
    settings.FACE_SETTLE_SECONDS, settings.FACE_LATEST_SECONDS = 0, 600
    every = scans(AXIAL, "1.2.3.1")
    chest = arrive(source, scans(AXIAL, "1.2.3.5", BodyPartExamined="CHEST")[20:22])
    large = heads.scan(17, "MR", (4.0, 8.0, 8.0), span=(0.0, 8.0))  # nothing said, a field of 290 mm
    nameless = arrive(source, scans(large, "1.2.3.8", BodyPartExamined="", FrameOfReferenceUID="1.2.3.55"))
    few = arrive(source, every[20:22])
    for pk in _quiet():
        door.look_at_series(pk)
    assert {deidentify_receipt(r.pk).state for r in chest} == {"deidentified"}
    assert {deidentify_receipt(r.pk).state for r in few + nameless} == {"received"}
    FaceSeries.objects.update(first_at=timezone.now() - timedelta(seconds=601))
    for pk in _quiet():
        door.look_at_series(pk)
    assert {ds.RecognizableVisualFeatures for ds in done(few)} == {"YES"}
    assert {face(r)["reason"] for r in few} == {"few_slices"}


def _quiet() -> list[int]:
    door.look_at_quiet_series()
    return list(FaceSeries.objects.filter(state="planning").values_list("pk", flat=True))


def test_a_folder_with_a_scout_and_a_head(tmp_path: Path) -> None:
    scout = planes("MR")
    before = scans(scout, "1.2.3.2")
    for n, ds in enumerate([*before, *scans(AXIAL, "1.2.3.1")]):
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / f"{n:03}.dcm").write_bytes(head_files.encoded(ds))
    (tmp_path / "out").mkdir()

    def clean() -> Any:
        return run(Job(tmp_path / "in", tmp_path / "out", b"s" * 40, Options()), lambda *_: None)

    late = [(tmp_path / "in" / f"{n:03}.dcm").rename(tmp_path / f"{n:03}.dcm") for n in range(3, 3 + len(AXIAL.planes))]
    assert (clean().faces, clean().before) == (0, 3)
    for path in late:
        path.rename(tmp_path / "in" / path.name)
    assert clean().faces == 3 + len(AXIAL.planes)  # the scout is cleaned again
    found = [pydicom.dcmread(path) for path in (tmp_path / "out").rglob("*.dcm")]
    assert {ds.RecognizableVisualFeatures for ds in found} == {"NO"}
    [after] = [ds for ds in found if int(ds.InstanceNumber) == 3 and _sagittal(ds)]
    assert gone(scout, 2, before[2], after) > 0.95


def _sagittal(ds: Dataset) -> bool:
    return abs(float(ds.ImageOrientationPatient[1])) > 0.9
