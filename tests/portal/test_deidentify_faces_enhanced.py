"""Heads in one file of many frames (Enhanced CT and MR): the face goes from all frames, all else stays to the bit."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, JPEG2000Lossless, JPEGLSLossless, RLELossless
from scipy.spatial.transform import Rotation

from portal.core import storage
from portal.core.storage import staged_name
from portal.deidentify.actions import deidentify_receipt
from portal.deidentify.faces import stored
from portal.deidentify.faces.frames import Files, Reader, frames, hull
from portal.deidentify.folder import Job, Run, run
from portal.deidentify.models import FaceSeries, FaceSlice
from portal.deidentify.table import Options
from portal.ingest.inspect import opened
from portal.ingest.models import Receipt, Source
from tests.factories import archive as make
from tests.factories import head_files, heads
from tests.factories.door import look, received
from tests.factories.enhanced import Made, Part, enhanced, item
from tests.factories.heads import BONE, BRAIN, BRAIN_LESION, SOFT, Head

SAGITTAL = Rotation.from_matrix([[0, 0, -1], [1, 0, 0], [0, -1, 0]])


def clean(scans: list[Dataset], tmp_path: Path) -> tuple[Run, list[Dataset]]:
    """Written, cleaned by the command, and read again in the same order."""
    (tmp_path / "in").mkdir(exist_ok=True)
    (tmp_path / "out").mkdir(exist_ok=True)
    for n, scan in enumerate(scans):
        (tmp_path / "in" / f"{n:03}.dcm").write_bytes(head_files.encoded(scan))
    done = run(Job(tmp_path / "in", tmp_path / "out", b"s" * 40, Options()), lambda *_: None)
    found = [pydicom.dcmread(path) for path in (tmp_path / "out").rglob("*.dcm")]
    return done, sorted(found, key=lambda ds: int(ds.InstanceNumber))


def faceless(made: Made, parts: list[Part], after: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """(share of the nose that is new, for each part; where frames are new). All that is promised stays to the bit."""
    old, new = made.dataset.pixel_array, after.pixel_array
    changed = old != new
    noses: list[list[np.ndarray]] = [[] for _ in parts]
    for at, (p, n) in enumerate(made.frames):
        head = parts[p].head
        points, labels = head.planes[n].points(), head.labels[n]
        kept = np.isin(labels, [BRAIN, BRAIN_LESION]) | (points[..., 1] > 0)
        kept |= (labels == BONE) & ((head.modality == "CT") | (points[..., 2] > -20)) & (points[..., 2] > 0)
        assert not (changed[at] & kept).any()
        front = (np.abs(points[..., 0]) < 8) & (points[..., 1] < -104) & (points[..., 2] < -45)
        noses[p].append(changed[at][front & (labels == SOFT)])
    found = [np.concatenate(one) for one in noses]
    return np.array([one.mean() if one.size else np.nan for one in found]), changed


@pytest.mark.parametrize(
    ("modality", "syntax", "legacy"),
    [
        ("CT", ExplicitVRLittleEndian, False),
        ("MR", ExplicitVRLittleEndian, False),
        ("CT", JPEG2000Lossless, True),
        ("MR", RLELossless, True),
        ("CT", JPEGLSLossless, False),
    ],
)
def test_a_head_in_one_file_loses_its_face(tmp_path: Path, modality: str, syntax: str, legacy: bool) -> None:
    head = heads.scan(11, modality, (5.0, 2.5, 2.5))
    slopes, start = ((1.0, 2.0), -1024.0) if modality == "CT" else ((1.0, 0.5), 0.0)
    parts = [Part(head, slopes=slopes, intercept=start)]
    made = enhanced(parts, shuffled=5, syntax=syntax, legacy=legacy)
    done, [after] = clean([made.dataset], tmp_path)
    assert (done.done, done.faces, done.heads, done.aside) == (1, 1, 0, [])
    share, changed = faceless(made, parts, after)
    assert share[0] > 0.9
    assert after.RecognizableVisualFeatures == "NO"
    assert "113102" in {one.CodeValue for one in after.DeidentificationMethodCodeSequence}
    assert after.file_meta.TransferSyntaxUID == (JPEG2000Lossless if syntax == JPEGLSLossless else syntax)
    assert (after.NumberOfFrames, changed.any((1, 2)).sum()) == (len(head.planes), changed.any((1, 2)).sum())
    # the new skin lies on the scale of each frame: soft tissue and air, by what was written down for it
    above, below = (200, -1100) if modality == "CT" else (800, -1)
    for at, (_, n) in enumerate(made.frames):
        values = after.pixel_array[at][changed[at]] * slopes[n % 2] + start
        assert not values.size or below <= values.min() <= values.max() < above


def test_two_stacks_and_moments_use_one_face(tmp_path: Path) -> None:
    """Axial twice and sagittal; the frames of all three come mixed."""
    axial, sagittal = heads.scan(12, "MR", (4.0, 2.5, 2.5)), heads.scan(12, "MR", (6.0, 2.5, 2.5), SAGITTAL)
    dark = Head("MR", axial.planes, [v * 0.5 for v in axial.slices], axial.labels)
    parts = [
        Part(axial, "1", intercept=0.0),
        Part(dark, "1", moment=2, echo=90.0, intercept=0.0),
        Part(sagittal, "2", intercept=0.0),
    ]
    made = enhanced(parts, shuffled=6)
    _, [after] = clean([made.dataset], tmp_path)
    share, changed = faceless(made, parts, after)
    assert (share > 0.9).all() and after.RecognizableVisualFeatures == "NO"
    place = {frame: at for at, frame in enumerate(made.frames)}
    for n in range(len(axial.planes)):  # one plan draws one value for one place
        first, second = place[0, n], place[1, n]
        both = changed[first] & changed[second]
        assert np.array_equal(after.pixel_array[first][both], after.pixel_array[second][both])


def test_phases_and_dimensions_of_their_own_do_not_hide_a_face(tmp_path: Path) -> None:
    """Phase images first, and a dimension that numbers the frames, as some scanners write it."""
    head = heads.scan(13, "MR", (4.0, 2.5, 2.5))
    random = np.random.default_rng(3)
    noise = [random.uniform(0, 900, v.shape).astype(np.float32) for v in head.slices]
    phase = Head("MR", head.planes, noise, head.labels)
    parts = [Part(phase, part="PHASE", intercept=0.0), Part(head, intercept=0.0)]
    made = enhanced(parts, shuffled=7)
    ds = made.dataset
    ds.DimensionIndexSequence.append(item(DimensionIndexPointer=0x00189074))  # Frame Acquisition DateTime
    for number, groups in enumerate(ds.PerFrameFunctionalGroupsSequence):
        content = groups.FrameContentSequence[0]
        content.DimensionIndexValues = [*content.DimensionIndexValues, number + 1]
    _, [after] = clean([ds], tmp_path)
    share, _ = faceless(made, parts, after)
    assert (share > 0.9).all()


def test_frames_without_a_place_and_slabs_without_a_head_are_said(tmp_path: Path) -> None:
    head = heads.scan(14, "CT", (5.0, 4.0, 4.0))
    few = enhanced([Part(Head("CT", head.planes[12:14], head.slices[12:14], head.labels[12:14]))], InstanceNumber=1)
    lost = enhanced([Part(head)], InstanceNumber=2)
    for groups in lost.dataset.PerFrameFunctionalGroupsSequence[:3]:
        del groups.PlanePositionSequence
    done, after = clean([few.dataset, lost.dataset], tmp_path)
    assert done.faces == 1 and [ds.RecognizableVisualFeatures for ds in after] == ["YES", "YES"]
    assert np.array_equal(after[0].pixel_array, few.dataset.pixel_array)
    share, changed = faceless(lost, [Part(head)], after[1])
    assert share[0] > 0.9 and not changed[:3].any()  # what is certain goes all the same
    assert "in part" in after[1].DerivationDescription


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, JPEG2000Lossless, RLELossless])
def test_frames_are_read_in_any_order(tmp_path: Path, syntax: str) -> None:
    head = heads.scan(15, "CT", (12.0, 5.0, 5.0))
    made = enhanced([Part(head, slopes=(1.0, 2.0))], shuffled=8, syntax=syntax)
    path = tmp_path / "one.dcm"
    path.write_bytes(head_files.encoded(made.dataset))
    wanted = made.dataset.pixel_array
    with opened(path) as file:
        read, found = Reader(file), frames(file.dataset)
        for n in np.random.default_rng(2).permutation(len(wanted)):
            assert np.array_equal(read(int(n)), wanted[n])
    assert [one.slope for one in found] == [(1.0, 2.0)[n % 2] for _, n in made.frames]
    assert sorted(p.place for p in hull(found)) == [head.planes[0].place, head.planes[-1].place]
    with Files(opened) as files:
        assert np.array_equal(files.values(path, 3), wanted[3] * found[3].slope - 1024)


@pytest.fixture
def source() -> Source:
    stored.plan_of.cache_clear()
    return Source.objects.create(organisation=make.organisation(), kind="upload", name="Door")


def clean_file(receipt: Receipt) -> Dataset:
    with storage.archive().open(staged_name(receipt.pk)) as file:
        return pydicom.dcmread(BytesIO(file.read()))


@pytest.mark.django_db
def test_at_the_door_it_takes_the_same_steps(source: Source) -> None:
    head = heads.scan(11, "CT", (5.0, 2.5, 2.5))
    parts = [Part(head)]
    made = enhanced(parts, shuffled=9, syntax=JPEG2000Lossless)
    receipt = deidentify_receipt(received(source, head_files.encoded(made.dataset)).pk)
    assert (receipt.state, receipt.reason) == ("received", "waits_for_series")
    assert len(FaceSlice.objects.get().plane) == 2
    look()
    assert FaceSeries.objects.get().state == "planned"
    done = deidentify_receipt(receipt.pk)
    assert done.deidentification.face == {"done": "replaced", "here": True}
    after = clean_file(done)
    share, _ = faceless(made, parts, after)
    assert share[0] > 0.9 and after.RecognizableVisualFeatures == "NO" and "Vandersloot" not in str(after)


@pytest.mark.django_db
def test_a_volume_in_two_files_is_one_head(source: Source) -> None:
    """A concatenation (PS3.3 C.7.6.16.1.3): each half alone shows no face."""
    head = heads.scan(11, "CT", (5.0, 2.5, 2.5))
    half = len(head.planes) // 3
    cut = [slice(0, half), slice(half, None)]
    parts = [Part(Head("CT", head.planes[c], head.slices[c], head.labels[c])) for c in cut]
    made = [enhanced([part], shuffled=3, SeriesInstanceUID="1.2.3.9", StudyInstanceUID="1.2.3.8") for part in parts]
    receipts = [deidentify_receipt(received(source, head_files.encoded(one.dataset)).pk) for one in made]
    assert {one.reason for one in receipts} == {"waits_for_series"}
    look()
    shares = []
    for one, part, receipt in zip(made, parts, receipts, strict=True):
        after = clean_file(deidentify_receipt(receipt.pk))
        shares.append(faceless(one, [part], after)[0][0])
        assert after.RecognizableVisualFeatures == "NO"
    assert np.nanmin(shares) > 0.9
