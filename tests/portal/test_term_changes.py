"""Terms taught and taken back by a PACS administrator: sealed on the way, on record without them, made in the zone."""

from __future__ import annotations

import json
import logging
from typing import Any

import psycopg
import pytest
from django.apps import apps
from django.db import DatabaseError, connection, transaction
from django.http import Http404
from django.test import Client
from django.views.debug import ExceptionReporter

from portal.accounts.models import Role, User
from portal.core import zone
from portal.core.errors import Refused
from portal.core.grants import apply_grants
from portal.core.models import OutboxEvent, ZoneKey
from portal.deidentify import reidentify, tasks, term_actions, terms
from portal.deidentify.models import ListedTerm, TermChange, ZoneLook
from tests.factories import archive as make
from tests.factories.archive import plain_static
from tests.portal.test_zones import connect

__all__ = ["plain_static"]
pytestmark = pytest.mark.django_db(transaction=True)
TERM = "Qmarspital"


@pytest.fixture
def dave() -> User:
    ListedTerm.objects.all().delete()  # a test's end empties the tables of the app zone alone
    zone.publish_key()
    return make.user("dave", make.organisation(), Role.PACS_ADMIN)


def signed_in(person: User) -> Client:
    client = Client()
    client.force_login(person)
    return client


def listed(organisation: int) -> dict[str, list[str]]:
    terms._kept.clear()
    return {one["which"]: [term["text"] for term in one["terms"]] for one in terms.listing(organisation)}


def events() -> Any:
    return apps.get_model("deidentify", "TermChangeEvent").objects.order_by("pgh_id")


def test_a_term_is_taught_and_taken_back_on_the_pages(dave: User) -> None:
    org, client = make.organisation().pk, signed_in(dave)
    answer = client.post("/lists/change/", {"text": TERM, "which": "black", "kind": "hospital"})
    assert answer.status_code == 302 and answer["Location"] == "/lists/"
    made = TermChange.objects.get()
    assert "On its way" in client.get("/lists/").content.decode()
    tasks.change_terms(str(made.pk))
    tasks.change_terms(str(made.pk))
    assert listed(org)["black"] == [TERM.lower()] and ListedTerm.objects.get().kind == "hospital"
    where = client.post("/lists/", {"reason": "Checking what was taught"})["Location"]
    reidentify.answer(where.rstrip("/").rsplit("/", 1)[1])
    shown = client.post(where).content.decode()
    key = ListedTerm.objects.get().pk
    assert TERM.lower() in shown and f'name="term" value="{key}"' in shown
    client.post("/lists/change/", {"do": "take_back", "which": "black", "term": [str(key)]})
    back = TermChange.objects.get(does="take_back")
    tasks.change_terms(str(back.pk))
    assert listed(org) == {"black": [], "white": [], "grey": []}
    page = client.get("/lists/").content.decode()
    assert "Taken back" in page and TERM.lower() not in page.lower()


def test_the_same_by_the_api(dave: User) -> None:
    org = make.organisation()
    bearer = {"Authorization": f"Bearer {make.token(dave, org)}"}
    api = Client(headers=bearer)
    body = {"does": "teach", "which": "white", "texts": [TERM, "Gelbwal"]}
    answer = api.post("/api/v1/term-changes/", body, "application/json")
    assert answer.status_code == 202 and TERM not in answer.content.decode()
    pk = answer.json()["id"]
    tasks.change_terms(pk)
    said = api.get(f"/api/v1/term-changes/{pk}/").json()
    assert (said["state"], said["number"], said["by"]) == ("done", 2, "dave") and "texts" not in said
    assert sorted(listed(org.pk)["white"]) == ["gelbwal", TERM.lower()]
    gone = api.post("/api/v1/term-changes/", {"does": "take_back", "which": "white", "texts": ["GELBWAL"]},
                    "application/json").json()["id"]  # fmt: skip
    tasks.change_terms(gone)
    assert listed(org.pk)["white"] == [TERM.lower()]
    assert [one["does"] for one in api.get("/api/v1/term-changes/").json()["results"]] == ["take_back", "teach"]


def test_the_term_stands_nowhere_that_the_app_zone_reads(
    dave: User,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.DEBUG):
        signed_in(dave).post("/lists/change/", {"text": TERM, "which": "black", "kind": "hospital"})
        made = TermChange.objects.get()
        row = OutboxEvent.objects.get(topic=term_actions.TOPIC)
        assert (row.key, row.payload) == (str(made.pk), {})
        sealed = bytes(made.letter)
        tasks.change_terms(str(made.pk))
    apply_grants(connection)
    with connect("CONCORD_TEST_APP_URL") as db:
        kept = str(db.execute("SELECT * FROM deidentify_termchange").fetchall())
        kept += str(db.execute("SELECT * FROM deidentify_termchangeevent").fetchall())
        kept += str(db.execute("SELECT * FROM core_outboxevent").fetchall())
        kept += str(db.execute("SELECT * FROM deidentify_listedtermevent").fetchall())
        for verb in ("SELECT * FROM identities.listed_term", "DELETE FROM identities.listed_term",
                     "INSERT INTO identities.listed_term (organisation_id) VALUES (1)"):  # fmt: skip
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                db.execute(verb)
            db.rollback()
    for place in (
        kept.encode(),
        sealed,
        caplog.text.encode(),
        json.dumps(list(events().values()), default=str).encode(),
    ):
        assert TERM.lower().encode() not in place.lower() and TERM.encode().hex().encode() not in place
    made.refresh_from_db()
    assert bytes(made.letter) == b""


@pytest.mark.parametrize("api", [False, True], ids=["page", "api"])
def test_an_error_report_does_not_say_it(dave: User, monkeypatch: pytest.MonkeyPatch, api: bool) -> None:
    def broken(*args: Any) -> None:
        raise RuntimeError("no")

    monkeypatch.setattr(zone, "seal", broken)
    client = Client(raise_request_exception=False)
    client.force_login(dave)
    body: dict[str, Any] = {"text": TERM, "which": "white"}
    if api:
        body = {"does": "teach", "which": "white", "texts": [TERM]}
    answer = client.post(*(("/api/v1/term-changes/", body, "application/json") if api else ("/lists/change/", body)))
    report = ExceptionReporter(answer.wsgi_request, *answer.exc_info).get_traceback_html()
    assert answer.status_code == 500 and TERM not in answer.content.decode()
    assert "term_actions.py" in report and "RuntimeError" in report and TERM not in report


def test_who_and_which_list_are_on_record_for_good(dave: User) -> None:
    org = make.organisation().pk
    made = term_actions.teach(dave, org, "grey", [TERM])
    term_actions.change(made.pk)
    first, last = events()
    assert (first.user_id, first.which, first.does, first.state) == (dave.pk, "grey", "teach", "asked")
    assert (last.state, last.number, last.pgh_context.metadata["by"]) == ("done", 1, "dave")
    for statement in ("UPDATE deidentify_termchangeevent SET which = 'x'", "DELETE FROM deidentify_termchangeevent"):
        with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(statement)


def test_a_key_of_another_organisation_takes_nothing_back(dave: User) -> None:
    org = make.organisation()
    term_actions.change(term_actions.teach(dave, org.pk, "white", [TERM]).pk)
    mallory = make.user("mallory", make.organisation("harbour"), Role.PACS_ADMIN)
    made = term_actions.take_back(mallory, make.organisation("harbour").pk, "white", keys=[ListedTerm.objects.get().pk])
    assert term_actions.change(made.pk)
    made.refresh_from_db()
    assert (made.state, made.number) == ("done", 0) and listed(org.pk)["white"] == [TERM.lower()]
    other = term_actions.take_back(dave, org.pk, "black", texts=[TERM])  # it stands on the white one
    term_actions.change(other.pk)
    assert listed(org.pk)["white"] == [TERM.lower()]


@pytest.mark.parametrize("who", ["reader", "engineer", "coordinator", "account_admin", "auditor"])
def test_nobody_else_may(dave: User, who: str) -> None:
    person = make.user(who, make.organisation(), Role(who))
    client = signed_in(person)
    assert client.post("/lists/change/", {"text": TERM, "which": "white"}).status_code == 404
    with pytest.raises(Http404):
        term_actions.teach(person, make.organisation().pk, "white", [TERM])
    assert TermChange.objects.count() == 0


def test_an_administrator_who_is_none_any_more_teaches_nothing(dave: User) -> None:
    made = term_actions.teach(dave, make.organisation().pk, "white", [TERM])
    make.user("dave", make.organisation(), Role.READER)
    term_actions.change(made.pk)
    made.refresh_from_db()
    assert made.state == "failed" and "administrator" in made.error and ListedTerm.objects.count() == 0


@pytest.mark.parametrize(
    ("which", "texts", "kind", "code"),
    [
        ("black", [TERM], "colour", "bad_kind"),
        ("blue", [TERM], "", "bad_list"),
        ("white", [], "", "no_term"),
        ("white", [" .,; "], "", "bad_term"),
        ("white", ["x" * 101], "", "bad_term"),
        ("white", ["x"] * 501, "", "too_many"),
    ],
)
def test_what_cannot_be_taught_is_said(dave: User, which: str, texts: list[str], kind: str, code: str) -> None:
    with pytest.raises(Refused) as error:
        term_actions.teach(dave, make.organisation().pk, which, texts, kind)
    assert error.value.code == code and TERM not in error.value.message


def test_before_the_zone_has_started_nothing_is_taken(dave: User) -> None:
    ZoneKey.objects.all().delete()
    with pytest.raises(Refused, match="not started"):
        term_actions.teach(dave, make.organisation().pk, "white", [TERM])
    assert TermChange.objects.count() == 0 == ZoneLook.objects.count()


def test_sealed_for_a_key_that_was_changed_it_fails_and_says_so(dave: User, settings: Any) -> None:
    made = term_actions.teach(dave, make.organisation().pk, "white", [TERM])
    settings.VAULT_KEY = "another key of the vault that is long enough"
    assert term_actions.change(made.pk) and not term_actions.change(made.pk)
    made.refresh_from_db()
    assert made.state == "failed" and made.error and bytes(made.letter) == b""
