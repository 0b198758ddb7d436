"""A mammogram with an identity, taken in by the real door, de-identified, read and settled; and a PACS."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydicom
from pynetdicom import AE
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from deploy.embedded.config import free_port
from inference.phantoms import breast_case
from portal.archive.actions import settle_study, store_receipt
from portal.archive.models import Study
from portal.consensus.actions import merge_case
from portal.deidentify.actions import deidentify_receipt
from portal.export.models import Destination
from portal.ingest.actions import receive
from portal.ingest.models import Receipt, Source
from portal.programmes.actions import make_cases
from portal.programmes.models import Case
from portal.second_read.actions import compare_reading
from tests.factories.reading import Cast, answers, submit
from tests.support import wait_for


def arrived(
    cast: Cast, folder: Path, seed: int = 4711, size: tuple[int, int] = (256, 208)
) -> tuple[list[pydicom.Dataset], Study]:
    """Send a four-view phantom through receive, de-identify and archive; returns the originals and the study."""
    folder.mkdir(parents=True, exist_ok=True)
    files = breast_case(seed, malignant=True, size=size).write(folder)
    source = Source.objects.get(ae_title="DEMO")
    for path in files:
        with path.open("rb") as file:
            receipt = deidentify_receipt(receive(source, file).pk)
        assert receipt.state == Receipt.State.DEIDENTIFIED, receipt.reason
        receipt = store_receipt(receipt.pk)
    study = Study.objects.get(organisation=cast.lakeside, study_uid=receipt.study_uid)
    assert settle_study(study.pk)
    study.refresh_from_db()
    return [pydicom.dcmread(path) for path in files], study


def settled_case(cast: Cast, study: Study, marks: list[dict[str, Any]], recall: bool = True) -> Case:
    """Read the case of a study once, by Alice, and merge it: truth by consensus."""
    make_cases(study.pk)
    case = Case.objects.get(study=study)
    reading = submit(cast.alice, case.assignments.get(), answers(recall, 80), marks=marks)
    compare_reading(reading.pk)
    merge_case(case.pk)
    case.refresh_from_db()
    assert case.state == Case.State.SETTLED
    return case


@dataclass
class Pacs:
    """dcmtk's storescp and the folder in which it keeps what it got."""

    folder: Path
    port: int

    def objects(self) -> list[pydicom.Dataset]:
        return [pydicom.dcmread(path) for path in sorted(self.folder.iterdir(), key=lambda p: p.stat().st_mtime_ns)]


@contextmanager
def pacs(folder: Path, port: int | None = None, *options: str) -> Iterator[Pacs]:
    """Run storescp; returns when it answers a C-ECHO."""
    folder.mkdir(parents=True, exist_ok=True)
    port = port or free_port()
    process = subprocess.Popen(["storescp", "-aet", "PACS", "-od", str(folder), "+uf", *options, str(port)])

    def answers_echo() -> bool:
        ae = AE(ae_title="TEST")
        ae.add_requested_context(Verification)
        association = ae.associate("127.0.0.1", port, ae_title="PACS")
        if not association.is_established:
            return False
        association.release()
        return True

    try:
        wait_for(answers_echo, 15, "storescp answers")
        yield Pacs(folder, port)
    finally:
        process.terminate()
        process.wait(10)


def destination(cast: Cast, port: int, **values: Any) -> Destination:
    """An automatic destination at 127.0.0.1."""
    fixed = {"name": "PACS", "ae_title": "PACS", "host": "127.0.0.1", "port": port, "automatic": True}
    return Destination.objects.create(organisation=cast.lakeside, **{**fixed, **values})
