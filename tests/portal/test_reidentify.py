"""Who is this? Asked by a PACS administrator, with a reason, on record, shown once to the browser that asked."""

from __future__ import annotations

import io
from datetime import timedelta
from typing import Any

import pydicom
import pytest
from django.apps import apps
from django.db import DatabaseError, connection, transaction
from django.http import Http404
from django.test import Client
from django.utils import timezone
from pydicom.data import get_testdata_file

from portal.accounts.models import Role, User
from portal.archive.actions import store_receipt
from portal.archive.models import Study
from portal.core.errors import Refused
from portal.core.models import OutboxEvent
from portal.deidentify import looks, reidentify, terms
from portal.deidentify.models import ZoneLook
from portal.ingest.actions import receive
from portal.ingest.models import Source
from tests.factories import archive as make
from tests.factories.archive import plain_static  # noqa: F401
from tests.factories.door import cleaned

pytestmark = pytest.mark.django_db(transaction=True)
WHY = "The referring doctor asked by telephone"
NAME, ID, ACCESSION = "Quillfeather^Rosa", "QX771209", "ACC-5591"


@pytest.fixture
def dave() -> User:
    return make.user("dave", make.organisation(), Role.PACS_ADMIN)


def events() -> Any:
    return apps.get_model("deidentify", "ZoneLookEvent").objects.order_by("pgh_id")


def arrived(privacy: str = "full") -> tuple[Study, str]:
    """A study that came in by a door of Lakeside's, and its original UID."""
    source = Source.objects.create(organisation=make.organisation(), kind="upload", name="Door", privacy=privacy)
    ds, out = pydicom.dcmread(get_testdata_file("CT_small.dcm")), io.BytesIO()
    ds.PatientName, ds.PatientID, ds.PatientBirthDate, ds.AccessionNumber = NAME, ID, "19410213", ACCESSION
    ds.save_as(out, enforce_file_format=True)
    receipt = store_receipt(cleaned(receive(source, io.BytesIO(out.getvalue())).pk).pk)
    assert receipt.state == "archived", receipt.reason
    return Study.objects.get(study_uid=receipt.study_uid), str(ds.StudyInstanceUID)


def signed_in(person: User) -> Client:
    client = Client()
    client.force_login(person)
    return client


def asked(client: Client, study: Study, why: str = WHY) -> str:
    answer = client.post(f"/scans/{study.study_uid}/identity/", {"reason": why})
    assert answer.status_code == 302
    return answer["Location"]


def key_of(where: str) -> str:
    return where.rstrip("/").rsplit("/", 1)[1]


def test_the_pages_show_it_once_to_the_browser_that_asked(dave: User, plain_static: None) -> None:  # noqa: F811
    study, uid = arrived()
    client = signed_in(dave)
    assert "Who is this?" in client.get(f"/scans/{study.study_uid}/").content.decode()
    where = asked(client, study)
    assert events().get().reason == WHY and events().get().pseudonym == study.patient.pseudonym  # before any answer
    assert "is being asked" in client.get(where).content.decode()
    assert reidentify.answer(key_of(where)) and not reidentify.answer(key_of(where))
    assert NAME not in client.get(where).content.decode()
    other = signed_in(dave)
    assert NAME not in other.post(where).content.decode()
    shown = client.post(where)
    page = shown.content.decode()
    for value in (NAME, ID, "19410213", ACCESSION, uid):
        assert value in page
    assert "no-store" in shown["Cache-Control"]
    for again in (client.post(where), client.get(where)):
        assert NAME not in again.content.decode()
    assert not bytes(ZoneLook.objects.get().letter)
    assert not reidentify.answer(key_of(where))
    listed = client.get("/looks/").content.decode()
    assert WHY in listed and study.patient.pseudonym in listed and NAME not in listed


def test_what_lies_in_the_app_zone_says_nothing(dave: User) -> None:
    study, uid = arrived()
    made, key = reidentify.ask(
        dave, study.organisation_id, study.patient.pseudonym, study.study_uid, [study.accession], WHY
    )
    reidentify.answer(made.pk)
    made.refresh_from_db()
    kept = bytes(made.letter) + repr(made.__dict__).encode() + repr(list(events().values())).encode()
    kept += repr(list(OutboxEvent.objects.values())).encode()
    for value in (NAME, "Quillfeather", ID, ACCESSION, uid):
        assert value.encode() not in kept
    rows = reidentify.show(dave, made, key)["rows"]
    assert ["Accession number", ACCESSION] in rows and ["Study UID", uid] in rows and ["Name", NAME] in rows


@pytest.mark.parametrize("who", ["reader", "engineer", "coordinator", "account_admin", "auditor", "foreign"])
def test_nobody_else_may(who: str, plain_static: None) -> None:  # noqa: F811
    study, _ = arrived()
    org = make.organisation("harbour" if who == "foreign" else "lakeside")
    person = make.user(who, org, Role.PACS_ADMIN if who == "foreign" else Role(who))
    client = signed_in(person)
    where = f"/scans/{study.study_uid}/identity/"
    assert client.get(where).status_code == 404 == client.post(where, {"reason": WHY}).status_code
    assert "Who is this?" not in client.get(f"/scans/{study.study_uid}/").content.decode()
    with pytest.raises(Http404):
        reidentify.ask(person, study.organisation_id, "P", study.study_uid, [], WHY)
    assert ZoneLook.objects.count() == 0 == events().count()


def test_no_token_and_no_service_account_may(dave: User) -> None:
    study, _ = arrived()
    text = make.token(dave, make.organisation())
    bearer = Client(headers={"Authorization": f"Bearer {text}"})
    answer = bearer.post(f"/scans/{study.study_uid}/identity/", {"reason": WHY})
    assert answer.status_code == 302 and "/accounts/login/" in answer["Location"]
    dave.token = dave.api_tokens.get()
    with pytest.raises(Http404):
        reidentify.ask(dave, study.organisation_id, "P", study.study_uid, [], WHY)
    robot = make.user("robot", make.organisation(), Role.PACS_ADMIN)
    User.objects.filter(pk=robot.pk).update(is_service=True)
    robot.refresh_from_db()
    with pytest.raises(Http404):
        reidentify.ask(robot, study.organisation_id, "P", study.study_uid, [], WHY)
    assert events().count() == 0


@pytest.mark.parametrize("why", ["", "because", "         ok          "])
def test_a_reason_is_needed(dave: User, plain_static: None, why: str) -> None:  # noqa: F811
    study, _ = arrived()
    assert signed_in(dave).post(f"/scans/{study.study_uid}/identity/", {"reason": why}).status_code == 200
    with pytest.raises(Refused):
        reidentify.ask(dave, study.organisation_id, "P", study.study_uid, [], why)
    assert ZoneLook.objects.count() == 0


def test_another_administrator_and_a_late_one_open_nothing(dave: User) -> None:
    study, _ = arrived()
    made, key = reidentify.ask(dave, study.organisation_id, study.patient.pseudonym, study.study_uid, [], WHY)
    reidentify.answer(made.pk)
    made.refresh_from_db()
    erin = make.user("erin", make.organisation(), Role.PACS_ADMIN)
    for person, private in ((erin, key), (dave, b"x" * 32), (dave, b"")):
        with pytest.raises(Refused):
            reidentify.show(person, made, private)
    assert signed_in(erin).get(f"/looks/{made.pk}/").status_code == 404
    ZoneLook.objects.filter(pk=made.pk).update(at=timezone.now() - timedelta(hours=2))
    with pytest.raises(Refused):
        reidentify.show(dave, made, key)
    assert looks.forget() == 1 and looks.forget() == 0


def test_the_record_cannot_be_changed(dave: User) -> None:
    study, _ = arrived()
    reidentify.ask(dave, study.organisation_id, study.patient.pseudonym, study.study_uid, [], WHY)
    for statement in ("UPDATE deidentify_zonelookevent SET reason = 'none'", "DELETE FROM deidentify_zonelookevent"):
        with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(statement)
    assert events().get().pgh_context.metadata["by"] == "dave"


def test_a_scan_that_came_without_an_identity(dave: User, plain_static: None) -> None:  # noqa: F811
    study, _ = arrived("deidentified")
    client = signed_in(dave)
    where = asked(client, study)
    reidentify.answer(key_of(where))
    assert "Nobody by this pseudonym" in client.post(where).content.decode()


def test_the_lists_are_seen_by_the_same_way(dave: User, plain_static: None) -> None:  # noqa: F811
    org = make.organisation().pk
    terms.teach(dave, org, "Blauwal", "black", "hospital")
    terms.teach(dave, org, "Gelbwal", "white")
    arrived()
    client = signed_in(dave)
    assert "Blauwal" not in client.get("/lists/").content.decode()
    assert client.post("/lists/", {"reason": "short"}).status_code == 200 and not events().exists()
    where = client.post("/lists/", {"reason": "Checking what was taught"})["Location"]
    assert events().get().about == "lists"
    assert reidentify.answer(key_of(where))
    assert b"blauwal" not in bytes(ZoneLook.objects.get().letter).lower()
    page = client.post(where).content.decode().lower()
    assert "blauwal" in page and "gelbwal" in page and "hospital" in page
    assert "blauwal" not in client.post(where).content.decode().lower()
    other = make.user("mallory", make.organisation("harbour"), Role.PACS_ADMIN)
    made, key = reidentify.ask_lists(other, make.organisation("harbour").pk, "Looking at our own lists")
    reidentify.answer(made.pk)
    assert [one["number"] for one in reidentify.show(other, made, key)["lists"]] == [0, 0, 0]
    reader = make.user("alice", make.organisation(), Role.READER)
    assert signed_in(reader).get("/lists/").status_code == 404
