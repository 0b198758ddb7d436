"""Pages and REST of the doors: who sees what, and what the buttons do."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from pydicom.data import get_testdata_file

from portal.accounts.models import Membership, Organisation, User
from portal.core.models import OutboxEvent
from portal.ingest.actions import receive
from portal.ingest.models import HeaderRule, Receipt, Source
from portal.ingest.rules import WAITS_FOR_SERIES
from portal.ingest.shipped_rules import MAMMOGRAMS
from portal.ingest.standardise import BadRule, Rule, check, standardise

CT = Path(get_testdata_file("CT_small.dcm")).read_bytes()
PAGES = ["/ingest/", "/ingest/quarantine/", "/ingest/sources/", "/ingest/sources/new/", "/ingest/rules/",
         "/ingest/rules/new/", "/ingest/upload/"]  # fmt: skip


@pytest.fixture(autouse=True)
def plain_static_files(settings: Any) -> None:
    """Pages are rendered without collected static files."""
    plain = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
    settings.STORAGES = {**settings.STORAGES, "staticfiles": plain}


def signed_in(organisation: Organisation, name: str, *roles: str) -> Client:
    user = User.objects.create_user(name, password="a long password")
    Membership.objects.create(user=user, organisation=organisation, roles=list(roles))
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def lakeside(db: Any) -> Organisation:
    return Organisation.objects.create(slug="lakeside", name="Lakeside Imaging")


@pytest.fixture
def source(lakeside: Organisation) -> Source:
    return Source.objects.create(organisation=lakeside, kind=Source.Kind.DIMSE, name="CT 1", ae_title="CT1")


@pytest.fixture
def dave(lakeside: Organisation) -> Client:
    return signed_in(lakeside, "dave", "pacs_admin")


@pytest.fixture
def mallory(db: Any) -> Client:
    harbour = Organisation.objects.create(slug="harbour", name="Harbour Clinic")
    return signed_in(harbour, "mallory", "pacs_admin", "coordinator")


@pytest.fixture
def quarantined(source: Source) -> Receipt:
    return receive(source, io.BytesIO(CT[:-900]))


def test_pages_answer_by_role(lakeside: Organisation, dave: Client, quarantined: Receipt) -> None:
    carol = signed_in(lakeside, "carol", "coordinator")
    alice = signed_in(lakeside, "alice", "reader")
    for page in PAGES:
        assert dave.get(page).status_code == 200, page
        assert alice.get(page).status_code == 404, page
        assert Client().get(page).status_code == 302, page
        assert carol.get(page).status_code == (200 if page in {"/ingest/", "/ingest/upload/"} else 404), page


def test_receipts_are_filtered_and_paged(dave: Client, source: Source, quarantined: Receipt) -> None:
    receive(source, io.BytesIO(CT))
    Receipt.objects.bulk_create(
        Receipt(organisation=source.organisation, source=source, size=1, digest=f"{n}", state="archived")
        for n in range(60)
    )
    first = dave.get("/ingest/?state=archived")
    assert len(first.context["receipts"]) == 50
    second = dave.get(f"/ingest/?state=archived&before={first.context['more']}")
    assert len(second.context["receipts"]) == 10
    assert not {r.pk for r in first.context["receipts"]} & {r.pk for r in second.context["receipts"]}
    assert {value: n for value, _, n in first.context["tabs"]} == {
        "": 62, "received": 1, "deidentified": 0, "archived": 60, "duplicate": 0, "quarantined": 1, "discarded": 0,
    }  # fmt: skip


def test_what_waits_for_its_series_is_counted_where_it_is_looked_for(dave: Client, source: Source) -> None:
    receive(source, io.BytesIO(CT))
    assert "until its series has come" not in dave.get("/ingest/").content.decode()
    Receipt.objects.update(reason=WAITS_FOR_SERIES)
    page = dave.get("/ingest/").content.decode()
    assert "1 file waits until its series has come" in page and "?reason=waits_for_series" in page
    assert "Waits until its series has come" in dave.get("/ingest/?reason=waits_for_series").content.decode()
    (row,) = dave.get("/api/v1/receipts/?reason=waits_for_series").json()["results"]
    assert row["state"] == "received" and row["words"].startswith("Waits until its series")


def test_another_organisation_sees_and_decides_nothing(mallory: Client, quarantined: Receipt, source: Source) -> None:
    assert mallory.get("/ingest/").context["receipts"] == []
    assert mallory.get("/api/v1/receipts/").json()["results"] == []
    assert mallory.get("/api/v1/quarantine/").json()["results"] == []
    assert mallory.get(f"/ingest/sources/{source.pk}/").status_code == 404
    assert mallory.post(f"/api/v1/quarantine/{quarantined.pk}/discard/").status_code == 404
    mallory.post("/ingest/quarantine/decide/", {"row": [str(quarantined.pk)], "do": "discard", "confirmed": "1"})
    quarantined.refresh_from_db()
    assert quarantined.state == "quarantined"


def test_retry_and_discard_over_rest_and_page(dave: Client, source: Source, quarantined: Receipt) -> None:
    listed = dave.get("/api/v1/quarantine/").json()["results"]
    assert [(r["reason"], r["words"]) for r in listed] == [("truncated", "The file ends before its content does.")]
    assert dave.post(f"/api/v1/quarantine/{quarantined.pk}/retry/").json()["state"] == "received"
    assert dave.post(f"/api/v1/quarantine/{quarantined.pk}/retry/").status_code == 409
    other = receive(source, io.BytesIO(b"no image"))
    asked = dave.post("/ingest/quarantine/decide/", {"row": [str(other.pk)], "do": "discard"})
    assert "There is no way back" in asked.content.decode()
    other.refresh_from_db()
    assert other.state == "quarantined"  # asked first
    sent = dict(asked.context["fields"]) | {"confirmed": "1"}
    page = dave.post("/ingest/quarantine/decide/", sent, follow=True)
    assert "1 file discarded" in page.content.decode()
    other.refresh_from_db()
    assert other.state == "discarded"
    assert OutboxEvent.objects.filter(topic="ingest.discarded", key=str(other.pk)).exists()


def test_a_source_is_made_and_its_profile_is_recorded(dave: Client, lakeside: Organisation) -> None:
    values = {"kind": "dimse", "name": "MG 2", "ae_title": "", "privacy": "full", "on_mismatch": "hold",
              "active": "on"}  # fmt: skip
    assert b"needs the calling AE title" in dave.post("/ingest/sources/new/", values).content
    assert dave.post("/ingest/sources/new/", values | {"ae_title": "MG2"}).status_code == 302
    made = Source.objects.get(name="MG 2")
    assert made.organisation == lakeside
    dave.post(f"/ingest/sources/{made.pk}/", values | {"ae_title": "MG2", "privacy": "keep_uids"})
    events = made.events.order_by("pgh_id")  # type: ignore[attr-defined]
    assert list(events.values_list("privacy", flat=True)) == ["full", "keep_uids"]
    assert events.last().pgh_context.metadata["user"]
    again = dave.post("/ingest/sources/new/", values | {"ae_title": "MG2"})
    assert again.context["form"].non_field_errors() == ["This name or AE title is already in use."]


def test_a_header_rule_is_tried_and_saved(dave: Client, lakeside: Organisation) -> None:
    values = {
        "name": "sides", "priority": "10", "match": r"PatientID = (?P<case>P_\d+)_(?P<side>LEFT|RIGHT)",
        "assign": "ImageLaterality = {side|LEFT=L,RIGHT=R}", "study_key": "{case}", "series_key": "",
        "active": "on", "example": "PatientID = P_7_LEFT",
    }  # fmt: skip
    tried = dave.post("/ingest/rules/new/", values | {"try": "1"})
    assert tried.context["tried"]["done"].values == {"ImageLaterality": "L"}
    assert not HeaderRule.objects.exists()
    assert dave.post("/ingest/rules/new/", values).status_code == 302
    assert HeaderRule.objects.get().match == {"PatientID": r"(?P<case>P_\d+)_(?P<side>LEFT|RIGHT)"}
    wrong = dave.post("/ingest/rules/new/", values | {"name": "b", "match": "PatientID = (a+)+"})
    assert b"repeats a repetition" in wrong.content


@pytest.mark.parametrize(
    "rule",
    [
        Rule("r", {}, {}),
        Rule("r", {"PatientID": "("}, {}),
        Rule("r", {"PatientID": "(a*)*b"}, {}),
        Rule("r", {"PatientID": "(?:x+|y)+z"}, {}),
        Rule("r", {"NoSuchThing": "a"}, {}),
        Rule("r", {"PatientID": "a"}, {"SOPInstanceUID": "1.2"}),
        Rule("r", {"PatientID": "a"}, {"ViewPosition": "{view}"}),
    ],
)
def test_rules_that_cannot_work_are_named(rule: Rule) -> None:
    with pytest.raises(BadRule):
        check(rule)


def test_the_shipped_rule_on_headers() -> None:
    rule = Rule("m", MAMMOGRAMS["match"], MAMMOGRAMS["assign"], MAMMOGRAMS["study_key"], MAMMOGRAMS["series_key"])
    check(rule)
    done = standardise({"PatientID": "Mass-Test_P_00173_LEFT_MLO", "Modality": "MG", "StudyTime": "131758"}, [rule])
    assert done is not None
    assert done.values["ViewPosition"] == "MLO"
    assert (done.study_key, done.values["StudyTime"]) == ("Mass-Test_P_00173", "130000")
    assert standardise({"PatientID": "HN-4711", "Modality": "MG"}, [rule]) is None
