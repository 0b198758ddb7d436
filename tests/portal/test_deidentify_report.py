"""The report of what was done: put together of all files of a scan, by page and API, without a value."""

from __future__ import annotations

import io
import json

import numpy as np
import pydicom
import pytest
from django.test import Client
from pydicom.data import get_testdata_file
from pydicom.uid import SecondaryCaptureImageStorage, generate_uid

from portal.accounts.models import Role
from portal.archive.actions import store_receipt
from portal.deidentify import report, site_actions
from portal.deidentify.models import DeidentificationReport
from portal.ingest.actions import receive
from portal.ingest.models import Receipt, Source
from tests.factories import archive as make
from tests.factories.archive import plain_static  # noqa: F401
from tests.factories.burnt import fonts
from tests.factories.burnt.grounds import bare
from tests.factories.door import cleaned

pytestmark = pytest.mark.django_db(transaction=True)
VALUES = ("ACC-99812", "Quillfeather", "QUILLFEATHER", "77120934", "Qmarspital", "Yqorvathy")


def arrived(*scans: pydicom.Dataset) -> list[Receipt]:
    source, _ = Source.objects.get_or_create(organisation=make.organisation(), kind="upload", name="Door")
    done = []
    for ds in scans:
        ds.PatientName, ds.PatientID, ds.InstitutionName = "Quillfeather^Rosa", "77120934", "Qmarspital"
        ds.AccessionNumber = "ACC-99812"
        out = io.BytesIO()
        ds.save_as(out, enforce_file_format=True)
        done.append(store_receipt(cleaned(receive(source, io.BytesIO(out.getvalue())).pk).pk))
    return done


def slices(number: int) -> list[pydicom.Dataset]:
    """A CT of some files of one study."""
    found = []
    for _ in range(number):
        ds = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        item = pydicom.Dataset()
        item.RequestingPhysician = "Yqorvathy^Ute"
        ds.RequestAttributesSequence = [item, pydicom.Dataset()]
        found.append(ds)
    return found


def burnt() -> pydicom.Dataset:
    plane = (np.random.default_rng(7).integers(0, 4, (400, 640)) + 30).astype("u1")
    ink = fonts.ink("QUILLFEATHER ROSA", "DejaVuSans.ttf", 26) > 0.5
    plane[200 : 200 + ink.shape[0], 40 : 40 + ink.shape[1]][ink] = 250
    return bare(SecondaryCaptureImageStorage, "OT", plane, 8)


def test_a_scan_of_several_files_by_page_and_api(plain_static: None) -> None:  # noqa: F811
    org = make.organisation()
    dave = make.user("dave", org, Role.PACS_ADMIN)
    site_actions.write(dave, org.pk, "Manufacturer X", "ours")
    receipts = arrived(*slices(3))
    bearer = Client(headers={"Authorization": f"Bearer {make.token(dave, org)}"})
    study = receipts[0].study_uid
    found = bearer.get(f"/api/v1/studies/{study}/deidentification/").json()
    assert found["files"] == 3 and found["site_rules"] == [1] and not found["images"]
    lines = {line["path"]: line for line in found["attributes"]}
    made = {"path": "Manufacturer", "tag": "(0008,0070)", "action": "X", "word": "Removed", "rule": "site rules 1"}
    assert lines["Manufacturer"] == {**made, "files": 3, "elements": 3}
    assert sum(one["files"] for one in found["faces"]) == 3 and {one["done"] for one in found["faces"]} <= {
        "none",
        "open",
    }
    assert lines["PatientName"]["tag"] == "(0010,0010)" and lines["InstitutionName"]["files"] == 3
    for keyword in ("PatientName", "PatientID", "AccessionNumber"):  # pseudonyms stand there
        assert lines[keyword]["word"] == "Replaced"
    assert "Modality" in {one["path"] for one in found["kept"]}
    single = bearer.get(f"/api/v1/receipts/{receipts[1].pk}/deidentification/").json()
    assert single["files"] == 1 and {line["path"] for line in single["attributes"]} == set(lines)
    client = Client()
    client.force_login(dave)
    for path in (f"/scans/{study}/deidentification/", f"/ingest/{receipts[0].pk}/deidentification/"):
        page = client.get(path).content.decode()
        assert (
            found["faces"][0]["word"] in page
            and "(0008,0070)" in page
            and "Version 1" in page
            and "site rules 1" in page
        )
        assert not [value for value in VALUES if value in page + json.dumps(found)]
    assert f"/scans/{study}/deidentification/" in client.get(f"/scans/{study}/").content.decode()
    assert f"/ingest/{receipts[0].pk}/deidentification/" in client.get("/ingest/").content.decode()


def test_places_in_pixels_are_boxes_on_an_empty_frame(plain_static: None) -> None:  # noqa: F811
    org = make.organisation()
    (receipt,) = arrived(burnt())
    reader = make.user("alice", org, Role.READER)
    client = Client()
    client.force_login(reader)
    (image,) = report.summary(DeidentificationReport.objects.all())["images"]
    assert image["shape"] == [400, 640] and image["files"] == 1
    x0, y0, x1, y1 = image["places"][0]["box"]
    assert x0 <= 40 and y0 <= 205 and x1 >= 200 and y1 >= 215  # where it was drawn
    page = client.get(f"/scans/{receipt.study_uid}/deidentification/").content.decode()
    assert 'viewBox="0 0 640 400"' in page
    assert f'x="{x0}" y="{y0}" width="{x1 - x0}" height="{y1 - y0}"' in page
    assert not [value for value in VALUES if value in page] and "<image" not in page
    assert (
        client.get(f"/ingest/{receipt.pk}/deidentification/").status_code == 404
    )  # what was received is not for readers


def test_reports_of_before_the_size_was_kept() -> None:
    place = {"box": [10, 20, 60, 40], "kind": "name", "rule": "header", "certainty": 1.0}
    made = DeidentificationReport(profile="p", version="1", pixels={"covered": [place]})
    (frame,) = report.frames(report.summary([made])["images"])
    assert (frame["rows"], frame["columns"]) == (40, 60)


def test_nobody_elses(plain_static: None) -> None:  # noqa: F811
    (receipt,) = arrived(*slices(1))
    mallory = make.user("mallory", make.organisation("harbour"), Role.PACS_ADMIN)
    client = Client()
    client.force_login(mallory)
    for path in (f"/scans/{receipt.study_uid}/deidentification/", f"/ingest/{receipt.pk}/deidentification/"):
        assert client.get(path).status_code == 404
    assert client.get(f"/api/v1/studies/{receipt.study_uid}/deidentification/").status_code == 404
