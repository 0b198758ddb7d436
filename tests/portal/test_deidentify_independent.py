"""Others' judgement of clean files: dciodvfy finds no error that the original had not."""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from pathlib import Path

import pydicom
import pytest
from pydicom.data import get_testdata_file

from portal.deidentify.keys import Keys
from portal.deidentify.profile import deidentify
from portal.deidentify.table import Options
from tests.bench.bench_identities import written

KEYS = Keys(ids=b"i" * 32, uids=b"u" * 32, organisation=7, patient="PAAAABBBBCCCCD", days=-1000)
FILES = [
    "CT_small",
    "MR_small",
    "SC_rgb",
    "examples_overlay",
    "reportsi",
    "test-SR",
    "liver_1frame",
    "emri_small",
    "ExplVR_BigEnd",
    "US1_J2KR",
    "MR-SIEMENS-DICOM-WithOverlays",
    "color-px",
    "JPEG2000",
]


def errors(path: Path) -> Counter[str]:
    """dciodvfy's errors, without the UIDs that they quote."""
    done = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, errors="replace", timeout=60)
    assert done.stdout or done.stderr
    found = (line for line in (done.stdout + done.stderr).splitlines() if line.startswith("Error"))
    return Counter(re.sub(r"UID [\d.]+$", "UID", line) for line in found)


@pytest.mark.parametrize("name", FILES)
def test_dciodvfy_finds_nothing_new(name: str, tmp_path: Path) -> None:
    path = Path(get_testdata_file(f"{name}.dcm"))
    _, raw = written(pydicom.dcmread(path), lambda dataset: deidentify(dataset, KEYS, Options()))
    (tmp_path / "clean.dcm").write_bytes(raw)
    assert errors(tmp_path / "clean.dcm") - errors(path) == Counter()


def test_the_judge_can_fail(tmp_path: Path) -> None:
    dataset = pydicom.dcmread(str(get_testdata_file("CT_small.dcm")))
    before = errors(Path(get_testdata_file("CT_small.dcm")))
    del dataset.SeriesInstanceUID
    dataset.save_as(tmp_path / "broken.dcm")
    assert errors(tmp_path / "broken.dcm") - before
