"""Data sets over HTTP: asked for, made, listed within the organisation, downloaded whole and in parts."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from portal.core import storage
from portal.export import tasks
from portal.export.actions import build_data_set
from portal.export.models import DataSet, Destination, Return
from portal.export.sets.container import write
from portal.export.sets.tables import _files
from portal.programmes.models import Programme
from tests.factories.archive import plain_static
from tests.factories.reading import Cast, answers, cast, open_case, owed, submit

__all__ = ["cast", "plain_static"]
SLUG = "screening-mammography"


def client(cast: Cast, name: str) -> Client:
    one = Client()
    one.force_login(getattr(cast, name))
    return one


def asked(cast: Cast) -> DataSet:
    answer = client(cast, "carol").post(f"/programmes/{SLUG}/data-sets/")
    assert answer.status_code == 302 and answer["Location"] == "/data-sets/"
    return DataSet.objects.get(programme__slug=SLUG, programme__organisation=cast.lakeside)


@pytest.mark.django_db(transaction=True)
def test_a_data_set_from_asking_to_the_file(cast: Cast) -> None:
    carol = client(cast, "carol")
    assert "No data set yet" in carol.get("/data-sets/").content.decode()
    case = open_case(cast, score=0.9)
    submit(cast.alice, case.assignments.get(), answers(True, 92, comment="=HYPERLINK()"))
    row = asked(cast)
    page = carol.get("/data-sets/").content.decode()
    assert "Waiting" in page and "Download the data set" not in page
    path = f"/programmes/{SLUG}/data-sets/{row.pk}/"
    assert carol.get(path).status_code == 404  # not ready yet

    assert owed("export.data_set_asked") == [str(row.pk)]
    tasks.build_data_set(str(row.pk))
    tasks.build_data_set(str(row.pk))
    row.refresh_from_db()
    assert row.state == "ready" and row.ready_at is not None and row.error == ""
    page = carol.get("/data-sets/").content.decode()
    assert "Ready" in page and row.sha256 in page and path in page and "Carol" in page

    answer = carol.get(path)
    data = b"".join(answer.streaming_content)  # type: ignore[attr-defined]
    assert (len(data), hashlib.sha256(data).hexdigest()) == (row.size, row.sha256)
    assert answer["Content-Disposition"].startswith(f'attachment; filename="{SLUG}-')
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        manifest = json.loads(archive.read("manifest.json"))
        assert manifest["programme"] == SLUG and "readings.csv" in manifest["files"]
        for name, entry in manifest["files"].items():
            assert hashlib.sha256(archive.read(name)).hexdigest() == entry["sha256"]
        (line,) = csv.DictReader(io.StringIO(archive.read("readings.csv").decode()))
        assert line["answer_recall"] == "True" and line["answer_comment"] == "'=HYPERLINK()"
        assert "alice" not in archive.read("readings.json").decode().lower()


@pytest.mark.django_db(transaction=True)
def test_a_broken_download_is_taken_up_again(cast: Cast) -> None:
    row = build_data_set(asked(cast).pk)
    carol, path = client(cast, "carol"), f"/programmes/{SLUG}/data-sets/{row.pk}/"
    whole = b"".join(carol.get(path).streaming_content)  # type: ignore[attr-defined]
    tag = carol.get(path)["ETag"]
    rest = carol.get(path, headers={"Range": "bytes=100-", "If-Range": tag})
    assert rest.status_code == 206 and rest["Content-Range"] == f"bytes 100-{row.size - 1}/{row.size}"
    assert b"".join(rest.streaming_content) == whole[100:]  # type: ignore[attr-defined]
    some = carol.get(path, headers={"Range": "bytes=5-9"})
    assert b"".join(some.streaming_content) == whole[5:10] and some["Content-Length"] == "5"  # type: ignore[attr-defined]
    other = carol.get(path, headers={"Range": "bytes=100-", "If-Range": '"another"'})
    assert other.status_code == 200 and b"".join(other.streaming_content) == whole  # type: ignore[attr-defined]


@pytest.mark.django_db(transaction=True)
def test_data_sets_stay_in_their_organisation_and_with_coordinators(cast: Cast) -> None:
    row = build_data_set(asked(cast).pk)
    path = f"/programmes/{SLUG}/data-sets/{row.pk}/"
    for name in ("alice", "dave", "erin", "grace", "mallory"):
        assert client(cast, name).get(path).status_code == 404, name
    for name in ("alice", "dave", "erin", "grace"):
        assert client(cast, name).get("/data-sets/").status_code == 404, name
        assert client(cast, name).post(f"/programmes/{SLUG}/data-sets/").status_code == 404, name
    # a coordinator elsewhere sees only what is there
    cast.mallory.memberships.update(roles=["coordinator"])
    other = client(cast, "mallory").get("/data-sets/")
    assert other.status_code == 200 and str(row.pk) not in other.content.decode()
    assert client(cast, "mallory").get(path).status_code == 404


@pytest.mark.django_db(transaction=True)
def test_what_could_not_be_made_is_shown_and_a_dead_worker_s_is_begun_anew(cast: Cast) -> None:
    row = asked(cast)
    DataSet.objects.filter(pk=row.pk).update(state="building")  # its worker died
    assert build_data_set(row.pk).state == "ready"
    before = row.sha256
    row.refresh_from_db()
    assert row.sha256 != before
    again = DataSet.objects.create(
        organisation=cast.lakeside, programme=row.programme, format="table", asked_by=cast.carol, state="queued"
    )
    folder = Path(storage.archive().path("exports"))
    shutil.rmtree(folder)
    folder.write_text("in the way")
    try:
        assert build_data_set(again.pk).state == "failed"
    finally:
        folder.unlink()
    assert "is not a directory" in client(cast, "carol").get("/data-sets/").content.decode()
    assert client(cast, "carol").get(f"/programmes/{SLUG}/data-sets/{row.pk}/").status_code == 404  # its file is gone


@pytest.mark.django_db(transaction=True)
def test_pages_of_many(cast: Cast) -> None:
    programme = Programme.objects.get(slug=SLUG, organisation=cast.lakeside)
    DataSet.objects.bulk_create(
        DataSet(organisation=cast.lakeside, programme=programme, format="table", state="queued") for _ in range(53)
    )
    carol = client(cast, "carol")
    after = carol.get("/data-sets/").context["table"].after
    first, rest = (carol.get(f"/data-sets/{q}").content.decode().count('id="d-') for q in ("", f"?after={after}"))
    assert (first, rest) == (50, 3)
    assert carol.get("/data-sets/?after=x").status_code == carol.get("/data-sets/?after=99999999999").status_code == 200


def test_tables_are_written_row_by_row() -> None:
    alive = 0

    def rows() -> Any:
        nonlocal alive
        for n in range(1000):
            yield {"n": n, **({"late": 1} if n == 999 else {})}
            alive += 1

    out = io.BytesIO()
    write(out, "zip", _files({"t": rows(), "none": iter(())}, ("csv", "json")), {})
    with zipfile.ZipFile(out) as archive:
        lines = archive.read("t.csv").decode().splitlines()
        assert lines[0] == "n,late" and lines[1] == "0," and lines[-1] == "999,1" and alive == 1000
        assert json.loads(archive.read("t.json"))[999] == {"n": 999, "late": 1}
        assert json.loads(archive.read("none.json")) == []


# --- returns and destinations -----------------------------------------------------------------------
@pytest.mark.django_db(transaction=True)
def test_destinations_are_administered_in_the_portal(cast: Cast) -> None:
    dave = client(cast, "dave")
    assert "No destination yet" in dave.get("/destinations/").content.decode()
    values = {"name": "Owner", "ae_title": "OWNER", "host": "pacs.lakeside.test", "port": "11112", "automatic": "on"}
    values |= {"kind": "dimse", "wants": ["sr", "gsps"]}
    for wrong in ({"ae_title": "a b"}, {"ae_title": "A\\B"}, {"port": "0"}, {"port": "70000"}, {"host": "http://x/"}):
        assert dave.post("/destinations/new/", {**values, **wrong}).status_code == 200
    assert Destination.objects.count() == 0
    assert dave.post("/destinations/new/", {**values, "active": "on"}).status_code == 302
    assert "another destination has this name" in dave.post("/destinations/new/", values).content.decode().lower()
    row = Destination.objects.get()
    assert row.restore_identity is False  # nobody's identity leaves because a box was forgotten
    changed = {**values, "active": "on", "restore_identity": "on"}
    assert dave.post(f"/destinations/{row.pk}/", changed).status_code == 302
    row.refresh_from_db()
    assert row.restore_identity and row.organisation == cast.lakeside
    event = row.events.order_by("pgh_id").last()  # type: ignore[attr-defined]
    assert event.restore_identity and event.pgh_context.metadata["user"] == cast.dave.pk
    for name in ("alice", "carol", "grace", "mallory"):
        assert client(cast, name).get(f"/destinations/{row.pk}/").status_code == 404, name
    for name in ("alice", "carol", "grace"):
        assert client(cast, name).get("/returns/").status_code == 404, name
    # mallory administers another house
    assert "pacs.lakeside.test" not in client(cast, "mallory").get("/destinations/").content.decode()


@pytest.mark.django_db(transaction=True)
def test_the_state_of_returns_is_shown_and_a_failed_one_sent_again(cast: Cast) -> None:
    case = open_case(cast)
    peer = Destination.objects.create(organisation=cast.lakeside, name="Owner", ae_title="OWNER", host="h", port=104)
    row = Return.objects.create(
        organisation=cast.lakeside, destination=peer, case=case, state="failed", attempts=12, error="OWNER is away"
    )
    dave = client(cast, "dave")
    page = dave.get("/returns/").content.decode()
    assert "Failed" in page and "OWNER is away" in page and "by hand" in page
    assert "OWNER is away" not in dave.get("/returns/?state=sent").content.decode()
    assert client(cast, "alice").post(f"/returns/{row.pk}/retry/").status_code == 404
    assert client(cast, "mallory").post(f"/returns/{row.pk}/retry/").status_code == 404
    assert dave.post(f"/returns/{row.pk}/retry/").status_code == 302
    row.refresh_from_db()
    assert (row.state, row.attempts) == ("queued", 0) and owed("export.return_queued") == [str(row.pk)]
    assert "Only a failed return" in dave.post(f"/returns/{row.pk}/retry/", follow=True).content.decode()
