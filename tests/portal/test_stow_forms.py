"""STOW-RS in every form of PS3.18 10.5.1, and several senders whose instances become durable together."""

from __future__ import annotations

import io
import json
import threading
from typing import Any

import pydicom
import pytest
from django.db import connection
from django.test import Client, override_settings
from pydicom.data import get_testdata_file
from pydicom.encaps import generate_frames
from pydicom.uid import ExplicitVRLittleEndian, RLELossless, generate_uid

from portal.accounts.models import Organisation
from portal.core import native_xml, storage
from portal.ingest import actions, landing
from portal.ingest.models import LandingFile, Receipt, Source
from tests.factories import archive as make

JSON, XML, DICOM = "application/dicom+json", "application/dicom+xml", "application/dicom"
pytestmark = pytest.mark.django_db


@pytest.fixture
def lakeside(db: Any) -> Organisation:
    return make.organisation()


@pytest.fixture
def client(lakeside: Organisation) -> Client:
    return Client(HTTP_AUTHORIZATION=f"Bearer {make.token(make.user('dave', lakeside, 'pacs_admin'), lakeside)}")


def body(*parts: tuple[str, bytes]) -> bytes:
    """Parts with their header lines."""
    return b"".join(b"--xyz\r\n%s\r\n\r\n%s\r\n" % (h.encode(), content) for h, content in parts) + b"--xyz--\r\n"


def send(client: Client, content: bytes, kind: str, path: str = "/dicomweb/studies", **headers: str) -> Any:
    if kind in {JSON, XML, DICOM} and content.startswith(b"--xyz"):
        kind = f'multipart/related; type="{kind}"; boundary=xyz'
    return client.generic("POST", path, content, content_type=kind, headers=headers)


def split(ds: pydicom.Dataset, location: str) -> dict[str, Any]:
    """The metadata, with the pixel data under an address."""
    out: dict[str, Any] = json.loads(ds.to_json(bulk_data_threshold=1024, bulk_data_element_handler=lambda _: location))
    return out


def landed(receipt: Receipt) -> pydicom.Dataset:
    with storage.landing().open(LandingFile.objects.get(receipt_id=receipt.pk).name) as file:
        return pydicom.dcmread(io.BytesIO(file.read()))


@pytest.mark.parametrize("form", [JSON, XML])
def test_metadata_and_bulk_data_become_an_instance(client: Client, form: str) -> None:
    ds = make.image("CT", PatientName="Yamada^Tarou=山田^太郎", SpecificCharacterSet="ISO_IR 192", InstanceNumber=7)
    ds.ReferencedImageSequence = [pydicom.Dataset()]
    ds.ReferencedImageSequence[0].ReferencedSOPInstanceUID = "1.2.3"
    metadata = split(ds, "bulk/1")
    text = json.dumps([metadata]).encode() if form == JSON else native_xml.encode(metadata)
    octets = "Content-Type: application/octet-stream\r\nContent-Location: bulk/1"
    answer = send(client, body((f"Content-Type: {form}", text), (octets, ds.PixelData)), form)
    assert answer.status_code == 200, answer.content
    got = landed(Receipt.objects.get())
    assert got.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    for element in ds:
        assert got[element.tag].value == element.value, element.keyword


def test_compressed_frames_stay_compressed(client: Client) -> None:
    ds = pydicom.dcmread(get_testdata_file("SC_rgb_rle_2frame.dcm"))
    frames = list(generate_frames(ds.PixelData, number_of_frames=2))
    kind = f"Content-Type: image/dicom-rle; transfer-syntax={RLELossless}\r\nContent-Location: px"
    first = (f"Content-Type: {JSON}", json.dumps(split(ds, "px")).encode())
    answer = send(client, body(first, *[(kind, frame) for frame in frames]), JSON)
    assert answer.status_code == 200, answer.content
    got = landed(Receipt.objects.get())
    assert got.file_meta.TransferSyntaxUID == RLELossless
    assert list(generate_frames(got.PixelData, number_of_frames=2)) == frames


def test_what_is_missing_or_senseless_is_named(client: Client) -> None:
    ds, other = make.image(), make.image("DX")
    both = json.dumps([split(ds, "a"), split(other, "b")]).encode()
    octets = "Content-Type: application/octet-stream\r\nContent-Location: a"
    answer = send(client, body((f"Content-Type: {JSON}", both), (octets, ds.PixelData)), JSON)
    assert answer.status_code == 202
    [failed] = answer.json()["00081198"]["Value"]
    assert failed["00081197"]["Value"] == [0xA905]
    assert Receipt.objects.get(state="quarantined").reason == "missing_bulk"
    for text in (b"{", b"[1]", b"3", b"\xff" * 9, b"[" * 100_000):
        assert send(client, body((f"Content-Type: {JSON}", text)), JSON).status_code == 400
    for text in (b"<a/>", b"<a", b'<!DOCTYPE x [<!ENTITY e "e">]><NativeDicomModel/>'):
        assert send(client, body((f"Content-Type: {XML}", text)), XML).status_code == 400
    wrong = split(ds, "a") | {"00280010": {"vr": "US", "Value": ["wide"]}}
    answer = send(client, body(("a: b", json.dumps(wrong).encode()), (octets, ds.PixelData)), JSON)
    assert answer.status_code == 409


def test_one_file_alone_and_the_answer_as_xml(client: Client) -> None:
    ds = make.image()
    answer = send(client, make.encoded(ds), DICOM, Accept=XML)
    assert answer.status_code == 200 and answer["Content-Type"] == XML
    stored = native_xml.decode(answer.content)["00081199"]["Value"][0]
    assert stored["00081155"]["Value"] == [ds.SOPInstanceUID]
    elsewhere = send(client, make.encoded(make.image()), DICOM, f"/dicomweb/studies/{ds.StudyInstanceUID}")
    assert elsewhere.status_code == 409
    assert elsewhere.json()["00081198"]["Value"][0]["00081197"]["Value"] == [0xA904]
    assert send(client, b"nothing of the kind", DICOM).status_code == 409
    assert send(client, b"x", "text/plain").status_code == 415


def test_too_much_is_413_and_what_came_before_is_kept(client: Client) -> None:
    files = [("Content-Type: application/dicom", make.encoded(make.image())) for _ in range(3)]
    with override_settings(MAX_UPLOAD_FILES=2):
        assert send(client, body(*files), DICOM).status_code == 413
    assert Receipt.objects.filter(state="received").count() == 2
    assert not list(landing.incoming().iterdir())


def test_a_cut_off_part_is_not_taken(client: Client) -> None:
    files = [("Content-Type: application/dicom", make.encoded(make.image())) for _ in range(2)]
    answer = send(client, body(*files)[:-600], DICOM)
    assert answer.status_code == 200 and len(answer.json()["00081199"]["Value"]) == 1
    assert not list(landing.incoming().iterdir())


@pytest.mark.django_db(transaction=True)
def test_many_senders_at_once_lose_and_double_nothing() -> None:
    """Eight threads, each with files of its own and one that all of them send, and one that differs under one UID."""
    lakeside = make.organisation()
    source = Source.objects.create(organisation=lakeside, kind=Source.Kind.FOLDER, name="folder")
    shared, uid = make.encoded(make.image()), generate_uid()
    found: list[tuple[str, str, bytes]] = []

    def sender(number: int) -> None:
        try:
            own = [make.encoded(make.image(seed=number, InstanceNumber=k)) for k in range(4)]
            clash = make.encoded(make.image(SOPInstanceUID=uid, seed=number))
            for data in (own[0], shared, own[1], clash, own[2], own[3]):
                path = landing.incoming() / f"{generate_uid()}.part"
                path.write_bytes(data)
                receipt = actions.receive_path(source, path)
                found.append((receipt.state, str(receipt.pk), data))
        finally:
            connection.close()

    threads = [threading.Thread(target=sender, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    states = [state for state, _, _ in found]
    assert {state: states.count(state) for state in set(states)} == {
        "received": 8 * 4 + 2, "duplicate": 7, "quarantined": 7,
    }  # fmt: skip
    mine = {pk for _, pk, _ in found}  # rows of other tests outlive the emptying of tables: they lie in another schema
    kept = dict(LandingFile.objects.filter(receipt_id__in=mine).values_list("receipt_id", "name"))
    for state, pk, data in found:
        if state != "duplicate":
            name = next(name for receipt, name in kept.items() if str(receipt) == pk)
            with storage.landing().open(name) as file:
                assert file.read() == data
    assert len(kept) == 8 * 4 + 2 + 7 and not list(landing.incoming().iterdir())
    LandingFile.objects.filter(receipt_id__in=mine).delete()
