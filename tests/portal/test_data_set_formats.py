"""Data sets in the formats of others, read back by them: pycocotools, nibabel; ratings by the published example."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import tarfile
import zipfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom
import pytest
from django.test import Client
from PIL import Image
from pycocotools.coco import COCO
from pydicom.uid import generate_uid
from scipy import stats

from portal.archive.models import Study
from portal.core import storage
from portal.export.actions import ask_data_set, build_data_set
from portal.export.models import DataSet
from portal.export.sets import FORMATS, crowd, nifti
from portal.export.sets.common import CaseFiles
from portal.export.sets.container import content_hash, write
from portal.export.sets.mrmc import Rating, imrmc, mrmcaov
from portal.export.shapes import Shape
from portal.programmes.models import Case, Programme
from tests.factories.archive import image, plain_static, stored
from tests.factories.reading import Cast, cast
from tests.factories.returns import arrived, settled_case

__all__ = ["cast", "plain_static"]
db = pytest.mark.django_db(transaction=True)
SLUG = "screening-mammography"


def unpacked(row: DataSet, folder: Path) -> Path:
    """A data set's files, checked against its manifest."""
    with storage.archive().open(row.name) as file:
        data = file.read()
    assert hashlib.sha256(data).hexdigest() == row.sha256
    if row.container == "zip":
        zipfile.ZipFile(io.BytesIO(data)).extractall(folder)
    else:
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            archive.extractall(folder, filter="data")
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["content_sha256"] == row.content_sha256
    names = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert names == {*manifest["files"], "manifest.json"}
    for name, entry in manifest["files"].items():
        content = (folder / name).read_bytes()
        assert (hashlib.sha256(content).hexdigest(), len(content)) == (entry["sha256"], entry["bytes"]), name
    return folder


def made(cast: Cast, kind: str, folder: Path, container: str = "zip") -> Path:
    programme = Programme.objects.get(slug=SLUG, organisation=cast.lakeside)
    row = build_data_set(ask_data_set(cast.carol, programme, kind, container).pk)
    assert row.state == "ready", row.error
    return unpacked(row, folder)


@pytest.fixture
def read_case(cast: Cast, tmp_path: Path) -> tuple[list[pydicom.Dataset], Case, list[str]]:
    originals, study = arrived(cast, tmp_path / "in")
    uids = list(study.instances.order_by("series__number", "number", "pk").values_list("sop_uid", flat=True))
    marks = [
        {"id": "a", "tool": "rectangle", "frame": 1, "sop_uid": uids[0], "label": "mass", "rating": 80,
         "points_px": [[20, 30], [60, 90]]},
        {"id": "b", "tool": "freehand", "frame": 1, "sop_uid": uids[1], "label": "distortion",
         "points_px": [[30.5, 40.25], [60, 52], [40.5, 80.25]]},
    ]  # fmt: skip
    return originals, settled_case(cast, study, marks), uids


@db
def test_coco_under_pycocotools(cast: Cast, read_case: Any, tmp_path: Path) -> None:
    originals, case, _ = read_case
    folder = made(cast, "coco", tmp_path / "out", "tar")
    coco = COCO(str(folder / "annotations" / "readers.json"))
    assert len(coco.imgs) == 4
    names = {c["id"]: c["name"] for c in coco.cats.values()}
    first, second = (coco.loadAnns(coco.getAnnIds(imgIds=[n]))[0] for n in (1, 2))
    assert names[first["category_id"]] == "Mass" and names[second["category_id"]] == "Architectural distortion"
    assert first["bbox"] == [20.5, 30.5, 40, 60] and first["area"] == 2400 and first["rating"] == 80
    drawn = coco.annToMask(first)  # pycocotools' own rasteriser
    assert drawn.shape == (256, 208) and drawn.sum() == pytest.approx(2400, rel=0.03)
    # shoelace by hand: |(29.5·40 − 10·11.75)| / 2
    assert second["area"] == pytest.approx(abs(29.5 * 40 - 10 * 11.75) / 2)
    truth = COCO(str(folder / "annotations" / "truth.json"))
    assert sorted(a["bbox"] for a in truth.anns.values()) == [[20.5, 30.5, 40, 60], [31, 40.75, 29.5, 40]]
    for entry in coco.imgs.values():
        picture = np.asarray(Image.open(folder / "images" / entry["file_name"]))
        assert picture.shape[:2] == (entry["height"], entry["width"]) and picture.std() > 1
    assert json.loads((folder / "annotations" / "model.json").read_text()) == []
    everything = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    for word in (str(originals[0].PatientID), str(originals[0].PatientName), "alice", "Alice", case.study.study_uid):
        assert word.encode() not in everything


@db
def test_nifti_and_nnunet_under_nibabel(cast: Cast, read_case: Any, tmp_path: Path) -> None:
    _, case, uids = read_case
    folder = made(cast, "nifti", tmp_path / "nifti")
    values = json.loads((folder / "labels.json").read_text())
    volumes = sorted((folder / "images").iterdir())
    assert len(volumes) == 4
    volume = nibabel.load(volumes[0])
    pixels = np.asarray(volume.dataobj)
    by_uid = {i.sop_uid: i for i in case.study.instances.all()}
    archived = pydicom.dcmread(storage.archive().path(by_uid[uids[0]].name))
    assert np.array_equal(pixels[:, :, 0].T, archived.pixel_array)
    assert pixels.dtype == np.int16 or pixels.dtype == np.float32
    reader = f"reader-{cast.alice.pk}"
    box = np.asarray(nibabel.load(folder / "masks" / f"case-00001-001_{reader}.nii.gz").dataobj)
    assert box.shape == (208, 256, 1) and (box == values["Mass"]).sum() == 41 * 61 and box[20:61, 30:91, 0].all()
    assert {p.name for p in (folder / "masks").iterdir()} == {
        f"case-00001-{n:03d}_{who}.nii.gz" for n in (1, 2) for who in (reader, "truth")
    }

    folder = made(cast, "nnunet", tmp_path / "nnunet")
    (root,) = [path for path in folder.iterdir() if path.is_dir()]
    about = json.loads((root / "dataset.json").read_text())
    assert root.name.startswith("Dataset001_") and about["labels"] == {"background": 0, **values}
    assert about["numTraining"] == 4 == len(list((root / "imagesTr").iterdir()))
    for label in (root / "labelsTr").iterdir():
        scan = nibabel.load(root / "imagesTr" / label.name.replace(".nii.gz", about["file_ending"].join(["_0000", ""])))
        drawn = nibabel.load(label)
        assert drawn.shape == scan.shape and np.array_equal(drawn.affine, scan.affine)
        assert set(np.unique(np.asarray(drawn.dataobj))) <= set(about["labels"].values())


@db
def test_a_volume_lies_where_the_slices_lie(cast: Cast) -> None:
    uid, series, frame = generate_uid(), generate_uid(), generate_uid()
    row, column = [0.0, 1.0, 0.0], [0.0, 0.0, -1.0]  # sagittal: rows run to the back, columns to the feet
    planes = {}
    for n in (3, 1, 2, 0):  # they arrive in any order
        ds = image(
            "CT", study=uid, series=series, seed=n, InstanceNumber=9 - n, FrameOfReferenceUID=frame,
            ImagePositionPatient=[-30.0 + 2.5 * n, -20.0, 40.0], ImageOrientationPatient=[*row, *column],
            PixelSpacing=[0.8, 0.6], SliceThickness=2.5, RescaleSlope=1, RescaleIntercept=-1024,
        )  # fmt: skip
        planes[n] = ds
        receipt = stored(ds, cast.lakeside)
    study = Study.objects.get(study_uid=receipt.study_uid)
    case = Case(study=study, number=7)
    (stack,) = nifti.stacks(CaseFiles(case, None))
    volume, affine = nifti.read(stack)
    back = nibabel.Nifti1Image.from_bytes(gzip.decompress(nifti.packed(volume, affine)))
    data = np.asarray(back.dataobj)
    assert data.shape == (32, 40, 4)
    # the normal of these axes points to -x, so slices go from the last to the first
    for k, n in enumerate((3, 2, 1, 0)):
        assert np.array_equal(data[:, :, k].T, planes[n].pixel_array.astype(int) - 1024)
        for i, j in ((0, 0), (31, 39), (5, 17)):
            left_back_up = np.array([-30 + 2.5 * n, -20.0 + 0.6 * i, 40.0 - 0.8 * j])  # by hand
            np.testing.assert_allclose(back.affine @ [i, j, k, 1], [*(left_back_up * [-1, -1, 1]), 1], atol=1e-4)
    drawn = [Shape(str(planes[2].SOPInstanceUID), 1, "rectangle", ((4, 5), (10, 12)), "Mass", "r", "a")]
    masks = nifti.label_map(stack, drawn, {"Mass": 3, "Finding": 9})
    assert masks[4:11, 5:13, 1].tolist() == [[3] * 8] * 7 and masks.sum() == 3 * 56


def test_what_more_than_half_of_the_readers_drew() -> None:
    maps = [np.array([1, 1, 0, 2]), np.array([1, 0, 0, 2]), np.array([0, 1, 1, 1])]
    assert nifti.majority([m.astype(np.uint8) for m in maps], {"a": 1, "b": 2}).tolist() == [1, 1, 0, 2]


# --- reader studies ---------------------------------------------------------------------------------
@db
def test_ratings_and_answers_of_a_programme(cast: Cast, read_case: Any, tmp_path: Path) -> None:
    folder = made(cast, "mrmcaov", tmp_path / "aov")
    (line,) = csv.DictReader((folder / f"{SLUG}.csv").open())
    assert (line["reader"], line["case"], line["truth"], line["rating"]) == (
        f"reader-{cast.alice.pk}", "case-00001", "1", "80",
    )  # fmt: skip
    text = (made(cast, "imrmc", tmp_path / "imrmc") / f"{SLUG}.imrmc").read_text()
    assert "N0: 0\nN1: 1\nNM: 1\n\nBEGIN DATA:\n-1,case-00001,0,1\n" in text
    folder = made(cast, "crowdkit", tmp_path / "crowd")
    (answer,) = csv.DictReader((folder / "answers" / "recall.csv").open())
    assert answer == {"task": "case-00001", "worker": f"reader-{cast.alice.pk}", "label": "1"}
    (truth,) = csv.DictReader((folder / "ground_truth" / "birads.csv").open())
    assert truth == {"task": "case-00001", "label": "4"}


def test_several_choices_are_tasks_of_their_own() -> None:
    question = {"key": "q", "type": "multi", "choices": [{"value": "a"}, {"value": "b"}]}
    assert list(crowd.labels("case-1", question, ["b"])) == [("case-1/a", "0"), ("case-1/b", "1")]
    assert list(crowd.labels("case-1", {"key": "q", "type": "boolean"}, False)) == [("case-1", "0")]
    assert list(crowd.labels("case-1", {"key": "q", "type": "choice"}, None)) == []


def placements(scores: dict[Any, float], truth: dict[Any, int]) -> tuple[np.ndarray, np.ndarray]:
    """DeLong's structural components of one reader under one treatment."""
    ones = np.array([scores[c] for c in sorted(truth) if truth[c]])
    none = np.array([scores[c] for c in sorted(truth) if not truth[c]])
    wins = (ones[:, None] > none) + 0.5 * (ones[:, None] == none)
    return wins.mean(axis=1), wins.mean(axis=0)


def obuchowski_rockette(rows: list[tuple[str, str, str, int, float]]) -> dict[str, float]:
    """Two treatments, random readers and cases, DeLong covariance, Hillis' degrees of freedom (Hillis 2007)."""
    truth = {case: label for _, _, case, label, _ in rows}
    scores: dict[tuple[str, str], dict[str, float]] = defaultdict(dict)
    for reader, treatment, case, _, rating in rows:
        scores[treatment, reader][case] = rating
    cells = sorted(scores)
    treatments, readers = sorted({t for t, _ in cells}), sorted({r for _, r in cells})
    parts = {cell: placements(scores[cell], truth) for cell in cells}
    area = np.array([[parts[t, r][0].mean() for r in readers] for t in treatments])
    v10, v01 = (np.cov(np.array([parts[cell][k] for cell in cells])) for k in (0, 1))
    m, n = (len(parts[cells[0]][k]) for k in (0, 1))
    cov = v10 / m + v01 / n
    I, J = len(treatments), len(readers)  # noqa: E741
    index = {cell: k for k, cell in enumerate(cells)}
    cov2 = np.mean([cov[index[t, a], index[t, b]] for t in treatments for a in readers for b in readers if a != b])
    cov3 = np.mean([cov[index[s, a], index[t, b]] for s in treatments for t in treatments if s != t
                    for a in readers for b in readers if a != b])  # fmt: skip
    mst = J * area.mean(axis=1).var(ddof=1)
    both = area - area.mean(axis=1, keepdims=True) - area.mean(axis=0) + area.mean()
    mstr = (both**2).sum() / ((I - 1) * (J - 1))
    error = mstr + max(J * (cov2 - cov3), 0)
    df2 = error**2 / (mstr**2 / ((I - 1) * (J - 1)))
    f = mst / error
    return {"difference": area.mean(axis=1)[0] - area.mean(axis=1)[1], "f": f, "df2": df2,
            "p": stats.f.sf(f, I - 1, df2), "se": np.sqrt(2 * error / J)}  # fmt: skip


def published(got: dict[str, float]) -> None:
    """Van Dyke et al. (1993), empirical AUC, DeLong covariance, as printed by MRMCaov."""
    assert got["difference"] == pytest.approx(-0.04380032, abs=5e-9)
    assert got["se"] == pytest.approx(0.0206825, abs=5e-8)
    assert got["f"] == pytest.approx(4.484854, abs=5e-7)
    assert got["df2"] == pytest.approx(15.06611, abs=5e-6)
    assert got["p"] == pytest.approx(0.05123303, abs=5e-9)


@pytest.mark.reference
def test_the_published_analysis_comes_out_of_both_tables(reference_data: Path) -> None:
    with (reference_data / "mrmc" / "vandyke.csv").open() as file:
        rows = [Rating(f"reader-{r['reader']}", f"t{r['treatment']}", f"case-{int(r['case']):05d}", int(r["truth"]),
                       float(r["rating"])) for r in csv.DictReader(file)]  # fmt: skip
    table = list(csv.DictReader(io.StringIO(b"".join(mrmcaov(rows)).decode())))
    published(obuchowski_rockette(
        [(r["reader"], r["treatment"], r["case"], int(r["truth"]), float(r["rating"])) for r in table]
    ))  # fmt: skip
    head, _, data = imrmc(rows, "Van Dyke").decode().partition("BEGIN DATA:\n")
    told = dict(line.split(": ") for line in head.splitlines() if ": " in line)
    assert told == {"NR": "5", "N0": "69", "N1": "45", "NM": "2"}
    lines = [line.split(",") for line in data.splitlines()]
    truth = {case: int(value) for reader, case, modality, value in lines if (reader, modality) == ("-1", "0")}
    assert len(truth) == 114
    rest = [(r, t, c, truth[c], float(v)) for r, c, t, v in lines if r != "-1"]
    published(obuchowski_rockette(rest))


# --- containers -------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_the_same_content_is_the_same_file_and_nothing_is_held_whole(kind: str) -> None:
    alive = most = 0

    def pieces() -> Iterator[bytes]:
        for _ in range(40):
            yield bytes(1 << 18)

    def files() -> Iterator[tuple[str, Iterator[bytes]]]:
        nonlocal alive, most
        for n in range(3):
            alive += 1
            most = max(most, alive)
            yield f"a/{n}.bin", pieces()
            alive -= 1

    boxes = [io.BytesIO(), io.BytesIO()]
    hashes = [write(box, kind, files(), {"made_at": "then"}) for box in boxes]
    assert boxes[0].getvalue() == boxes[1].getvalue() and hashes[0] == hashes[1] and most == 1
    later = io.BytesIO()
    assert write(later, kind, files(), {"made_at": "now"}) == hashes[0] and later.getvalue() != boxes[0].getvalue()
    one = hashlib.sha256(bytes(40 << 18)).hexdigest()
    assert hashes[0] == content_hash({f"a/{n}.bin": one for n in range(3)})
    lines = "".join(f"{one}  a/{n}.bin\n" for n in range(3))
    assert hashes[0] == hashlib.sha256(lines.encode()).hexdigest()
    for wrong in ("/etc/passwd", "../x", "a/../../x"):
        with pytest.raises(ValueError):
            write(io.BytesIO(), kind, iter([(wrong, iter([b""]))]), {})


@db
def test_every_format_is_made_and_asked_for_over_the_api(cast: Cast, read_case: Any, tmp_path: Path) -> None:
    carol = Client()
    carol.force_login(cast.carol)
    path = f"/api/v1/programmes/{SLUG}/data-sets/"
    for kind in FORMATS:
        asked = carol.post(path, {"format": kind, "container": "tar"}, content_type="application/json")
        assert asked.status_code == 202, asked.content
        row = build_data_set(asked.json()["id"])
        assert row.state == "ready", (kind, row.error)
        again = build_data_set(ask_data_set(cast.carol, row.programme, kind).pk)
        assert again.content_sha256 == row.content_sha256, kind  # another container, the same content
        unpacked(row, tmp_path / kind)
    listed = carol.get(path).json()
    assert len(listed) == 2 * len(FORMATS) and all(one["file"] for one in listed)
    whole = carol.get(listed[0]["file"])
    data = b"".join(whole.streaming_content)  # type: ignore[attr-defined]
    rest = carol.get(listed[0]["file"], headers={"Range": "bytes=100-", "If-Range": whole["ETag"]})
    assert rest.status_code == 206 and b"".join(rest.streaming_content) == data[100:]  # type: ignore[attr-defined]
    assert carol.post(path, {"format": "gif"}, content_type="application/json").status_code == 400
    page = carol.post("/data-sets/", {"programme": SLUG, "format": "coco", "container": "tar"}, follow=True)
    assert "is being made" in page.content.decode()
    assert "Formats are" in carol.post("/data-sets/", {"programme": SLUG, "format": "x"}, follow=True).content.decode()
