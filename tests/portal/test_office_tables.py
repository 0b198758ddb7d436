"""Tables of the office: filters, order, pages, columns and CSV from the address; saved views; what is done to many."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.http import QueryDict
from django.test import Client
from django.utils import timezone

from portal.accounts.actions import save_view
from portal.accounts.models import Membership, Organisation, SavedView, User
from portal.core.errors import Refused
from portal.core.tables import Page, cell
from portal.export.models import Destination, Return
from portal.export.tables import returns
from portal.home.case_table import CASES
from portal.home.programme_views import simulator_sentence
from portal.infer.models import Run
from portal.ingest.models import Receipt, Source
from portal.ingest.tables import quarantine
from portal.programmes.actions import set_priorities
from portal.programmes.models import Case, PanelMember, Programme, Protocol
from tests.factories.archive import plain_static
from tests.factories.queue import queued
from tests.factories.reading import function_in_service

__all__ = ["plain_static"]
pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("plain_static")]
NOW = timezone.now()


class People:
    """Lakeside with carol who coordinates, dave who looks after the doors, alice who reads; mallory in harbour."""

    def __init__(self) -> None:
        self.lakeside = Organisation.objects.create(slug="lakeside", name="Lakeside Imaging")
        self.harbour = Organisation.objects.create(slug="harbour", name="Harbour Clinic")
        self.users = {
            "alice": self._user("alice", self.lakeside, "reader"),
            "carol": self._user("carol", self.lakeside, "coordinator"),
            "dave": self._user("dave", self.lakeside, "pacs_admin"),
            "mallory": self._user("mallory", self.harbour, "coordinator", "pacs_admin", "engineer"),
        }
        self.programme = Programme.objects.create(
            organisation=self.lakeside, slug="screening", name="Screening", modalities=["MG"]
        )
        Protocol.objects.create(programme=self.programme, number=1)
        PanelMember.objects.create(programme=self.programme, user=self.users["alice"], part="reader")

    def _user(self, name: str, organisation: Organisation, *roles: str) -> User:
        user = User.objects.create(username=name)
        Membership.objects.create(user=user, organisation=organisation, roles=list(roles))
        return user

    def client(self, name: str) -> Client:
        client = Client()
        client.force_login(self.users[name])
        return client

    def set_aside(self, count: int, **values: Any) -> list[Receipt]:
        source, _ = Source.objects.get_or_create(organisation=self.lakeside, kind="upload", name="Door")
        return Receipt.objects.bulk_create(
            Receipt(organisation=self.lakeside, source=source, state="quarantined", size=n % 7, digest=f"{n}",
                    received_at=NOW - timedelta(minutes=n), **{"reason": "truncated", **values})
            for n in range(count)
        )  # fmt: skip


@pytest.fixture
def people(db: None) -> People:
    return People()


def walked(table: Any, rows: Any, **query: str) -> Iterator[list[Any]]:
    """The pages of a table, one after the other, as their links lead."""
    asked = QueryDict(mutable=True)
    asked.update(query)
    while True:
        page = table.page(asked, rows)
        assert isinstance(page, Page)
        yield [row.pk for row in page.rows]
        if not page.after:
            return
        asked["after"] = page.after


@pytest.mark.parametrize("sort", ["received", "-received", "size", "-size", "source"])
def test_pages_hold_every_row_once_in_order(people: People, sort: str) -> None:
    receipts = people.set_aside(120)
    pages = list(walked(quarantine(people.users["dave"]), Receipt.objects.all(), sort=sort))
    assert [len(page) for page in pages] == [50, 50, 20]
    shown = [key for page in pages for key in page]
    fields = {"received": "received_at", "size": "size", "source": "source_id"}
    value = {row.pk: getattr(row, fields[sort.removeprefix("-")]) for row in receipts}
    assert sorted(shown) == sorted(value)
    assert [value[key] for key in shown] == sorted(value.values(), reverse=sort.startswith("-"))


@pytest.mark.parametrize("sort", ["sent", "-sent"])
def test_rows_without_a_value_stand_last_and_are_not_lost(people: People, sort: str) -> None:
    peer = Destination.objects.create(organisation=people.lakeside, name="PACS", ae_title="P", host="h", port=1)
    cases = [a.case for a in queued(people.programme, 110)]
    Return.objects.bulk_create(
        Return(organisation=people.lakeside, destination=peer, case=case, state="sent" if n % 2 else "failed",
               sent_at=NOW + timedelta(seconds=n) if n % 2 else None)
        for n, case in enumerate(cases)
    )  # fmt: skip
    shown = [key for page in walked(returns([peer]), Return.objects.all(), sort=sort) for key in page]
    sent = dict(Return.objects.values_list("pk", "sent_at"))
    assert sorted(shown, key=str) == sorted(sent, key=str)
    times = [sent[key] for key in shown]
    assert times[:55] == sorted(filter(None, times), reverse=sort == "-sent") and times[55:] == [None] * 55


def test_a_page_counts_nothing_and_asks_little(people: People, django_assert_max_num_queries: Any) -> None:
    people.set_aside(120)
    dave = people.client("dave")
    dave.get("/ingest/quarantine/")
    with django_assert_max_num_queries(14) as asked:
        page = dave.get("/ingest/quarantine/")
    assert page.content.decode().count('<tr role="row" id="q-') == 50
    assert not [q for q in asked.captured_queries if "COUNT(" in q["sql"]]


def test_what_an_address_cannot_mean_is_left_out(people: People) -> None:
    people.set_aside(3)
    dave = people.client("dave")
    for query in ("reason=nonsense", "source=x", "from=2026-02-30", "sort=digest", "sort=-", "after=x", "column=none",
                  "reason=%00", "after=" + "9" * 40):  # fmt: skip
        page = dave.get(f"/ingest/quarantine/?{query}")
        assert page.status_code == 200, query
        assert len(page.context["table"].rows) == 3, query
    assert people.client("carol").get("/scans/?format=csv").content.startswith(b"Scan,Modality,Patient")
    assert people.client("carol").get("/data-sets/?format=csv").content.startswith(b"State,Programme")
    assert people.client("carol").get("/scans/?q=%00&from=2026-02-30").status_code == 200
    assert people.client("carol").get("/api/v1/studies/?from=2026-02-30").status_code == 200


def test_filters_and_columns_hold_for_the_page_and_the_file(people: People) -> None:
    people.set_aside(4)
    people.set_aside(2, reason="not_dicom")
    dave = people.client("dave")
    page = dave.get("/ingest/quarantine/?reason=not_dicom&column=size").content.decode()
    assert page.count('id="q-') == 2
    assert 'data-label="Size"' in page and 'data-label="Source"' not in page and 'data-label="Reason"' in page
    file = dave.get("/ingest/quarantine/?reason=not_dicom&column=size&format=csv")
    assert file["Content-Type"].startswith("text/csv") and "quarantine.csv" in file["Content-Disposition"]
    rows = list(csv.reader(io.StringIO(file.content.decode())))
    assert rows == [["Reason", "Size"]] + [["This is not a DICOM file: the DICM mark is missing.", n] for n in "01"]


def test_no_cell_of_a_file_becomes_a_formula() -> None:
    assert [cell(v) for v in ("=1+1", "+1", "-1", "@x", -1, None, ["A", "B"])] == [
        "'=1+1", "'+1", "'-1", "'@x", "-1", "", "A/B"
    ]  # fmt: skip


def test_a_view_is_kept_for_its_owner_alone_and_can_be_had_back(people: People) -> None:
    dave = people.client("dave")
    body = {"table": "quarantine", "name": "Cut off", "query": "reason=truncated&after=7&to=&format=csv&sort=size"}
    dave.post("/account/views/", {**body, "back": "/ingest/quarantine/?reason=truncated"})
    view = SavedView.objects.get()
    assert (view.user, view.organisation, view.query) == (
        people.users["dave"], people.lakeside, "reason=truncated&sort=size"
    )  # fmt: skip
    page = dave.get("/ingest/quarantine/?sort=size&reason=truncated").content.decode()
    assert 'href="?reason=truncated&amp;sort=size" aria-current="true">Cut off' in page
    assert people.client("mallory").post(f"/account/views/{view.pk}/remove/").status_code == 404
    assert "Cut off" not in people.client("mallory").get("/ingest/quarantine/").content.decode()
    save_view(people.users["dave"], people.lakeside, "quarantine", "Cut  off ", "sort=-size")
    view.refresh_from_db()
    assert view.query == "sort=-size"  # the same name: the new filters
    after = dave.post(f"/account/views/{view.pk}/remove/", {"back": "/ingest/quarantine/"}, follow=True)
    assert not SavedView.objects.exists()
    undo = after.context["undo"]
    assert "Undo</button>" in after.content.decode()
    dave.post(undo["url"], dict(undo["fields"]))
    assert SavedView.objects.get().query == "sort=-size"
    labels = view.events.model.objects.order_by("pgh_id").values_list("pgh_label", flat=True)  # type: ignore[attr-defined]
    assert list(labels)[:2] == ["insert", "update"]


def test_a_view_of_an_organisation_one_has_left_is_no_more(people: People) -> None:
    dave = people.users["dave"]
    save_view(dave, people.lakeside, "scans", "Mine", "")
    with pytest.raises(Refused):
        save_view(dave, people.harbour, "scans", "Theirs", "")
    nomad = Client()
    nomad.force_login(User.objects.create(username="nomad"))
    assert nomad.post("/account/views/", {"table": "scans", "name": "x", "query": ""}).status_code == 302
    for name, table in (("", "scans"), (" \0 ", "scans"), ("x", "../scans")):
        with pytest.raises(Refused):
            save_view(dave, people.lakeside, table, name, "")


def test_a_form_leads_back_to_this_portal_only(people: People) -> None:
    dave = people.client("dave")
    body = {"table": "scans", "name": "x", "query": ""}
    assert dave.post("/account/views/", {**body, "back": "//evil.example/"})["Location"] == "/"
    assert dave.post("/account/views/", {**body, "back": "https://evil.example/"})["Location"] == "/"
    assert dave.post("/account/views/", {**body, "back": "/scans/?q=a"})["Location"] == "/scans/?q=a"


def test_the_priority_of_many_is_set_kept_in_history_and_taken_back(people: People) -> None:
    offers = queued(people.programme, 4)
    carol = people.client("carol")
    Case.objects.filter(number=2).update(priority=5)
    here = "/programmes/screening/cases/priority/"
    after = carol.post(here, {"row": ["1", "2"], "do": "10", "back": "/programmes/screening/?q=1"}, follow=True)
    assert after.redirect_chain == [("/programmes/screening/?q=1", 302)]
    assert dict(Case.objects.values_list("number", "priority")) == {1: 10, 2: 10, 3: 0, 4: 0}
    offers[0].refresh_from_db()
    assert offers[0].priority == 10  # what waits to be taken moves too
    event = Case.objects.get(number=1).priority_events.get()  # type: ignore[attr-defined]
    assert (event.priority, event.pgh_context.metadata["user"]) == (10, people.users["carol"].pk)
    undo = after.context["undo"]
    carol.post(undo["url"], {"set": [v for k, v in undo["fields"] if k == "set"]})
    assert dict(Case.objects.values_list("number", "priority")) == {1: 0, 2: 5, 3: 0, 4: 0}


def test_a_priority_that_cannot_be_set_changes_nothing(people: People) -> None:
    queued(people.programme, 1)
    queued(people.programme, 1, state="settled")
    for name in ("alice", "mallory"):
        here = "/programmes/screening/cases/priority/"
        assert people.client(name).post(here, {"row": "1", "do": "5"}).status_code == 404
        with pytest.raises(Refused):
            set_priorities(people.programme, {1: 5}, by=people.users[name])
    for wanted in ({1: 11}, {1: -1}, {1: 5, 2: 5}, {1: 5, 9: 5}):
        with pytest.raises(Refused):
            set_priorities(people.programme, wanted, by=people.users["carol"])
    for body in ({"row": "x", "do": "5"}, {"row": "1", "do": ""}, {"set": "1"}, {}):
        assert people.client("carol").post("/programmes/screening/cases/priority/", body).status_code == 302
    assert set(Case.objects.values_list("priority", flat=True)) == {0}


def test_failed_returns_are_sent_again_together(people: People) -> None:
    peer = Destination.objects.create(organisation=people.lakeside, name="PACS", ae_title="P", host="h", port=1)
    states = ["failed", "failed", "sent"]
    rows = [
        Return.objects.create(organisation=people.lakeside, destination=peer, case=offer.case, state=state)
        for offer, state in zip(queued(people.programme, 3), states, strict=True)
    ]
    keys = [str(row.pk) for row in rows]
    assert people.client("mallory").post("/returns/retry/", {"row": keys}).status_code == 404
    page = people.client("dave").post("/returns/retry/", {"row": keys}, follow=True).content.decode()
    assert "2 results on the way again." in page and "Only a failed return can be sent again." in page
    assert sorted(Return.objects.values_list("state", flat=True)) == ["queued", "queued", "sent"]
    file = people.client("dave").get("/returns/?state=sent&format=csv").content.decode().splitlines()
    assert len(file) == 2 and file[1].startswith(
        "Acknowledged,PACS,Screening case 3,Reading: structured report (TID 1500),pseudonym"
    )


def test_failed_runs_are_tried_again_together(people: People) -> None:
    version = function_in_service()
    studies = [offer.case.study for offer in queued(people.programme, 2)]
    runs = [
        Run.objects.create(organisation=people.lakeside, study=study, study_revision=0, version=version, state="failed")
        for study in studies
    ]
    here = f"/functions/{version.function.slug}/runs/"
    keys = [str(run.pk) for run in runs]
    carol = people.client("carol")
    assert carol.get(f"{here}?state=failed").content.decode().count("data-choose>") == 2
    assert people.client("mallory").post(f"{here}retry/", {"row": keys}).status_code == 404
    assert len(carol.get(f"{here}?format=csv").content.splitlines()) == 3
    assert "2 runs waiting again." in carol.post(f"{here}retry/", {"row": keys}, follow=True).content.decode()
    assert set(Run.objects.values_list("state", flat=True)) == {"queued"}


def test_the_worklist_is_filtered_and_keeps_its_order(people: People) -> None:
    other = Programme.objects.create(organisation=people.lakeside, slug="chest", name="Chest", modalities=["DX"])
    Protocol.objects.create(programme=other, number=1)
    PanelMember.objects.create(programme=other, user=people.users["alice"], part="reader")
    queued(people.programme, 60)
    queued(other, 2, priority=5)
    alice = people.client("alice")
    page = alice.get("/worklist/")
    rows = page.context["table"].rows
    assert [row.case.programme.slug for row in rows] == ["chest"] * 2 + ["screening"] * 48
    rest = alice.get(f"/worklist/?after={page.context['table'].after}").context["table"]
    assert len(rest.rows) == 12 and not rest.after
    filtered = alice.get("/worklist/?programme=screening&modality=MG")
    assert {row.case.programme.slug for row in filtered.context["table"].rows} == {"screening"}
    assert filtered.context["items"][0]["programme"]["slug"] == "chest"  # the next case is the next of all
    assert len(list(csv.reader(io.StringIO(alice.get("/worklist/?format=csv").content.decode())))) == 63


def test_cases_are_filtered_by_state_number_and_priority(people: People) -> None:
    queued(people.programme, 3)
    queued(people.programme, 1, state="arbitration")
    Case.objects.filter(number=3).update(priority=5)
    carol = people.client("carol")

    def shown(query: str) -> list[int]:
        return [case.number for case in carol.get(f"/programmes/screening/?{query}").context["table"].rows]

    assert len(carol.get("/programmes/screening/?format=csv").content.splitlines()) == 5
    assert shown("") == [4, 3, 2, 1] and shown("sort=number") == [1, 2, 3, 4]
    assert shown("state=arbitration") == [4] and shown("q=2") == [2] and shown("priority=raised") == [3]
    assert shown("sort=-priority")[0] == 3
    assert {c.key for c in CASES.columns if c.fixed} == {"number"}


@pytest.mark.parametrize(("number", "words"), [(1, "One first reading"), (4, "by 25 percentage points"), (30, "")])
def test_the_simulator_says_how_little_few_readings_say(number: int, words: str) -> None:
    said = simulator_sentence(number)
    assert words in said and ("So few" in said) == (1 < number < 30)


def test_pages_of_a_package_speak_the_houses_words(people: People) -> None:
    dave = people.client("dave")
    for address, title, label in (
        ("/accounts/password/change/", "Change password", "Current password"),
        ("/accounts/2fa/", "Second factor", "Authenticator app"),
        ("/accounts/logout/", "Sign out", "Sign out"),
    ):
        page = dave.get(address, follow=True).content.decode()
        assert f"<title>{title} · Concord</title>" in page and label in page, address
        assert "Two-factor" not in page and "Current Password" not in page
    reset = Client().get("/accounts/password/reset/").content.decode()
    assert "<title>Password reset · Concord</title>" in reset and ">E-mail</label>" in reset
