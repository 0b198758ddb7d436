"""`concord deidentify` with encapsulated documents: their text is kept, and what it names goes everywhere."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import BasicTextSRStorage, EncapsulatedCDAStorage, EncapsulatedPDFStorage

from portal.deidentify.folder import Job, run
from portal.deidentify.table import Options
from tests.factories.documents import cda, pdf
from tests.factories.reports import TEXT, WORDS
from tests.portal.test_deidentify_command import ROOT, _env, command, lines
from tests.portal.test_reports_in import document, nothing_of, said, scan

KEY = {"CONCORD_VAULT_KEY": "k" * 40}
COMMENT = "the zilquor called, Crohn's disease known"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A scan, a PDF and a CDA of one patient; another's scan; and four files in which nothing can be read."""
    found = tmp_path / "in"
    found.mkdir()
    keep(scan(ImageComments=COMMENT), found / "scan.dcm")
    keep(document(EncapsulatedPDFStorage, pdf(TEXT)), found / "report.dcm")
    named = cda("Read with wxylander in qmarspital. " + TEXT, "Wxylander")
    keep(document(EncapsulatedCDAStorage, named), found / "c.dcm")
    keep(scan(PatientID="P2", PatientName="Other", ImageComments=COMMENT), found / "other.dcm")
    keep(document(EncapsulatedPDFStorage, pdf("")), found / "Quillfeather page.dcm")
    keep(document(EncapsulatedPDFStorage, pdf(TEXT, password="secret")), found / "locked.dcm")
    keep(document(EncapsulatedCDAStorage, b"<ClinicalDocument>"), found / "broken.dcm")
    (found / "Quillfeather.pdf").write_bytes(pdf(TEXT))
    return found


def keep(dataset: Dataset, path: Path) -> None:
    dataset.save_as(path, enforce_file_format=True)


def clean(out: Path) -> list[Dataset]:
    return [pydicom.dcmread(path) for path in sorted(out.rglob("*.dcm"))]


def test_texts_are_kept_and_what_they_name_goes_from_the_scan(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = command(folder, out, **KEY)
    assert (done.returncode, done.stdout.strip()) == (1, "4 clean, 0 clean before, 4 set aside, of 8 files")
    assert done.stderr.count("set aside (document_not_read)") == 3 and "set aside (not_dicom)" in done.stderr
    found = clean(out)
    reports = [ds for ds in found if ds.SOPClassUID == BasicTextSRStorage]
    images = {str(ds.PatientID): ds for ds in found if "PixelData" in ds}
    assert len(reports) == 2 and len(images) == 2
    for ds in reports:
        nothing_of((*WORDS, "Wxylander"), ds)
        assert ds.Modality == "SR" and "EncapsulatedDocument" not in ds and "DocumentTitle" not in ds
        assert "Known Parkinson's disease" in " ".join(said(ds).split())
        assert ds.PatientID in images and ds.AccessionNumber == images[ds.PatientID].AccessionNumber
    mine = images.pop(str(reports[0].PatientID))
    assert mine.ImageComments == "the %PATIENT NAME% called, Crohn's disease known"
    assert [ds.ImageComments for ds in images.values()] == [COMMENT]  # another patient's
    journal = (out / "deidentification.jsonl").read_text()
    assert not [word for word in (*WORDS, "Wxylander") if word.lower() in journal.lower()]
    aside = [line["reason"] for line in lines(out) if line["state"] == "set aside"]
    assert sorted(aside) == ["document_not_read"] * 3 + ["not_dicom"]


def test_the_same_again_does_nothing_and_a_changed_document_cleans_its_patient_anew(
    folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    command(folder, out, **KEY)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.dcm")}
    assert command(folder, out, **KEY).stdout.startswith("0 clean, 4 clean before, 4 set aside")
    assert before == {path: path.stat().st_mtime_ns for path in out.rglob("*.dcm")}
    path = folder / "report.dcm"
    ds = pydicom.dcmread(path)
    raw = pdf(TEXT + " Her brother Vubqorn Quillfeather came too.")
    ds.EncapsulatedDocument, ds.EncapsulatedDocumentLength = raw + b"\0" * (len(raw) % 2), len(raw)
    keep(ds, path)
    keep(scan(ImageComments="vubqorn asks", SOPInstanceUID="1.2.3.4"), folder / "next.dcm")
    again = command(folder, out, **KEY).stdout
    assert again.startswith("4 clean, 1 clean before, 4 set aside")  # the other patient's stays
    comments = {str(ds.get("ImageComments", "")) for ds in clean(out)}
    assert "%PATIENT NAME% asks" in comments


def test_a_run_that_is_killed_among_documents_goes_on(tmp_path: Path) -> None:
    found, out = tmp_path / "in", tmp_path / "out"
    found.mkdir()
    for number in range(24):
        raw = pdf(f"{TEXT} Number {number}.") if number % 2 else cda(f"{TEXT} Number {number}.")
        keep(document(EncapsulatedPDFStorage if number % 2 else EncapsulatedCDAStorage, raw), found / f"{number}.dcm")
    words = [sys.executable, "-m", "portal.command", "deidentify", str(found), str(out)]
    process = subprocess.Popen(
        words, cwd=ROOT, env=_env(**KEY), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    journal = out / "deidentification.jsonl"
    while process.poll() is None and not (journal.exists() and journal.read_bytes().count(b"\n") > 3):
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    some = len(clean(out))
    assert 0 < some < 24
    for ds in clean(out):
        nothing_of(WORDS, ds)
    done = command(found, out, **KEY)
    assert done.returncode == 0 and f"of {24} files" in done.stdout and not done.stdout.startswith("24 clean")
    assert len(clean(out)) == 24 and not list(out.rglob("*.part"))


def test_progress_counts_documents_too(tmp_path: Path) -> None:
    found, out = tmp_path / "in", tmp_path / "out"
    found.mkdir()
    out.mkdir()
    keep(document(EncapsulatedPDFStorage, pdf(TEXT)), found / "report.dcm")
    keep(scan(), found / "scan.dcm")
    told: list[tuple[str, int, int]] = []
    run(Job(found, out, b"k" * 40, Options()), lambda *step: told.append(step))
    assert told == [("reading", 1, 2), ("reading", 2, 2), ("cleaning", 1, 2), ("cleaning", 2, 2)]
