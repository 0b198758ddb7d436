"""Every file of pydicom and pydicom-data through STOW, C-STORE and the upload door: the same verdict at each, the same
bytes behind each, and pixel data that come back bit for bit."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pydicom
import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from pydicom.encaps import generate_frames
from pydicom.filereader import _read_file_meta_info, read_preamble
from pydicom.pixels import pixel_array
from pydicom.pixels.utils import get_expected_length
from pynetdicom import AE, _config

from deploy.embedded.config import free_port
from portal.archive.actions import store_receipt
from portal.archive.models import Instance, Patient, Series, Study
from portal.core import storage
from portal.core.models import OutboxEvent
from portal.deidentify.models import DeidentificationReport
from portal.ingest.models import LandingFile, Receipt, Source
from portal.peers.listener import listen
from tests import syntaxes
from tests.factories import archive as make
from tests.factories.door import cleaned
from tests.portal.test_dicomweb import plain_frame
from tests.portal.test_wado_forms import get, parts

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(1800)]
DONE = {"privacy": Source.Privacy.DONE}  # what is archived is what was sent


@pytest.fixture
def client() -> Client:
    lakeside = make.organisation()
    person = make.user("dave", lakeside, "pacs_admin")
    for kind in (Source.Kind.DICOMWEB, Source.Kind.UPLOAD):
        Source.objects.create(organisation=lakeside, kind=kind, name="dave", user=person, **DONE)
    Source.objects.create(organisation=lakeside, kind=Source.Kind.DIMSE, name="CT1", ae_title="CT1", **DONE)
    return Client(HTTP_AUTHORIZATION=f"Bearer {make.token(person, lakeside)}")


@pytest.fixture
def listener() -> Iterator[int]:
    port = free_port()
    _config.STORE_SEND_CHUNKED_DATASET = True
    server = listen("127.0.0.1", port)
    yield port
    server.shutdown()


def forget() -> None:
    """An empty house for the next file."""
    for model in (Instance, Series, Study, Patient, DeidentificationReport, LandingFile, Receipt, OutboxEvent):
        model.objects.all().delete()


def stowed(client: Client, data: bytes) -> None:
    body = b"--xyz\r\nContent-Type: application/dicom\r\n\r\n" + data + b"\r\n--xyz--\r\n"
    kind = 'multipart/related; type="application/dicom"; boundary=xyz'
    assert client.generic("POST", "/dicomweb/studies", body, content_type=kind).status_code in {200, 409}


def uploaded(client: Client, data: bytes) -> None:
    files = {"files": SimpleUploadedFile("scan", data)}
    assert client.post("/ingest/upload/", files, headers={"X-Requested-With": "x"}).status_code == 200


def sent(port: int, path: Path) -> bool:
    """Send by C-STORE, the data set byte for byte as it lies in the file; False when pynetdicom cannot send it."""
    try:
        meta = pydicom.filereader.read_file_meta_info(path)
        ae = AE(ae_title="CT1")
        ae.add_requested_context(meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID)
        assoc = ae.associate("127.0.0.1", port)
        try:
            return assoc.is_established and "Status" in assoc.send_c_store(path)
        finally:
            assoc.release()
    except (AttributeError, ValueError, TypeError, pydicom.errors.InvalidDicomError):
        return False


def verdict() -> tuple[str, str, bytes]:
    """(state, reason, what lies in the landing store behind the file meta) of the one receipt."""
    receipt = Receipt.objects.get()
    kept = LandingFile.objects.filter(receipt_id=receipt.pk).first()
    if kept is None:
        return receipt.state, receipt.reason, b""
    with storage.landing().open(kept.name) as file:
        return receipt.state, receipt.reason, file.read()


def data_set(raw: bytes) -> bytes:
    """What follows the file meta, which every sender writes anew."""
    file = io.BytesIO(raw)
    read_preamble(file, force=True)
    _read_file_meta_info(file)
    return raw[file.tell() :]


def check_frames(client: Client, path: Path, line: syntaxes.Line) -> None:
    """Fetch each frame as stored and decoded, and compare with the file."""
    ds = pydicom.dcmread(path, force=True)
    row = Instance.objects.select_related("study", "series").get()
    if not row.rows or "PixelData" not in ds:
        return
    address = f"/dicomweb/studies/{row.study.study_uid}/series/{row.series.series_uid}/instances/{row.sop_uid}"
    whole = get(client, address, "application/dicom; transfer-syntax=*")
    assert pydicom.dcmread(pydicom.filebase.DicomBytesIO(whole.body)).PixelData == ds.PixelData, path.name
    numbers = sorted({1, row.frames})
    asked = f"{address}/frames/{','.join(map(str, numbers))}"
    got = [content for _, content in parts(get(client, asked, f"{OCTETS}; transfer-syntax=*"))]
    line.frames += 1
    try:
        line.exact += got == expected(ds, numbers)
        plain = [plain_frame(ds, n) for n in numbers]
        if str(ds.PhotometricInterpretation) == "YBR_FULL_422" and ds.file_meta.TransferSyntaxUID.is_encapsulated:
            plain = [np.ascontiguousarray(pixel_array(ds, index=n - 1)).tobytes() for n in numbers]
    except Exception:  # pydicom itself cannot decode it; then the door says so
        assert get(client, asked, OCTETS).status_code in {200, 406}, path.name
        return
    line.decodable += 1
    line.decoded += [content for _, content in parts(get(client, asked, OCTETS))] == plain


OCTETS = 'multipart/related; type="application/octet-stream"'


def expected(ds: pydicom.Dataset, numbers: list[int]) -> list[bytes]:
    if ds.file_meta.TransferSyntaxUID.is_encapsulated:
        made = list(generate_frames(ds.PixelData, number_of_frames=int(ds.get("NumberOfFrames", 1) or 1)))
        return [made[n - 1] for n in numbers]
    size = get_expected_length(ds) // int(ds.get("NumberOfFrames", 1) or 1)
    if ds.file_meta.TransferSyntaxUID.is_little_endian and ds.BitsAllocated > 1:
        return [ds.PixelData[(n - 1) * size : n * size] for n in numbers]  # not decoded: overlays in unused bits stay
    return [plain_frame(ds, n) for n in numbers]


def test_every_file_through_every_door(client: Client, listener: int) -> None:
    lines: dict[str, syntaxes.Line] = {}
    warnings.simplefilter("ignore")
    wrong = []
    for path in syntaxes.files():
        forget()
        data = path.read_bytes()
        line = lines.setdefault(syntaxes.syntax_of(path), syntaxes.Line())
        line.files += 1
        uploaded(client, data)
        first = verdict()
        forget()
        if sent(listener, path):
            second = verdict()
            if second[:2] != first[:2] or data_set(second[2]) != data_set(first[2]):
                wrong.append(("C-STORE", path.name, first[:2], second[:2]))
            forget()
        stowed(client, data)
        if verdict() != first:
            wrong.append(("STOW", path.name, first[:2], verdict()[:2]))
        receipt = Receipt.objects.get()
        if receipt.state == "received":
            cleaned(receipt.pk)
            receipt = store_receipt(receipt.pk)
        if receipt.state != "archived":
            line.reasons[receipt.reason] += 1
            continue
        line.archived += 1
        check_frames(client, path, line)
    assert wrong == []
    assert [name for name, line in lines.items() if line.exact < line.frames] == []
    assert sum(line.files for line in lines.values()) > 200
    found = syntaxes.table(lines)
    if os.environ.get("WRITE_SYNTAX_TABLE"):
        syntaxes.PAGE.write_text(syntaxes.in_page(found))
    assert found in syntaxes.PAGE.read_text(), found
