"""The worker that removes identities is killed at work (kill -9): no scan is lost, and none arrives with an identity.

Captures of an invented patient, with the name in the header and burnt into the picture, go in by storescu while the
workers of both zones are killed in turns. All the time every file of the archive storage, its staging folder and the
half written ones too, is read and searched for the name and for the rows of pixels that show it.
"""

from __future__ import annotations

import contextlib
import subprocess
import threading
import time
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import SecondaryCaptureImageStorage, generate_uid

from tests.factories.burnt import fonts
from tests.factories.burnt.grounds import bare
from tests.support import Stack, wait_for

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]
SCANS, AT = 10, (60, 40)
WORDS = (b"Vexlgrave", b"VEXLGRAVE", b"ZKQ449071")


def scan(number: int) -> Dataset:
    """A capture with its own noise, so that no two files or names of pixels are alike."""
    plane = (np.random.default_rng(number).integers(0, 4, (300, 640)) + 30).astype("u1")
    ink = fonts.ink("VEXLGRAVE ORTRUD", "DejaVuSans.ttf", 26) > 0.5
    plane[AT[0] : AT[0] + ink.shape[0], AT[1] : AT[1] + ink.shape[1]][ink] = 250
    ds = bare(SecondaryCaptureImageStorage, "OT", plane, 8)
    ds.StudyInstanceUID, ds.SeriesInstanceUID = generate_uid(), generate_uid()
    ds.PatientName, ds.PatientID, ds.StudyDate = "Vexlgrave^Ortrud", f"ZKQ449071{number}", "20240229"
    ds.StudyDescription = "Capture of Ortrud Vexlgrave"
    return ds


def rows_of_the_name(ds: Dataset) -> list[bytes]:
    """What shows the name: rows through the middle of the letters, as they lie in the file."""
    return [bytes(ds.pixel_array[row, AT[1] : AT[1] + 250]) for row in range(AT[0] + 8, AT[0] + 20, 2)]


class Watch:
    """Reads all files of a folder again and again; `seen` has what should never be there."""

    def __init__(self, folder: Path, needles: list[bytes]) -> None:
        self.folder, self.needles = folder, needles
        self.seen: set[tuple[str, bytes]] = set()
        self.rounds, self.stop = 0, threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)

    def once(self) -> None:
        for path in self.folder.rglob("*"):
            with contextlib.suppress(FileNotFoundError, IsADirectoryError):  # moved on meanwhile
                data = path.read_bytes()
                self.seen |= {(str(path), needle) for needle in self.needles if needle in data}
        self.rounds += 1

    def _run(self) -> None:
        while not self.stop.wait(0.05):
            self.once()


def test_no_identity_passes_and_no_scan_is_lost(stack: Stack, tmp_path: Path) -> None:
    scans = [scan(number) for number in range(SCANS)]
    needles = [*WORDS, *(row for ds in scans for row in rows_of_the_name(ds))]
    files = [tmp_path / f"{number}.dcm" for number in range(SCANS)]
    for ds, path in zip(scans, files, strict=True):
        ds.save_as(path, enforce_file_format=True)
    sent = Watch(tmp_path, needles)
    sent.once()
    assert {needle for _, needle in sent.seen} >= set(needles) - {WORDS[1]}  # the search finds what is there

    storage = stack.home.path / "storage"
    watch = Watch(storage / "archive", needles)
    watch.thread.start()
    before = stack.query("SELECT coalesce(max(id), 0) AS id FROM archive_study")[0]["id"]
    command = ["storescu", "-aet", "DEMO", "-aec", stack.aet, "127.0.0.1", str(stack.dicom_port), *map(str, files)]
    subprocess.run(command, check=True, timeout=120)
    for worker in ("identities", "default", "identities"):
        time.sleep(1.5)
        killed = stack.kill(worker)
        stack.wait_restarted(worker, killed)
    query = "SELECT i.name FROM archive_instance i JOIN archive_study s ON s.id = i.study_id WHERE s.id > %s"
    wait_for(lambda: len(stack.query(query, before)) >= SCANS, 240, "all scans are archived")
    owed = "SELECT count(*) AS n FROM core_outboxevent WHERE state IN ('waiting', 'leased')"
    wait_for(lambda: stack.query(owed)[0]["n"] == 0, 120, "nothing more is owed")
    watch.stop.set()
    watch.thread.join(30)

    assert watch.rounds > 20
    assert watch.seen == set()
    names = [row["name"] for row in stack.query(query, before)]
    assert len(names) == SCANS
    for name in names:
        clean = pydicom.dcmread(storage / "archive" / name)
        assert clean.PatientIdentityRemoved == "YES" and clean.BurnedInAnnotation == "NO"
    assert not [path for path in (storage / "archive" / "staging").rglob("*") if path.is_file()]
    receipts = "SELECT state, count(*) AS n FROM ingest_receipt WHERE study_uid = ANY(%s) GROUP BY state"
    clean_uids = [str(pydicom.dcmread(storage / "archive" / name).StudyInstanceUID) for name in names]
    assert stack.query(receipts, clean_uids) == [{"state": "archived", "n": SCANS}]
