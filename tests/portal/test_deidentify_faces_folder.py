"""`concord deidentify` on folders with heads: a series as files, its face gone in all of them and said so."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEG2000Lossless

from portal.deidentify.folder import Job, Run, run
from portal.deidentify.table import Options
from tests.factories import head_files, heads
from tests.factories.heads import SOFT, Head

SECRET = b"s" * 40


def write(head: Head, folder: Path, part: str = "HEAD", syntax: str = ExplicitVRLittleEndian, series: str = "") -> None:
    """A file for each slice."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, content in enumerate(head_files.files(head, part, syntax, series)):
        (folder / f"{number:03}.dcm").write_bytes(content)


def clean(folder: Path, out: Path) -> Run:
    out.mkdir(exist_ok=True)
    return run(Job(folder, out, SECRET, Options()), lambda *_: None)


def pixels(folder: Path) -> tuple[list[pydicom.Dataset], np.ndarray]:
    found = sorted((pydicom.dcmread(p) for p in folder.rglob("*.dcm")), key=lambda ds: int(ds.InstanceNumber))
    return found, np.stack([ds.pixel_array for ds in found])


def codes(ds: Dataset) -> set[str]:
    return {item.CodeValue for item in ds.DeidentificationMethodCodeSequence}


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEG2000Lossless])
def test_a_series_of_a_head_loses_its_face(tmp_path: Path, syntax: str) -> None:
    head = heads.scan(11, "MR" if syntax == ImplicitVRLittleEndian else "CT", (5.0, 2.5, 2.5))
    write(head, tmp_path / "in", syntax=syntax)
    done = clean(tmp_path / "in", tmp_path / "out")
    assert (done.done, done.faces, done.heads, done.aside) == (len(head.planes), len(head.planes), 0, [])
    _, before = pixels(tmp_path / "in")
    found, after = pixels(tmp_path / "out")
    assert all(ds.RecognizableVisualFeatures == "NO" and "113102" in codes(ds) for ds in found)
    points, labels = np.stack([p.points() for p in head.planes]), np.stack(head.labels)
    nose = (np.abs(points[..., 0]) < 8) & (points[..., 1] < -104) & (labels == SOFT) & (points[..., 2] < -45)
    assert nose.sum() > 10 and (after != before)[nose].mean() > 0.9
    still = (points[..., 1] > 0) | (points[..., 2] > 0)
    assert np.array_equal(after[still], before[still])
    lines = [json.loads(line) for line in (tmp_path / "out" / "deidentification.jsonl").read_text().splitlines()]
    assert {line["face"] for line in lines} == {"replaced"}
    again = clean(tmp_path / "in", tmp_path / "out")
    assert (again.done, again.before) == (0, len(head.planes))


def test_a_slice_that_comes_later_makes_the_series_anew(tmp_path: Path) -> None:
    head = heads.scan(12, "CT", (5.0, 2.5, 2.5))
    write(head, tmp_path / "in", series="1.2.3.4")
    late = tmp_path / "in" / "030.dcm"
    late.rename(tmp_path / "late.dcm")
    clean(tmp_path / "in", tmp_path / "out")
    (tmp_path / "late.dcm").rename(late)
    done = clean(tmp_path / "in", tmp_path / "out")
    assert (done.done, done.faces) == (len(head.planes), len(head.planes))
    whole = tmp_path / "whole"
    clean(tmp_path / "in", whole)
    assert np.array_equal(pixels(whole)[1], pixels(tmp_path / "out")[1])


def test_what_has_no_face_is_copied_and_what_could_not_be_looked_at_is_said(tmp_path: Path) -> None:
    head = heads.scan(13, "CT", (5.0, 2.5, 2.5))
    crop = Head("CT", head.planes[28:], head.slices[28:], head.labels[28:])  # from above the brow
    pair = Head("CT", head.planes[14:16], head.slices[14:16], head.labels[14:16])
    write(crop, tmp_path / "in" / "crop")
    write(pair, tmp_path / "in" / "pair")
    done = clean(tmp_path / "in", tmp_path / "out")
    assert (done.faces, done.heads) == (0, 2)
    lines = [json.loads(line) for line in (tmp_path / "out" / "deidentification.jsonl").read_text().splitlines()]
    assert sorted(line["face"] for line in lines) == ["few_slices"] * 2 + ["no_face"] * len(crop.planes)
    said = [pydicom.dcmread(p).get("RecognizableVisualFeatures") for p in (tmp_path / "out").rglob("*.dcm")]
    assert said.count("YES") == 2 and said.count(None) == len(crop.planes)
    _, old = pixels(tmp_path / "in" / "crop")
    files = sorted((pydicom.dcmread(p) for p in (tmp_path / "out").rglob("*.dcm")), key=lambda d: d.InstanceNumber)
    new = np.stack([ds.pixel_array for ds in files if "RecognizableVisualFeatures" not in ds])
    assert np.array_equal(old, new)
