"""Concord as user: it searches Orthanc and dcmtk peers, fetches from them, asks for and answers commitment."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydicom
import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone
from pydicom.uid import generate_uid

from deploy.embedded.config import free_port
from portal.accounts.models import User
from portal.archive.actions import settle_study, store_receipt
from portal.archive.models import Study
from portal.core import zone
from portal.core.errors import Refused
from portal.core.models import OutboxEvent
from portal.ingest.models import Receipt
from portal.peers import actions, fetching
from portal.peers.listener import listen
from portal.peers.models import Commitment, Fetch, PeerQuery, PeerStudy, QueryLook, StandingQuery
from tests.factories import archive
from tests.factories.archive import plain_static
from tests.factories.door import cleaned
from tests.factories.peers import Orthanc, orthanc, peer
from tests.support import wait_for

__all__ = ["plain_static"]
pytestmark = pytest.mark.django_db(transaction=True)
NAME, NUMBER = "Berghoff^Annegret", "PID-778812"


@pytest.fixture
def dave(transactional_db: Any, settings: Any) -> User:
    settings.VAULT_KEY = "a vault key for tests that is long enough"
    zone.publish_key()
    return archive.user("dave", archive.organisation("lakeside"), "pacs_admin")


@pytest.fixture
def port(dave: User) -> Iterator[int]:
    number = free_port()
    server = listen("127.0.0.1", number)
    yield number
    server.shutdown()


@pytest.fixture
def there(port: int, tmp_path: Path) -> Iterator[Orthanc]:
    with orthanc(tmp_path / "orthanc", port) as running:
        yield running


def filled(there: Orthanc, folder: Path, slices: int = 3, **values: Any) -> str:
    """A CT study with an identity at Orthanc; returns its study UID."""
    folder.mkdir(exist_ok=True)
    study, series = generate_uid(), generate_uid()
    fixed = {"PatientName": NAME, "PatientID": NUMBER, "PatientBirthDate": "19600102", **values}
    for n in range(slices):
        path = folder / f"{study}-{n}.dcm"
        path.write_bytes(archive.encoded(archive.image("CT", study=study, series=series, seed=n, **fixed)))
        there.take(path)
    return study


def through() -> list[Receipt]:
    """De-identify and archive what was received, as the workers do."""
    for receipt in Receipt.objects.filter(state="received"):
        store_receipt(cleaned(receipt.pk).pk)
    return list(Receipt.objects.order_by("received_at"))


def everything_readable() -> str:
    """All that the app zone could read: every table of schema public."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        out = []
        for (table,) in cursor.fetchall():
            cursor.execute(f'SELECT to_jsonb(t)::text FROM public."{table}" t')
            out += [row[0] for row in cursor.fetchall()]
    return "\n".join(out)


def test_an_administrator_queries_and_fetches(there: Orthanc, dave: User, tmp_path: Path) -> None:
    """By the pages: ask, see the answer in the browser that asked alone, choose, and the study comes in."""
    mine = peer(dave.memberships.get().organisation, "ORTHANC", port=there.port, fetch="get")
    study = filled(there, tmp_path / "a")
    filled(there, tmp_path / "a", 1, PatientID="OTHER", PatientName="Else^Someone")
    client = Client()
    client.force_login(dave)
    answer = client.post(f"/peers/{mine.pk}/query/", {"PatientName": "Berghoff*"})
    assert answer.status_code == 302, answer.content.decode()[:2000]
    query = PeerQuery.objects.get()
    assert answer.url == f"/peers/queries/{query.pk}/" and "asked" in client.get(answer.url).content.decode()
    assert NAME.split("^")[0] not in everything_readable()
    fetching.run_query(query.pk)
    assert fetching.run_query(query.pk).state == "answered"
    assert PeerStudy.objects.filter(query_id=query.pk).count() == 1
    page = client.get(answer.url).content.decode()
    assert NAME in page and NUMBER in page and "OTHER" not in page
    assert QueryLook.objects.get().user == dave
    elsewhere = Client()
    elsewhere.force_login(dave)
    sealed = elsewhere.get(answer.url).content.decode()
    assert NAME not in sealed and "Only the browser that asked" in sealed
    client.post(f"/peers/queries/{query.pk}/fetch/", {"number": ["0", "77", "x"]})
    fetch = Fetch.objects.get()
    assert fetching.run_fetch(fetch.pk).state == "done"
    fetch.refresh_from_db()
    assert (fetch.completed, fetch.failed, fetch.remaining) == (3, 0, 0)
    receipts = through()
    assert {r.state for r in receipts} == {"archived"} and {r.source for r in receipts} == {mine.source}
    assert {r.batch for r in receipts} == {fetch.batch}
    readable = everything_readable()
    assert study not in readable and NUMBER not in readable and "Berghoff" not in readable
    assert Study.objects.get().study_uid != study
    assert "3 of 3" in client.get("/peers/fetches/").content.decode()
    assert fetching.run_fetch(fetch.pk).completed == 3 and Receipt.objects.count() == 3


def test_a_sealed_answer_opens_for_nobody_else(there: Orthanc, dave: User, tmp_path: Path) -> None:
    organisation = dave.memberships.get().organisation
    mine = peer(organisation, "ORTHANC", port=there.port, fetch="get")
    filled(there, tmp_path / "a", 1)
    query, key = fetching.ask_query(dave, mine, {"PatientID": NUMBER})
    fetching.run_query(query.pk)
    query.refresh_from_db()
    assert [s["PatientID"] for s in fetching.look(dave, query, key)] == [NUMBER]
    other = archive.user("dora", organisation, "pacs_admin")
    for person, wrong in ((other, key), (dave, bytes(32)), (dave, b""), (dave, base64.b64encode(key))):
        with pytest.raises(Refused):
            fetching.look(person, query, wrong)
    kept = PeerStudy.objects.filter(query_id=query.pk)
    fetching.forget_answers()
    assert kept.count() == 1
    PeerQuery.objects.update(asked_at="2020-01-01T00:00Z")
    PeerStudy.objects.update(made_at="2020-01-01T00:00Z")
    assert fetching.forget_answers() >= 1 and not kept.exists()
    query.refresh_from_db()
    with pytest.raises(Refused):
        fetching.look(dave, query, key)


def test_a_move_calls_us_back(there: Orthanc, dave: User, tmp_path: Path) -> None:
    mine = peer(dave.memberships.get().organisation, "ORTHANC", port=there.port, fetch="move")
    filled(there, tmp_path / "a", 4)
    query, _ = fetching.ask_query(dave, mine, {"PatientID": NUMBER})
    fetching.run_query(query.pk)
    query.refresh_from_db()
    # Orthanc knows us as CONCORD, the title under which it is told to send
    (fetch,) = fetching.ask_fetch(dave, query, [0])
    assert fetching.ask_fetch(dave, query, [0]) == []
    done = fetching.run_fetch(fetch.pk)
    assert done.state == "done", done.error
    assert Receipt.objects.filter(source=mine.source, state="received").count() == 4


def test_a_peer_that_is_away_is_tried_again(dave: User) -> None:
    mine = peer(dave.memberships.get().organisation, "GONE", port=free_port(), fetch="get")
    assert actions.run_echo(mine.pk).echo_error == "GONE does not answer"
    query, _ = fetching.ask_query(dave, mine, {"PatientID": "1"})
    failed = fetching.run_query(query.pk)
    assert (failed.state, failed.error) == ("failed", "GONE does not answer")
    answered = fetching.queue_studies(mine, "standing", [{"StudyInstanceUID": "1.2.3", "StudyDate": "20240101"}])
    fetch = fetching.run_fetch(answered[0].pk)
    assert fetch.state == "failed" and fetch.attempts == 1 and fetch.next_at
    Fetch.objects.update(next_at="2020-01-01T00:00Z")
    before = OutboxEvent.objects.filter(topic="peers.fetch_asked").count()
    assert actions.queue_due() == 1 and Fetch.objects.get().state == "queued"
    assert OutboxEvent.objects.filter(topic="peers.fetch_asked").count() == before + 1


def test_echo_says_how_long_it_took(there: Orthanc, dave: User) -> None:
    mine = peer(dave.memberships.get().organisation, "ORTHANC", port=there.port)
    client = Client()
    client.force_login(dave)
    assert client.post(f"/peers/{mine.pk}/echo/").status_code == 302
    assert OutboxEvent.objects.get().task == "portal.peers.tasks.echo_peer"
    done = actions.run_echo(mine.pk)
    assert done.echo_error == "" and done.echo_ms is not None and done.echo_at
    assert f"in {done.echo_ms} ms" in client.get("/peers/").content.decode()


def test_a_standing_query_brings_what_is_new_once(there: Orthanc, dave: User, tmp_path: Path) -> None:
    mine = peer(dave.memberships.get().organisation, "ORTHANC", port=there.port, fetch="get")
    today = f"{timezone.localdate():%Y%m%d}"
    first = {"StudyDate": today, "BodyPartExamined": "CHEST"}
    filled(there, tmp_path / "a", 2, **first)
    filled(there, tmp_path / "a", 2, StudyDate="20100101", PatientID="OLD")
    filled(there, tmp_path / "a", 2, StudyDate=today, PatientID="FOOT", BodyPartExamined="FOOT")
    row = StandingQuery(organisation=mine.organisation, name="Chests", peer=mine, modalities=["CT"],
                        body_parts=["CHEST"], days_back=3)  # fmt: skip
    actions.save_standing(dave, row)
    assert actions.queue_due() == 1 and actions.queue_due() == 0
    fetching.run_standing(row.pk)
    row.refresh_from_db()
    assert (row.last_found, row.last_new, row.error) == (2, 1, "")
    assert fetching.run_fetch(Fetch.objects.get().pk).completed == 2
    fetching.run_standing(row.pk)
    assert Fetch.objects.count() == 1
    filled(there, tmp_path / "a", 1, PatientID="NEW", **first)
    fetching.run_standing(row.pk)
    assert Fetch.objects.count() == 2


def test_earlier_studies_follow_a_new_one(there: Orthanc, dave: User, tmp_path: Path) -> None:
    """Orthanc sends a study; the newest two of the patient's earlier CTs are fetched, and ask for none themselves."""
    peer(dave.memberships.get().organisation, "ORTHANC", port=there.port, fetch="get", priors=2)
    for day in ("20190505", "20200505", "20210505", "20251111"):
        filled(there, tmp_path / "a", 1, StudyDate=day)
    filled(there, tmp_path / "a", 1, StudyDate="20180101", PatientID="ANOTHER")
    new = filled(there, tmp_path / "a", 2, StudyDate="20240606")
    (key,) = there.post("/tools/find", {"Level": "Study", "Query": {"StudyInstanceUID": new}})
    there.post("/modalities/concord/store", {"Resources": [key], "Synchronous": True})
    through()
    study = Study.objects.get()
    settle_study(study.pk)
    assert len(fetching.fetch_priors(study.pk)) == 2 and fetching.fetch_priors(study.pk) == []
    for fetch in Fetch.objects.all():
        assert fetching.run_fetch(fetch.pk).state == "done"
    through()
    assert Study.objects.count() == 3 and Study.objects.values("patient").distinct().count() == 1
    days = sorted(s.study_date.year for s in Study.objects.all())
    assert len(days) == 3
    for prior in Study.objects.exclude(pk=study.pk):
        assert prior.study_date < study.study_date and fetching.fetch_priors(prior.pk) == []


def test_commitment_both_ways(there: Orthanc, port: int, dave: User, tmp_path: Path) -> None:
    """Orthanc asks us about what it sent and about what it did not; we ask Orthanc the same."""
    mine = peer(dave.memberships.get().organisation, "ORTHANC", port=there.port)
    study = filled(there, tmp_path / "a", 2)
    (key,) = there.post("/tools/find", {"Level": "Study", "Query": {"StudyInstanceUID": study}})
    there.post("/modalities/concord/store", {"Resources": [key], "Synchronous": True})
    files = [pydicom.dcmread(p) for p in sorted((tmp_path / "a").iterdir())]
    known = [(str(f.SOPClassUID), str(f.SOPInstanceUID)) for f in files]
    unknown = (known[0][0], str(generate_uid()))
    asked = there.post(
        "/modalities/concord/storage-commitment", {"DicomInstances": [list(i) for i in [*known, unknown]]}
    )
    row = wait_for(lambda: Commitment.objects.filter(side="theirs").first(), 10, "the question arrives")
    assert actions.deliver_commitment(row.pk).state == "partial"
    told = wait_for(
        lambda: ((r := there.get(asked["Path"]))["Status"] != "Pending" and r) or None, 10, "Orthanc has the answer"
    )
    assert told["Status"] == "Failure"
    assert {i["SOPInstanceUID"] for i in told["Success"]} == {uid for _, uid in known}
    assert [i["SOPInstanceUID"] for i in told["Failures"]] == [unknown[1]]
    ours = actions.ask_commitment(mine, [*known, unknown])
    actions.deliver_commitment(ours.pk)
    wait_for(lambda: Commitment.objects.get(pk=ours.pk).state != "asked", 15, "Orthanc answers us")
    ours.refresh_from_db()
    assert (ours.state, ours.confirmed, ours.refused) == ("partial", 2, 1)
