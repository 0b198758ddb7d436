"""Whole flows through the doors: STOW-RS, C-STORE and upload with real clients."""

from __future__ import annotations

import io
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydicom
import pytest
from dicomweb_client.api import DICOMwebClient
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client, override_settings
from pydicom.data import get_testdata_file
from pydicom.uid import generate_uid
from requests import Session

from deploy.embedded.config import free_port
from portal.accounts.authentication import digest
from portal.accounts.models import ApiToken, Membership, Organisation, User
from portal.ingest import landing
from portal.ingest.models import LandingFile, Receipt, Source
from portal.peers.listener import listen

CT = Path(get_testdata_file("CT_small.dcm"))
TOKEN = "token-of-dave-that-is-long-enough"


@pytest.fixture(autouse=True)
def plain_static_files(settings: Any) -> None:
    """Pages are rendered without collected static files."""
    plain = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
    settings.STORAGES = {**settings.STORAGES, "staticfiles": plain}


@pytest.fixture
def lakeside(db: Any) -> Organisation:
    return Organisation.objects.create(slug="lakeside", name="Lakeside Imaging")


def member(organisation: Organisation, name: str, *roles: str) -> User:
    user = User.objects.create_user(name, password="a long password")
    Membership.objects.create(user=user, organisation=organisation, roles=list(roles))
    return user


@pytest.fixture
def dave(lakeside: Organisation) -> User:
    user = member(lakeside, "dave", "pacs_admin")
    ApiToken.objects.create(user=user, organisation=lakeside, name="t", digest=digest(TOKEN), prefix="token")
    return user


@pytest.fixture
def bearer(dave: User) -> dict[str, str]:
    return {"HTTP_AUTHORIZATION": f"Bearer {TOKEN}"}


def multipart(*parts: bytes, boundary: bytes = b"xyz") -> bytes:
    body = b"".join(b"--%s\r\nContent-Type: application/dicom\r\n\r\n%s\r\n" % (boundary, p) for p in parts)
    return body + b"--%s--\r\n" % boundary


KIND = 'multipart/related; type="application/dicom"; boundary=xyz'


def changed(**values: Any) -> bytes:
    dataset = pydicom.dcmread(CT)
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    if "SOPInstanceUID" in values:
        dataset.file_meta.MediaStorageSOPInstanceUID = values["SOPInstanceUID"]
    out = io.BytesIO()
    dataset.save_as(out)
    return out.getvalue()


def stow(client: Client, body: bytes, path: str = "/dicomweb/studies", kind: str = KIND, **extra: Any) -> Any:
    return client.generic("POST", path, body, content_type=kind, **extra)


def test_stow_answers_for_each_instance(client: Client, bearer: dict[str, str]) -> None:
    good = pydicom.dcmread(CT)
    body = multipart(CT.read_bytes(), CT.read_bytes()[:-900], b"GIF89a")
    answer = stow(client, body, **bearer)
    assert answer.status_code == 202
    assert answer["Content-Type"] == "application/dicom+json"
    told = answer.json()
    assert told["00081199"]["Value"][0]["00081155"]["Value"] == [str(good.SOPInstanceUID)]
    assert [f["00081197"]["Value"][0] for f in told["00081198"]["Value"]] == [0xC002, 0xC000]
    assert stow(client, multipart(CT.read_bytes()), **bearer).status_code == 200
    assert sorted(Receipt.objects.values_list("state", flat=True)) == [
        "duplicate", "quarantined", "quarantined", "received",
    ]  # fmt: skip
    assert set(Receipt.objects.values_list("source__name", flat=True)) == {"dave"}


def test_stow_refuses_what_it_cannot_use(client: Client, bearer: dict[str, str]) -> None:
    assert stow(client, b"x", kind="application/json", **bearer).status_code == 415
    assert stow(client, b"x", kind='multipart/related; type="application/dicom"', **bearer).status_code == 400
    assert stow(client, b"no boundary here", **bearer).status_code == 400
    assert stow(client, multipart(), **bearer).status_code == 400
    assert stow(client, multipart(b"GIF89a"), **bearer).status_code == 409
    assert stow(client, multipart(CT.read_bytes())).status_code == 401
    with override_settings(MAX_UPLOAD_FILES=1):
        assert stow(client, multipart(b"1", b"2"), **bearer).status_code == 413
    assert not [p for p in landing.incoming().iterdir() if p.suffix == ".part"]


def test_stow_into_a_named_study(client: Client, bearer: dict[str, str]) -> None:
    uid = str(pydicom.dcmread(CT).StudyInstanceUID)
    other = changed(StudyInstanceUID=generate_uid(), SOPInstanceUID=generate_uid())
    answer = stow(client, multipart(CT.read_bytes(), other), f"/dicomweb/studies/{uid}", **bearer)
    assert answer.status_code == 202
    assert Receipt.objects.get(state="quarantined").reason == "wrong_study"


def test_a_reader_may_not_send(client: Client, lakeside: Organisation) -> None:
    client.force_login(member(lakeside, "alice", "reader"))
    assert stow(client, multipart(CT.read_bytes())).status_code == 404
    assert client.get("/ingest/").status_code == 404


@pytest.mark.django_db(transaction=True)
def test_dicomweb_client_stores(live_server: Any, dave: User) -> None:
    session = Session()
    session.headers["Authorization"] = f"Bearer {TOKEN}"
    web = DICOMwebClient(f"{live_server.url}/dicomweb", session=session)
    told = web.store_instances([pydicom.dcmread(CT)])
    assert told.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == pydicom.dcmread(CT).SOPInstanceUID
    assert Receipt.objects.get().state == "received"


# --- C-STORE -------------------------------------------------------------------------------------


@pytest.fixture
def listener(transactional_db: Any) -> Iterator[int]:
    lakeside = Organisation.objects.create(slug="lakeside", name="Lakeside Imaging")
    Source.objects.create(organisation=lakeside, kind=Source.Kind.DIMSE, name="CT 1", ae_title="CT1")
    port = free_port()
    server = listen("127.0.0.1", port)
    yield port
    server.shutdown()


def dcmtk(tool: str, port: int, *more: str, calling: str = "CT1") -> subprocess.CompletedProcess[str]:
    command = [tool, "-v", "-aet", calling, "-aec", "CONCORD", *more[:-1], "127.0.0.1", str(port), *more[-1:]]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_echo_and_unknown_callers(listener: int) -> None:
    assert dcmtk("echoscu", listener).returncode == 0
    refused = dcmtk("echoscu", listener, calling="STRANGER")
    assert refused.returncode != 0
    assert "Calling AE Title Not Recognized" in refused.stdout + refused.stderr
    Source.objects.create(organisation=Organisation.objects.get(), kind=Source.Kind.DIMSE, name="any", ae_title="*")
    assert dcmtk("echoscu", listener, calling="STRANGER").returncode == 0


def test_storescu_sends_plain_and_compressed(listener: int) -> None:
    for name, option in (
        ("CT_small", "-xe"),
        ("MR_small_RLE", "-xr"),
        ("JPEG2000", "-xw"),
        ("SC_rgb_jpeg_dcmtk", "-xy"),
    ):
        path = get_testdata_file(f"{name}.dcm")
        told = dcmtk("storescu", listener, option, path)
        assert told.returncode == 0, told.stdout + told.stderr
    rows = Receipt.objects.order_by("received_at")
    assert [r.state for r in rows] == ["received"] * 4
    assert {r.source.name for r in rows} == {"CT 1"}
    stored = landing.landing().path(LandingFile.objects.get(receipt_id=rows[1].pk).name)
    assert pydicom.dcmread(stored).PixelData == pydicom.dcmread(get_testdata_file("MR_small_RLE.dcm")).PixelData
    again = dcmtk("storescu", listener, "-xe", str(CT))
    assert again.returncode == 0
    assert Receipt.objects.filter(state="duplicate").count() == 1
    assert not list(landing.incoming().iterdir())


def test_storescu_hears_why(listener: int, tmp_path: Path) -> None:
    (tmp_path / "rows.dcm").write_bytes(changed(Rows=512))
    told = dcmtk("storescu", listener, "-xe", str(tmp_path / "rows.dcm"))
    assert "DataSetDoesNotMatchSOPClass" in told.stdout + told.stderr  # dcmtk's word for A9xx
    assert Receipt.objects.get().reason == "pixel_mismatch"


def test_an_endless_instance_is_cut_off(listener: int) -> None:
    with override_settings(MAX_INSTANCE_BYTES=1 << 17):
        told = dcmtk("storescu", listener, "-xe", get_testdata_file("examples_rgb_color.dcm"))
    assert "OutOfResources" in told.stdout + told.stderr  # dcmtk's word for A7xx
    assert Receipt.objects.get().reason == "too_large"
    assert not list(landing.incoming().iterdir())


# --- upload --------------------------------------------------------------------------------------


def zipped(**entries: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return out.getvalue()


def send(client: Client, *files: tuple[str, bytes], **extra: Any) -> Any:
    return client.post("/ingest/upload/", {"files": [SimpleUploadedFile(n, d) for n, d in files]}, **extra)


def test_upload_of_files_and_a_zip(client: Client, dave: User) -> None:
    client.force_login(dave)
    other = changed(SOPInstanceUID=generate_uid())
    archive = zipped(**{"../../etc/evil.dcm": other, "DICOMDIR": b"x", "notes.txt": b"hello"})
    answer = send(client, ("a.dcm", CT.read_bytes()), ("study.zip", archive))
    assert answer.status_code == 200
    told = [(r["name"], r["state"], r["reason"]) for r in answer.json()["results"]]
    assert told == [
        ("a.dcm", "received", ""),
        ("evil.dcm", "received", ""),
        ("DICOMDIR", "ignored", ""),
        ("notes.txt", "quarantined", "not_dicom"),
    ]
    assert Receipt.objects.filter(batch=answer.json()["batch"]).count() == 3


@pytest.mark.parametrize("case", ["bomb", "damaged", "many"])
def test_bad_zips_are_bounded(client: Client, dave: User, case: str) -> None:
    client.force_login(dave)
    data = {
        "bomb": zipped(**{"big.dcm": bytes(200 << 20)}),
        "damaged": zipped(**{"a.dcm": CT.read_bytes()})[:-40],
        "many": zipped(**{f"{n}.txt": b"1" for n in range(20)}),
    }[case]
    with override_settings(MAX_ZIP_RATIO=50, MAX_UPLOAD_FILES=10):
        answer = send(client, ("x.zip", data))
    assert answer.status_code == 200
    assert answer.json()["results"][-1]["reason"] == "bad_archive"
    assert not LandingFile.objects.exists()
    assert not list(landing.incoming().iterdir())


def test_upload_with_a_token_and_without_anything(client: Client, bearer: dict[str, str]) -> None:
    assert send(client, ("a.dcm", CT.read_bytes()), **bearer).status_code == 200
    assert client.post("/ingest/upload/", {}, **bearer).status_code == 400
    assert Client().post("/ingest/upload/", {}).status_code == 401


def test_upload_by_session_needs_the_csrf_token(dave: User) -> None:
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(dave)
    assert send(browser, ("a.dcm", CT.read_bytes())).status_code in {401, 403}
    assert not Receipt.objects.exists()
