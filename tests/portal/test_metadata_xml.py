"""Metadata as Native DICOM Model (PS3.18 8.7.3, PS3.19 A.1), beside what dcmtk makes of the same files."""

from __future__ import annotations

import subprocess
from email import message_from_bytes
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from django.test import Client
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from portal.archive.models import Instance, Study
from portal.core import storage
from tests.factories import archive as make
from tests.factories.archive import plain_static

__all__ = ["plain_static"]
pytestmark = pytest.mark.django_db
XML = 'multipart/related; type="application/dicom+xml"'
SPACE = "{http://dicom.nema.org/PS3.19/models/NativeDICOM}"
BULK = {"7FE00010"}
NUMBERS = {"DS", "IS", "US", "UL", "SS", "SL", "FD", "FL"}


def get(client: Client, path: str, accept: str = XML, **headers: str) -> Any:
    answer = client.get(path, headers={"Accept": accept, **headers})
    content = b"".join(answer.streaming_content) if answer.streaming else answer.content
    return answer, content


def documents(answer: Any, content: bytes) -> list[ET.Element]:
    message = message_from_bytes(b"Content-Type: " + answer["Content-Type"].encode() + b"\r\n\r\n" + content)
    parts = message.get_payload()
    assert {part.get_content_type() for part in parts} == {"application/dicom+xml"}
    return [ET.fromstring(part.get_payload(decode=True)) for part in parts]


def values(parent: ET.Element) -> dict[str, Any]:
    """Tag → (VR, keyword, values), sequences as lists of the same; numbers as such, names by their parts."""
    found: dict[str, Any] = {}
    for node in parent.findall(f"{SPACE}DicomAttribute"):
        tag, vr = node.attrib["tag"].upper(), node.attrib["vr"]
        if tag.startswith("0002") or tag in BULK:
            continue
        if vr == "SQ":
            content: Any = [values(item) for item in node.findall(f"{SPACE}Item")]
        elif vr == "PN":
            content = [
                [(part.tag, part.text) for group in name for part in group]
                for name in node.findall(f"{SPACE}PersonName")
            ]
        else:
            texts = [(one.text or "").strip() for one in node.findall(f"{SPACE}Value")]
            content = [float(text) if vr in NUMBERS else text for text in texts if text]
        found[tag] = (vr, node.attrib.get("keyword", ""), content)
    return found


@pytest.fixture
def study() -> Study:
    org = make.organisation()
    make.user("dave", org, "pacs_admin")
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "T-04000", "SRT", "Breast <left> & right"
    given = {"PatientName": "Müller^Anna Ä", "SpecificCharacterSet": "ISO_IR 192", "PixelSpacing": [0.07, 0.07]}
    first = make.image("MG", **given, ImageType=["ORIGINAL", "PRIMARY"], AnatomicRegionSequence=Sequence([code]))
    for ds in (first, make.image("MG", study=first.StudyInstanceUID, series=first.SeriesInstanceUID, seed=2)):
        make.stored(ds, org)
    return Study.objects.get()


@pytest.fixture
def dave(client: Client, study: Study) -> Client:
    from portal.accounts.models import User

    client.force_login(User.objects.get(username="dave"))
    return client


def test_it_says_what_dcmtk_says(dave: Client, study: Study) -> None:
    answer, content = get(dave, f"/dicomweb/studies/{study.study_uid}/metadata")
    found = {one["00080018"][2][0]: one for one in map(values, documents(answer, content))}
    rows = Instance.objects.all()
    assert len(found) == len(rows) == 2
    for row in rows:
        command = ["dcm2xml", "--native-format", "--use-xml-namespace", storage.archive().path(row.name)]
        theirs = values(ET.fromstring(subprocess.run(command, capture_output=True, check=True).stdout))
        ours = found[row.sop_uid]
        assert ours.keys() - theirs.keys() <= {"00080005", "00083002"}  # the portal adds its character set and syntax
        for tag, (vr, keyword, content_of) in theirs.items():
            if vr in {"OB", "OW", "UN"}:
                continue
            assert ours[tag] == (vr, keyword, content_of), tag


def test_every_level_and_its_tags(dave: Client, study: Study) -> None:
    row = Instance.objects.select_related("series").first()
    assert row is not None
    series = f"/dicomweb/studies/{study.study_uid}/series/{row.series.series_uid}"
    for path, count in ((f"{series}/metadata", 2), (f"{series}/instances/{row.sop_uid}/metadata", 1)):
        answer, content = get(dave, path)
        assert answer.status_code == 200 and len(documents(answer, content)) == count
        again, _ = get(dave, path, **{"If-None-Match": answer["ETag"]})
        assert again.status_code == 304
        plain, data = get(dave, path, "application/dicom+json")
        assert plain["Content-Type"] == "application/dicom+json" and plain["ETag"] != answer["ETag"]
        bulk = [a for root in documents(answer, content) for a in root.iter(f"{SPACE}BulkData")]
        assert [one.attrib["uri"] for one in bulk] == [e["BulkDataURI"] for one in plain.json() for e in one.values()
                                                       if "BulkDataURI" in e]  # fmt: skip
        assert data


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("*/*", "application/dicom+json"),
        ('multipart/related; type="application/dicom+xml"; q=0.4, application/dicom+json', "application/dicom+json"),
        (f"application/dicom+json; q=0.2, {XML}", "multipart/related"),
        ("application/dicom+xml", "multipart/related"),
        ("text/html", ""),
    ],
)
def test_what_is_wanted_more(dave: Client, study: Study, accept: str, kind: str) -> None:
    answer, _ = get(dave, f"/dicomweb/studies/{study.study_uid}/metadata", accept)
    if kind:
        assert answer.status_code == 200 and answer["Content-Type"].partition(";")[0] == kind
    else:
        assert answer.status_code == 406
