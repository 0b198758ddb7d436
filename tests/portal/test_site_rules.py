"""A site's own rules: what is taken, who may write them, what they do to a scan, and that a version stays as it is."""

from __future__ import annotations

import io
from typing import Any

import pydicom
import pytest
from django.apps import apps
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import DatabaseError, connection, transaction
from django.http import Http404
from django.test import Client
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from portal.accounts.models import Role, User
from portal.core import storage
from portal.core.errors import Refused
from portal.core.storage import staged_name
from portal.deidentify import ctp, site_actions, site_rules
from portal.deidentify.models import DeidentificationReport, SiteRules
from portal.deidentify.table import Options, rows
from portal.ingest.actions import receive
from portal.ingest.models import Receipt, Source
from tests.factories import archive as make
from tests.factories.archive import plain_static  # noqa: F401
from tests.factories.door import cleaned

pytestmark = pytest.mark.django_db
STRICT = "Manufacturer X\nKVP Z\nStudyDescription V Study of Lakeside\n"
WEAK = "FrameOfReferenceUID K\n"  # table E.1-1: U


@pytest.fixture
def dave() -> User:
    return make.user("dave", make.organisation(), Role.PACS_ADMIN)


def received(**values: Any) -> tuple[Receipt, Dataset]:
    """A CT through the door of Lakeside's, and its clean data set."""
    source, _ = Source.objects.get_or_create(organisation=make.organisation(), kind="upload", name="Door")
    ds, out = pydicom.dcmread(get_testdata_file("CT_small.dcm")), io.BytesIO()
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    ds.InstitutionName = "Qmarspital"
    for keyword, value in values.items():
        setattr(ds, keyword, value)
    ds.save_as(out, enforce_file_format=True)
    receipt = cleaned(receive(source, io.BytesIO(out.getvalue())).pk)
    assert receipt.state == Receipt.State.DEIDENTIFIED, receipt.reason
    with storage.archive().open(staged_name(receipt.pk)) as file:
        return receipt, pydicom.dcmread(io.BytesIO(file.read()))


def test_the_newest_active_version_counts_and_the_report_names_it(dave: User) -> None:
    org = make.organisation().pk
    first, before = received()
    assert DeidentificationReport.objects.get(receipt=first).site_rules is None and "Manufacturer" in before
    site_actions.write(dave, org, STRICT, "strict")
    site_actions.write(dave, org, "KVP X", "kept aside", active=False)
    receipt, clean = received()
    assert "Manufacturer" not in clean and "KVP" in clean and clean.KVP is None
    assert clean.StudyDescription == "Study of Lakeside"
    report = DeidentificationReport.objects.get(receipt=receipt)
    assert report.site_rules == 1 and ["Manufacturer", "X", "site rules 1"] in report.actions
    assert "Manufacturer" not in report.kept and "Modality" in report.kept
    site_actions.write(dave, org, "", "the profile alone")
    assert "Manufacturer" in received()[1]
    again = SiteRules.objects.get(organisation=org, number=1)
    assert site_actions.write(dave, org, again.text, "as in version 1").number == 4
    assert "Manufacturer" not in received()[1]


def test_weaker_rules_need_a_word_and_that_is_on_record(dave: User) -> None:
    org = make.organisation().pk
    with pytest.raises(Refused, match="FrameOfReferenceUID"):
        site_actions.write(dave, org, WEAK, "")
    assert SiteRules.objects.count() == 0
    original = str(pydicom.dcmread(get_testdata_file("CT_small.dcm")).FrameOfReferenceUID)
    assert original != received()[1].FrameOfReferenceUID
    site_actions.write(dave, org, WEAK, "one frame of reference with the registry", loosen=True)
    assert received()[1].FrameOfReferenceUID == original
    event = apps.get_model("deidentify", "SiteRulesEvent").objects.get()
    assert event.weaker == ["FrameOfReferenceUID"] and event.pgh_context.metadata["by"] == "dave"


@pytest.mark.parametrize(
    ("line", "weak"),
    [
        ("PatientTelephoneNumbers K", True),
        ("PatientTelephoneNumbers X", False),
        ("FrameOfReferenceUID K", True),
        ("OperatorsName X", False),
        ("Manufacturer K", False),
        ("AdditionalPatientHistory K", True),
        ("TextComments K", True),  # in no table: removed as free text
        ("StudyDate X", False),
        ("StudyDate K", True),
    ],
)
def test_what_is_weaker_than_the_profile(line: str, weak: bool) -> None:
    found, faults = site_rules.parse(line)
    assert not faults and bool(site_rules.weaker(found)) == weak


@pytest.mark.parametrize(
    "line",
    ["Manufacturer", "Manufacturer Q", "NoSuchThing X", "PatientID X", "SOPInstanceUID X", "Rows Z", "PixelData X",
     "Manufacturer V", "Manufacturer X value", "Rows V 5", "Manufacturer U", "Manufacturer T", "00091001 X",
     "StationName V " + "x" * 17, "Manufacturer X\nManufacturer Z"],
)  # fmt: skip
def test_what_is_no_rule_is_refused(dave: User, line: str) -> None:
    with pytest.raises(Refused):
        site_actions.write(dave, make.organisation().pk, line, "", loosen=True)


def test_kept_is_still_searched(dave: User) -> None:
    """A rule that keeps an attribute leaves no name in it that the header gives away."""
    site_actions.write(dave, make.organisation().pk, "InstitutionName K", "", loosen=True)
    assert "Qmarspital" not in received()[1].InstitutionName


def test_an_age_that_a_rule_removes_is_not_worked_out_again(dave: User) -> None:
    born = {"PatientBirthDate": "19410213", "PatientAge": "062Y"}
    assert received(**born)[1].PatientAge == "062Y"
    site_actions.write(dave, make.organisation().pk, "PatientAge X", "")
    assert "PatientAge" not in received(**born)[1]


def test_text_and_rows_are_the_same_thing() -> None:
    found, _ = site_rules.parse(f"# ours\n\n(0008,0070) x\n{WEAK}KVP z\nStudyDescription V a  b\n")
    assert site_rules.parse(site_rules.text_of(found))[0] == found
    assert site_rules.text_of(found).splitlines() == [
        "Manufacturer X", "StudyDescription V a  b", "KVP Z", "FrameOfReferenceUID K"
    ]  # fmt: skip


def test_a_version_cannot_be_changed(dave: User) -> None:
    site_actions.write(dave, make.organisation().pk, STRICT, "")
    for statement in ("UPDATE deidentify_siterules SET text = ''", "DELETE FROM deidentify_siterules"):
        with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(statement)


@pytest.mark.parametrize("who", ["engineer", "coordinator", "foreign"])
def test_nobody_else_writes_or_reads(dave: User, who: str) -> None:
    lakeside = make.organisation()
    site_actions.write(dave, lakeside.pk, STRICT, "Lakesides note")
    org = make.organisation("harbour") if who == "foreign" else lakeside
    person = make.user(who, org, Role.PACS_ADMIN if who == "foreign" else Role(who))
    with pytest.raises(Http404):
        site_actions.write(person, lakeside.pk, "", "")
    client = Client()
    client.force_login(person)
    for path in ("/site-rules/1/", "/site-rules/1/script.xml", "/api/v1/site-rules/1/"):
        assert client.get(path).status_code == 404
    assert b"Lakesides note" not in client.get("/api/v1/site-rules/").content


SCRIPT = """<script><e en="T" t="00080070" n="Manufacturer">@remove()</e><e en="T" t="00100010">@empty()</e>
<e en="T" t="00080080">@keep()</e><e en="T" t="00181030">@if(this,exists){@keep()}</e></script>"""


def test_the_pages(dave: User, plain_static: None) -> None:  # noqa: F811
    client = Client()
    client.force_login(dave)
    assert "The profile alone" in client.get("/site-rules/").content.decode()
    receipt, _ = received()
    file = SimpleUploadedFile("rules.xml", SCRIPT.encode())
    page = client.post("/site-rules/new/", {"import": "1", "script": file}).content.decode()
    assert "Manufacturer X" in page and "InstitutionName: @keep() is weaker" in page and "has no counterpart" in page
    assert "Choose the file of a script first." in client.post("/site-rules/new/", {"import": "1"}).content.decode()
    assert SiteRules.objects.count() == 0
    form = {"text": STRICT + WEAK, "note": "ours", "active": "on"}
    tried = client.post("/site-rules/new/", {**form, "try": "1", "receipt": str(receipt.pk)}).content.decode()
    assert '<th scope="row">Manufacturer</th><td>kept</td><td>removed</td>' in tried and "Qmarspital" not in tried
    assert "leave more than the profile" in client.post("/site-rules/new/", form).content.decode()
    assert SiteRules.objects.count() == 0
    assert client.post("/site-rules/new/", {**form, "loosen": "on"})["Location"] == "/site-rules/1/"
    client.post("/site-rules/new/", {"text": "KVP X", "active": "on"})
    second = client.get("/site-rules/2/").content.decode()
    assert '<th scope="row">KVP</th><td>emptied</td><td>removed</td>' in second and "In force" in second
    assert "Study of Lakeside" in client.get("/site-rules/new/?from=1").content.decode()
    assert "dave" in client.get("/site-rules/").content.decode()
    xml = client.get("/site-rules/1/script.xml").content.decode()
    again = ctp.read(xml, rows(Options()))
    assert again.rows[0x00080070].action == "X" and again.rows[0x00081030].value == "Study of Lakeside"
    assert client.get("/site-rules/9/").status_code == 404 == client.get("/site-rules/new/?from=9").status_code


def test_the_api(dave: User) -> None:
    client = Client(headers={"Authorization": f"Bearer {make.token(dave, make.organisation())}"})
    made = client.post("/api/v1/site-rules/", {"text": STRICT, "note": "by program"}, "application/json")
    assert made.status_code == 201 and made.json()["number"] == 1 and made.json()["weaker"] == []
    refused = client.post("/api/v1/site-rules/", {"text": WEAK}, "application/json")
    assert refused.status_code == 422 and refused.json()["weaker"] == ["FrameOfReferenceUID"]
    assert client.post("/api/v1/site-rules/", {"text": WEAK, "loosen": True}, "application/json").status_code == 201
    assert [one["number"] for one in client.get("/api/v1/site-rules/").json()["results"]] == [2, 1]
    assert client.get("/api/v1/site-rules/1/").json()["text"].startswith("Manufacturer X")
