"""The scans of deid-data (PyPI), with names of made-up patients in headers and pictures, through both whole doors.

What stands in the pictures was read by eye; the places are theirs, in pixels.
"""

from __future__ import annotations

import io
import re
import shutil
import zipfile
from pathlib import Path

import deid_data
import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.pixels import iter_pixels

from inference.preprocess import fiducials
from portal.core import storage
from portal.core.storage import staged_name
from portal.deidentify.folder import Job
from portal.deidentify.table import Options
from portal.ingest.models import Source
from tests.factories import archive as make
from tests.factories.door import cleaned, received
from tests.portal.test_deidentify_command import command, lines
from tests.portal.test_deidentify_independent import named
from tests.portal.test_deidentify_regions import regions

DATA = Path(deid_data.__file__).parent / "data"
Box = tuple[int, int, int, int]
WHO: dict[str, dict[str, Box]] = {
    "GREYSCALE_IMAGE": {
        "ZZZ TEST PATIENTFI": (8, 4, 175, 22), "00079241539": (182, 4, 283, 22), "08/29/1951": (431, 4, 517, 22),
        "CCHS CLEVELAN": (555, 4, 680, 22), "03/02/2017": (822, 4, 908, 22),
    },
    "RGB_IMAGE": {
        "ZZZDOWNTIME,MARY": (3, 6, 228, 26), "00047431395": (3, 34, 137, 53), "AC": (403, 6, 434, 26),
        "4/14/2020": (620, 6, 717, 26), "120907058": (774, 6, 883, 26), "CCHS CLEVELAND CLINIC": (503, 34, 770, 53),
    },
    "GREYSCALE_CINE": {
        "ZZZ TEST PATIENTF": (6, 4, 125, 18), "00079241539": (142, 4, 221, 18), "08/29/1951": (336, 4, 405, 18),
        "CCHS CLEVELA": (433, 4, 525, 18), "03/02/2017": (642, 4, 710, 18),
    },
    "RGB_CINE": {
        "TEST, ADL": (111, 4, 214, 22), "0001128201": (111, 28, 223, 46), "01/30/1986": (461, 4, 566, 22),
        "AGMC Sports Medicine": (608, 4, 807, 24), "7-OCT-2016": (838, 4, 947, 22),
    },
}  # fmt: skip
TECHNIQUE: dict[str, dict[str, Box]] = {
    "GREYSCALE_IMAGE": {"L12-5": (14, 54, 76, 73), "36Hz": (14, 79, 69, 97), "4.0cm": (856, 699, 913, 717)},
    "RGB_IMAGE": {
        "TIS: 0.5": (957, 146, 1019, 162),
        "Sag Liver L-M": (518, 740, 693, 767),
        "16cm": (798, 744, 846, 760),
    },
    "GREYSCALE_CINE": {"36Hz": (11, 61, 54, 75), "4.0cm": (669, 546, 713, 560)},
    "RGB_CINE": {"MI 0.6": (886, 66, 931, 81), "DR 63": (934, 215, 989, 231)},
}
WHOSE = ("PatientName", "PatientID", "OtherPatientIDs", "PatientBirthDate", "StudyDate", "AccessionNumber", "StudyID",
         "InstitutionName", "ReferringPhysicianName", "OperatorsName", "RequestingPhysician", "StudyInstanceUID",
         "SeriesInstanceUID", "SOPInstanceUID")  # fmt: skip

EVERYDAY = {"test"}  # a made-up doctor's name, and what requests say in lower case
# "COMPLETED", "LOW", a history that names nobody, a device: deid takes these away, the profile keeps them
KEPT = {"StudyStatusID", "StudyPriorityID", "AdditionalPatientHistory", "GantryID"}


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    """A folder with the scans of the package, its zip files unpacked; of seven photographs without text two."""
    out = tmp_path / "scans"
    left_out = ("*.py", "*.md", "__pycache__", "*.zip", "image[2-6].dcm")
    shutil.copytree(DATA, out, ignore=shutil.ignore_patterns(*left_out))
    for path in DATA.rglob("*.zip"):
        with zipfile.ZipFile(path) as file:
            file.extractall(out)
    return out


def left(before: Dataset, after: Dataset) -> list[str]:
    """Words and numbers of the original's identity that the clean header has anywhere."""
    out = io.BytesIO()
    del after[0x7FE00010:]
    after.save_as(out, enforce_file_format=True)
    text = out.getvalue().decode("latin-1").casefold()
    values = [str(before.get(keyword) or "") for keyword in WHOSE]
    words = {w for value in values for w in value.replace("^", " ").replace(",", " ").casefold().split()} - EVERYDAY
    return sorted(w for w in words if len(w) >= 4 and re.search(rf"(?<![a-z0-9]){re.escape(w)}(?![a-z0-9])", text))


def unread(path: Path, clean: Path, boxes: dict[str, Box]) -> dict[str, float]:
    """For each text the share of its pixels that are covered, on the frame on which that is least."""
    header = dcmread(clean, stop_before_pixels=True)
    hidden = fiducials.mask(header, (int(header.Rows), int(header.Columns)))
    assert hidden is not None
    least = dict.fromkeys(boxes, 1.0)
    for one, other in zip(iter_pixels(path), iter_pixels(clean), strict=True):
        differs: NDArray[np.bool_] = one != other
        differs = differs.any(2) if differs.ndim == 3 else differs
        for text, (x0, y0, x1, y1) in boxes.items():
            part = one[y0:y1, x0:x1].astype(float)
            part = part.mean(2) if part.ndim == 3 else part
            ink = np.abs(part - np.median(part)) > 40
            assert ink.sum() > 20, f"{text} does not stand there"
            gone = (differs | hidden)[y0:y1, x0:x1][ink]
            least[text] = min(least[text], float(gone.mean()))
    return least


def same(original: Path, clean: Path) -> None:
    """The pictures show none of who it is and all of how it was made."""
    if original.stem in WHO:
        assert {t: s for t, s in unread(original, clean, WHO[original.stem]).items() if s < 0.98} == {}
        assert {t: s for t, s in unread(original, clean, TECHNIQUE[original.stem]).items() if s > 0.1} == {}


@pytest.mark.timeout(900)  # a minute alone, several on busy cores
def test_a_folder_of_them_is_clean_in_headers_and_pictures(scans: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = command(scans, out, CONCORD_VAULT_KEY="k" * 40)
    assert done.stdout.strip() == "10 clean, 0 clean before, 0 set aside, of 10 files"
    job, found = (
        Job(scans, out, b"k" * 40, Options()),
        {line["source"]: out / str(line["output"]) for line in lines(out)},
    )
    for original in scans.rglob("*.dcm"):
        path = found.pop(job.keyed("path", str(original.relative_to(scans))))
        before, after = dcmread(original, stop_before_pixels=True), dcmread(path, stop_before_pixels=True)
        original_values, values = named(before), named(after)
        kept = {n for n, v in values.items() if original_values.get(n) == v and not n.endswith("Time")} - KEPT
        assert {n for n in kept if not values[n].startswith("1.2.840.10008.")} == set()
        assert left(before, after) == [], original.name
        same(original, path)
    assert found == {}
    journal = (out / "deidentification.jsonl").read_text().casefold()
    assert not any(word in journal for word in ("zzz", "mary", "cchs", "simpson", "00047431395"))


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("name", ["GREYSCALE_IMAGE", "RGB_IMAGE", "GREYSCALE_CINE"])
def test_at_the_portals_door_nothing_is_left_where_deid_would_black_out(name: str, scans: Path, tmp_path: Path) -> None:
    """deid 0.4.13 knows these consoles: what it would black out of the original holds all of WHO."""
    original = next(scans.rglob(f"{name}.dcm"))
    source = Source.objects.create(organisation=make.organisation(), kind="upload", name="Door")
    receipt = cleaned(received(source, original.read_bytes()).pk)
    assert receipt.state == "deidentified", receipt.reason
    clean = tmp_path / "clean.dcm"
    with storage.archive().open(staged_name(receipt.pk)) as file:
        clean.write_bytes(file.read())
    assert left(dcmread(original, stop_before_pixels=True), dcmread(clean, stop_before_pixels=True)) == []
    same(original, clean)
    report = str(receipt.deidentification.pixels)
    assert not any(text in report for text in WHO[name])
    found = regions(original)
    within = [t for t, b in WHO[name].items() if any(_inside(b, region) for region in found)]
    assert len(within) == len(WHO[name])


def _inside(box: Box, region: Box) -> bool:
    return box[0] >= region[0] and box[1] >= region[1] and box[2] <= region[2] and box[3] <= region[3]
