"""Heads at the portal's door: slices wait for their series, and none comes into the archive with its face."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.utils import timezone
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import JPEG2000Lossless, SecondaryCaptureImageStorage

from inference.preprocess import fiducials
from portal.accounts.models import Role
from portal.archive.actions import replace_receipt, store_receipt
from portal.core import storage
from portal.core.models import OutboxEvent
from portal.core.storage import staged_name
from portal.deidentify import actions, report
from portal.deidentify.actions import deidentify_receipt, renew_face
from portal.deidentify.faces import door, mending, stored
from portal.deidentify.models import DeidentificationReport, FaceSeries, FaceSlice, PixelQuestion
from portal.deidentify.pixels import review
from portal.ingest.inspect import opened
from portal.ingest.models import LandingFile, Receipt, Source
from portal.ingest.rules import words
from tests.factories import archive as make
from tests.factories import head_files, heads
from tests.factories.burnt import fonts
from tests.factories.burnt.grounds import bare
from tests.factories.door import archived, cleaned, look, owed, received
from tests.factories.heads import BRAIN, BRAIN_LESION, SOFT, Head

pytestmark = pytest.mark.django_db
STRANGE = "Xqvzzt Brmblk"  # neither a word nor this patient's


@pytest.fixture(scope="module")
def head() -> Head:
    return heads.scan(11, "CT", (5.0, 1.5, 1.5))


@pytest.fixture
def source() -> Iterator[Source]:
    yield Source.objects.create(organisation=make.organisation(), kind="upload", name="Door")
    stored.plan_of.cache_clear()


def nose(head: Head, n: int) -> np.ndarray:
    points = head.planes[n].points()
    front = (np.abs(points[..., 0]) < 8) & (points[..., 1] < -104) & (points[..., 2] < -45)
    return front & (head.labels[n] == SOFT)


def of_nose(head: Head) -> int:
    """The slice with most of the nose."""
    return max(range(len(head.planes)), key=lambda n: nose(head, n).sum())


def of_lesion(head: Head) -> int:
    return max(range(len(head.planes)), key=lambda n: (head.labels[n] == BRAIN_LESION).sum())


def arrive(source: Source, scans: list[Dataset]) -> list[Receipt]:
    """Received and held, in any order; the receipts in the slices' order."""
    found: dict[int, Receipt] = {}
    for n in random.Random(4).sample(range(len(scans)), len(scans)):
        found[n] = deidentify_receipt(received(source, head_files.encoded(scans[n])).pk)
    return [found[n] for n in range(len(scans))]


def clean_file(receipt: Receipt) -> Dataset:
    with storage.archive().open(staged_name(receipt.pk)) as file:
        return dcmread(BytesIO(file.read()))


def faceless(head: Head, n: int, before: Dataset, after: Dataset) -> bool:
    """Whether the nose of a slice is another and everything behind the face is the same to the bit."""
    old, new = before.pixel_array, after.pixel_array
    behind = head.planes[n].points()[..., 1] > 0
    assert np.array_equal(new[behind], old[behind])
    kept = np.isin(head.labels[n], [BRAIN, BRAIN_LESION])
    assert np.array_equal(new[kept], old[kept])
    return bool((new != old)[nose(head, n)].mean() > 0.9)


def test_slices_wait_for_their_series_and_lose_the_face_together(source: Source, head: Head, settings: Any) -> None:
    scans = head_files.datasets(head)
    receipts = arrive(source, scans)
    assert {(r.state, r.reason) for r in receipts} == {("received", "waits_for_series")}
    assert "faces" in words(receipts[0].reason)
    assert not [r for r in receipts if storage.archive().exists(staged_name(r.pk))]
    series = FaceSeries.objects.get()
    assert scans[0].SeriesInstanceUID not in series.digest and series.state == "waiting"
    settings.FACE_SETTLE_SECONDS = 3600
    assert door.look_at_quiet_series() == 0
    settings.FACE_SETTLE_SECONDS = 0
    assert (door.look_at_quiet_series(), door.look_at_quiet_series()) == (1, 0)
    assert owed("deidentify.series_quiet") == {str(series.pk)}
    for _ in range(2):
        door.look_at_series(series.pk)
    series.refresh_from_db()
    assert series.state == "planned"
    assert door.vault.opens_with_newest(bytes(series.plan))
    again = OutboxEvent.objects.filter(topic="deidentify.face_decided")
    assert sorted(again.values_list("key", flat=True)) == sorted(str(r.pk) for r in receipts)
    for n in (of_nose(head), of_lesion(head)):
        for _ in range(2):
            done = deidentify_receipt(receipts[n].pk)
        assert (done.state, done.reason) == ("deidentified", "")
        made = clean_file(done)
        assert made.RecognizableVisualFeatures == "NO" and "113102" in str(made.DeidentificationMethodCodeSequence)
        assert faceless(head, n, scans[n], made) == (n == of_nose(head))
        face = {"done": "replaced", "here": n == of_nose(head)}
        assert done.deidentification.face == face and "Vandersloot" not in str(made)
    [line] = report.summary(DeidentificationReport.objects.all())["faces"]
    assert (line["done"], line["files"]) == ("replaced", 2)


def test_a_series_that_never_becomes_quiet_is_looked_at_all_the_same(source: Source, head: Head, settings: Any) -> None:
    settings.FACE_SETTLE_SECONDS = settings.FACE_LATEST_SECONDS = 600
    arrive(source, head_files.datasets(head)[:2])
    assert door.look_at_quiet_series() == 0
    FaceSeries.objects.update(first_at=timezone.now() - timedelta(seconds=601))
    assert door.look_at_quiet_series() == 1


def test_what_is_not_opened_yet_may_belong_to_a_series(source: Source, head: Head, settings: Any) -> None:
    settings.FACE_SETTLE_SECONDS = 0
    one, other = head_files.datasets(head)[:2]
    arrive(source, [one])
    unopened = received(source, head_files.encoded(other))
    assert door.look_at_quiet_series() == 0
    assert deidentify_receipt(unopened.pk).reason == "waits_for_series"
    assert door.look_at_quiet_series() == 1


def test_a_late_slice_uses_the_plan_at_once(source: Source, head: Head) -> None:
    scans, n = head_files.datasets(head), of_nose(head)
    late = scans.pop(n)
    arrive(source, scans)
    look()
    receipt = deidentify_receipt(received(source, head_files.encoded(late)).pk)
    assert receipt.state == "deidentified" and faceless(head, n, late, clean_file(receipt))


def test_a_late_slice_where_the_plan_ends_within_the_face_is_waited_for(source: Source, head: Head) -> None:
    n = of_nose(head)
    scans = head_files.datasets(head)
    arrive(source, scans[n:])  # from the nose up
    look()
    assert FaceSeries.objects.get().state == "planned"
    lone = deidentify_receipt(received(source, head_files.encoded(scans[n - 4])).pk)
    assert lone.reason == "waits_for_series"
    look()
    assert store_receipt(deidentify_receipt(lone.pk).pk).state == "archived"
    made = archived(lone)
    assert made.RecognizableVisualFeatures == "YES" and made.PixelData == scans[n - 4].PixelData
    assert DeidentificationReport.objects.get(receipt=lone).face == {"done": "open", "reason": "beyond_plan"}
    assert FaceSeries.objects.get().state == "planned"  # the gap took nothing away

    arrive(source, scans[: n - 4] + scans[n - 3 : n])
    look()
    assert renew_face(lone.pk) and replace_receipt(lone.pk)
    made = archived(lone)
    assert made.RecognizableVisualFeatures == "NO" and (made.pixel_array != scans[n - 4].pixel_array).any()


def test_a_face_found_later_is_taken_out_of_the_archive_too(source: Source, head: Head) -> None:
    scans, n = head_files.datasets(head), of_nose(head)
    first = arrive(source, scans[n : n + 2])
    look()
    for receipt in first:
        assert store_receipt(cleaned(receipt.pk).pk).state == "archived"
        assert archived(receipt).RecognizableVisualFeatures == "YES"
    face = DeidentificationReport.objects.get(receipt=first[0]).face
    assert face == {"done": "open", "reason": "few_slices"} and FaceSeries.objects.get().state == "open"
    before = archived(first[0]).SOPInstanceUID

    arrive(source, scans[:n] + scans[n + 2 :])
    look()
    assert owed("deidentify.face_changed") == {str(r.pk) for r in first}
    for wanted in (True, False):
        assert renew_face(first[0].pk) is wanted
        assert replace_receipt(first[0].pk) is wanted
    made = archived(first[0])
    assert faceless(head, n, scans[n], made) and made.RecognizableVisualFeatures == "NO"
    assert made.SOPInstanceUID == before
    assert DeidentificationReport.objects.get(receipt=first[0]).face == {"done": "replaced", "here": True}


def test_a_decision_in_the_middle_of_cleaning_counts(source: Source, head: Head, monkeypatch: Any) -> None:
    scans, n = head_files.datasets(head), of_nose(head)
    [receipt] = arrive(source, scans[n : n + 1])
    look()
    make_it, calls = actions._make, []

    def meanwhile(*args: Any, **kwargs: Any) -> Any:
        made = make_it(*args, **kwargs)
        calls.append(made.face_report["done"])
        if len(calls) == 1:
            arrive(source, scans[:n] + scans[n + 1 :])
            look()
        return made

    monkeypatch.setattr(actions, "_make", meanwhile)
    assert deidentify_receipt(receipt.pk).state == "deidentified"
    with pytest.raises(door.Changed):  # no plan is not the same as one that is no longer there
        stored.plan_of(FaceSeries.objects.get().pk, 99)
    assert calls == ["open", "replaced"] and faceless(head, n, scans[n], clean_file(receipt))
    assert OutboxEvent.objects.filter(topic="deidentify.done", key=str(receipt.pk)).count() == 1


def test_a_crash_between_any_two_steps_loses_nothing(source: Source, head: Head, monkeypatch: Any) -> None:
    scans, n = head_files.datasets(head), of_nose(head)
    receipts = arrive(source, scans)
    last = FaceSeries.objects.get().last_at
    assert deidentify_receipt(receipts[n].pk).reason == "waits_for_series"  # the task came twice
    series = FaceSeries.objects.get()
    assert series.last_at == last and FaceSlice.objects.count() == len(scans)
    series.advance("planning")
    with monkeypatch.context() as patch:
        patch.setattr("portal.core.outbox.emit_all", lambda *_: (_ for _ in ()).throw(OSError("power")))
        with pytest.raises(OSError, match="power"):
            door.look_at_series(series.pk)
    series.refresh_from_db()
    assert series.state == "planning" and not FaceSlice.objects.filter(looked=True).exists()
    assert deidentify_receipt(receipts[n].pk).reason == "waits_for_series"
    door.look_at_series(series.pk)
    with monkeypatch.context() as patch:
        patch.setattr(door, "finish", lambda *_: (_ for _ in ()).throw(OSError("power")))
        with pytest.raises(OSError, match="power"):
            deidentify_receipt(receipts[n].pk)
    assert faceless(head, n, scans[n], clean_file(receipts[n]))  # what a crash left there has no face either
    assert Receipt.objects.get(pk=receipts[n].pk).state == "received"
    assert deidentify_receipt(receipts[n].pk).state == "deidentified"


def test_a_series_that_ends_workers_does_not_wait_for_ever(source: Source, head: Head, monkeypatch: Any) -> None:
    [receipt] = arrive(source, head_files.datasets(head)[:1])
    series = FaceSeries.objects.get()
    series.advance("planning")
    with monkeypatch.context() as patch:
        patch.setattr(door, "look", lambda *_: (_ for _ in ()).throw(MemoryError))
        for _ in range(door.MOST_TRIES):
            with pytest.raises(MemoryError):
                door.look_at_series(series.pk)
        door.look_at_series(series.pk)
    assert FaceSeries.objects.get().reason == "not_read: gave up"
    assert deidentify_receipt(receipt.pk).deidentification.face["done"] == "open"


def test_what_nobody_owes_any_more_is_found_and_what_is_over_is_forgotten(source: Source, head: Head) -> None:
    [receipt] = arrive(source, head_files.datasets(head)[:1])
    OutboxEvent.objects.all().delete()
    long_ago = timezone.now() - timedelta(hours=1)
    FaceSeries.objects.get().advance("planning")
    FaceSeries.objects.update(state_since=long_ago)
    assert (mending.mend(), FaceSeries.objects.get().state) == (1, "waiting")
    look()
    OutboxEvent.objects.all().delete()
    assert mending.mend() == 0
    FaceSeries.objects.update(state_since=long_ago, last_at=long_ago)
    FaceSlice.objects.update(at=long_ago)
    assert (mending.mend(), mending.mend()) == (1, 0) and owed("deidentify.face_decided") == {str(receipt.pk)}
    assert store_receipt(deidentify_receipt(receipt.pk).pk).state == "archived"
    assert mending.forget() == 0
    LandingFile.objects.all().delete()
    assert mending.forget() == 2 and not FaceSeries.objects.exists()


def test_others_pay_nothing_and_trusted_sources_are_left_alone(
    source: Source, head: Head, django_assert_num_queries: Any
) -> None:
    picture = bare(SecondaryCaptureImageStorage, "OT", np.full((64, 64), 30, "u1"), 8)
    receipt = received(source, head_files.encoded(picture))
    path = Path(storage.landing().path(LandingFile.objects.get().name))
    with opened(path) as found, django_assert_num_queries(0):
        assert door.decided(receipt, found) is None
    Source.objects.update(privacy="deidentified")
    scan = head_files.datasets(head)[of_nose(head)]
    done = deidentify_receipt(received(source, head_files.encoded(scan)).pk)
    assert done.state == "deidentified" and clean_file(done).PixelData == scan.PixelData
    assert done.deidentification.face == {} and not FaceSeries.objects.exists()


def test_what_is_no_slice_does_not_wait(source: Source, head: Head) -> None:
    scan = head_files.datasets(head)[3]
    del scan.ImagePositionPatient
    done = deidentify_receipt(received(source, head_files.encoded(scan)).pk)
    assert done.deidentification.face == {"done": "open", "reason": "no_single_slices"}
    assert clean_file(done).RecognizableVisualFeatures == "YES"


def test_a_slice_that_cannot_be_read_does_not_keep_the_face_of_the_others(source: Source, head: Head) -> None:
    scans, n = head_files.datasets(head), of_nose(head)
    receipts = arrive(source, scans)
    LandingFile.objects.filter(receipt_id=receipts[n + 6].pk).delete()
    look()
    assert FaceSeries.objects.get().state == "planned"


@pytest.mark.parametrize("syntax", ["", JPEG2000Lossless])
def test_text_and_face_go_together_and_text_can_come_back_alone(source: Source, head: Head, syntax: str) -> None:
    n = of_nose(head)
    scans = head_files.datasets(head)
    pixels = scans[n].pixel_array.copy()
    for text, top in ((STRANGE, 125), ("VANDERSLOOT QUILL", 175)):
        ink = fonts.ink(text, "DejaVuSans.ttf", 15) > 0.5
        pixels[top : top + ink.shape[0], 2 : 2 + ink.shape[1]][ink] = 4000
    scans[n].PixelData = pixels.tobytes()
    if syntax:
        scans[n].compress(syntax)
    receipts = arrive(source, scans)
    look()
    receipt = store_receipt(deidentify_receipt(receipts[n].pk).pk)
    made = archived(receipt)
    assert (made.pixel_array != pixels)[nose(head, n)].mean() > 0.9
    assert made.RecognizableVisualFeatures == "NO" and made.BurnedInAnnotation == "NO"
    codes = {item.CodeValue for item in made.DeidentificationMethodCodeSequence}
    assert {"113101", "113102"} <= codes and len(fiducials.boxes(made)) == 2
    assert "Identifying text covered" in made.DerivationDescription and "Face" in made.DerivationDescription
    assert not (made.pixel_array == 4000).any()

    row = PixelQuestion.objects.get()
    review.decide(make.user("dave", make.organisation(), Role.PACS_ADMIN), row, "keep")
    assert review.show_again(row.pk).state == "restored" and replace_receipt(receipt.pk)
    again = archived(receipt)
    x0, y0, x1, y1 = row.box
    assert np.array_equal(again.pixel_array[y0:y1, x0:x1], pixels[y0:y1, x0:x1])
    assert (again.pixel_array != pixels)[nose(head, n)].mean() > 0.9 and len(fiducials.boxes(again)) == 1
    assert again.RecognizableVisualFeatures == "NO"
