"""Saved cohorts: over HTTP with the named cast, live and frozen, what they are made of and what is done with them."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
import requests
from django.test import Client

from inference.datasets.table import table
from inference.training.config import TrainConfig
from portal.accounts.actions import create_token
from portal.accounts.models import User
from portal.archive.models import Cohort, CohortMember, Patient, Study
from portal.consensus.models import Truth
from portal.core import storage
from portal.export.actions import build_data_set
from portal.infer.models import ImageResult, Run
from portal.programmes.models import Assignment, Case, PanelMember, Programme
from tests.factories import archive as make
from tests.factories.archive import plain_static
from tests.factories.reading import Cast, cast, finished_run, function_in_service

__all__ = ["cast", "plain_static"]
pytestmark = pytest.mark.django_db(transaction=True)

# modality, sex, age, maker, model, day, body part, description
SCANS = [
    ("MG", "F", "045Y", "Acme", "M1", "20230105", "BREAST", "Screening left"),
    ("MG", "F", "061Y", "Acme", "M2", "20230601", "BREAST", "Screening right"),
    ("MG", "F", "068Y", "Zenith", "Z", "20240105", "BREAST", "Follow-up"),
    ("DX", "M", "063Y", "Zenith", "Z", "20240301", "CHEST", "Chest"),
    ("DX", "F", "012Y", "Acme", "D1", "20240302", "CHEST", "Chest"),
    ("CT", "M", "079Y", "Zenith", "C", "20240401", "HEAD", "Head"),
]


@pytest.fixture
def scans(cast: Cast) -> list[Study]:
    found = []
    for n, (modality, sex, age, maker, model, day, part, words) in enumerate(SCANS):
        one = make.image(
            modality, seed=n, PatientID=f"C-{n}", PatientSex=sex, PatientAge=age, Manufacturer=maker,
            ManufacturerModelName=model, StudyDate=day, BodyPartExamined=part, StudyDescription=words,
        )  # fmt: skip
        found.append(make.settled([one], cast.lakeside))
    return found


class Api:
    """One person's requests."""

    def __init__(self, url: str, user: User) -> None:
        self.url = f"{url}/api/v1/cohorts/"
        self.http = requests.Session()
        self.http.trust_env = False
        text = create_token(user, user.memberships.get().organisation, "cohorts")[1]
        self.http.headers["Authorization"] = f"Bearer {text}"

    def ask(self, method: str, path: str = "", body: Any = None) -> requests.Response:
        return self.http.request(method, self.url + path, json=body)

    def made(self, name: str = "A", **body: Any) -> int:
        answer = self.ask("POST", "", {"name": name, **body})
        assert answer.status_code == 201, answer.text
        return int(answer.json()["id"])

    def members(self, pk: int) -> set[str]:
        answer = self.ask("GET", f"{pk}/members/")
        assert answer.status_code == 200, answer.text
        return {row["study_uid"] for row in answer.json()["results"]}


@pytest.fixture
def people(live_server: Any, cast: Cast) -> dict[str, Api]:
    return {name: Api(live_server.url, getattr(cast, name)) for name in ("alice", "carol", "erin", "grace", "mallory")}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, {0, 1, 2, 3, 4, 5}),
        ({"modality": "MG"}, {0, 1, 2}),
        ({"sex": "F", "age_from": "45", "age_to": "61"}, {0, 1}),
        ({"machine": "zen"}, {2, 3, 5}),
        ({"machine": "M1"}, {0}),
        ({"machine": "Z", "modality": "DX"}, {3}),
        ({"part": "chest"}, {3, 4}),
        ({"from": "2023-06-01", "to": "2024-01-05"}, {1, 2}),
        ({"q": "screening"}, {0, 1}),
        ({"risk": "smoker"}, {5}),
        ({"source": "CT 1", "state": "settled", "modality": "CT"}, {5}),
        ({"urgent": "5"}, {3}),
        ({"quality": "101"}, set()),
        ({"view": "CC"}, set()),
        ({"series": "nothing"}, set()),
    ],
)
def test_every_filter_of_the_scan_entry(
    people: dict[str, Api], scans: list[Study], query: dict[str, str], expected: set[int]
) -> None:
    Patient.objects.filter(studies=scans[5]).update(risk_factors={"smoker": True})
    Study.objects.filter(pk=scans[3].pk).update(priority=7)
    Study.objects.exclude(pk=scans[3].pk).update(priority=0)
    pk = people["alice"].made(query=query)
    assert people["alice"].members(pk) == {scans[n].study_uid for n in expected}
    assert people["alice"].ask("GET", f"{pk}/").json()["count"] == len(expected)


@pytest.mark.parametrize(
    "body",
    [
        {}, {"name": " "}, {"name": "A", "query": {"nonsense": "1"}}, {"name": "A", "query": {"sex": "X"}},
        {"name": "A", "query": {"age_from": "-1"}}, {"name": "A", "query": {"from": "2024-02-30"}}, {"name": "A" * 81},
        {"name": "A", "query": "modality=MG"},
    ],
)  # fmt: skip
def test_cohorts_that_make_no_sense(people: dict[str, Api], body: dict[str, Any]) -> None:
    answer = people["alice"].ask("POST", "", body)
    assert answer.status_code in {400, 422} and not Cohort.objects.exists()


def test_a_live_cohort_grows_and_a_frozen_one_does_not(people: dict[str, Api], cast: Cast, scans: list[Study]) -> None:
    alice = people["alice"]
    live, fixed = alice.made("Live", query={"modality": "MG"}), alice.made("Fixed", query={"modality": "MG"})
    assert alice.ask("POST", f"{fixed}/freeze/").json()["count"] == 3
    assert alice.ask("POST", f"{fixed}/freeze/").json()["count"] == 3  # twice is once
    late = make.settled([make.image("MG", PatientID="C-9", seed=9)], cast.lakeside)
    assert alice.members(live) - alice.members(fixed) == {late.study_uid}
    assert alice.ask("PATCH", f"{fixed}/", {"query": {"modality": "CT"}}).status_code == 409
    assert alice.ask("PATCH", f"{fixed}/", {"name": "Fixed for good", "shared": True}).json()["shared"] is True
    assert alice.ask("PATCH", f"{live}/", {"query": {"modality": "CT"}}).status_code == 200
    assert alice.members(live) == {scans[5].study_uid}
    assert alice.ask("DELETE", f"{fixed}/").status_code == 204
    assert Study.objects.count() == 7 and not CohortMember.objects.exists()


def test_who_sees_and_changes_what(people: dict[str, Api], scans: list[Study]) -> None:
    alice, carol, erin = people["alice"], people["carol"], people["erin"]
    own, shared = alice.made("Own"), alice.made("Shared", shared=True)
    assert alice.ask("POST", "", {"name": "Own"}).status_code == 409
    assert carol.made("Own")  # another's name is free
    listed = {row["id"] for row in erin.ask("GET").json()["results"]}
    assert shared in listed and own not in listed
    for name in ("erin", "carol", "mallory", "grace"):
        assert people[name].ask("GET", f"{own}/").status_code == 404
    for name in ("mallory", "grace"):
        assert people[name].ask("GET", f"{shared}/members/").status_code == 404
    assert people["grace"].ask("POST", "", {"name": "A"}).status_code == 404
    assert people["mallory"].ask("POST", "", {"name": "A", "organisation": "lakeside"}).status_code == 404
    # a shared one is its owner's and the coordinators' to change
    assert erin.members(shared) == {scan.study_uid for scan in scans}
    assert erin.ask("PATCH", f"{shared}/", {"name": "Mine"}).status_code == 404
    assert erin.ask("POST", f"{shared}/freeze/").status_code == 404
    assert carol.ask("PATCH", f"{shared}/", {"description": "For all"}).status_code == 200


def test_what_is_recorded(people: dict[str, Api]) -> None:
    alice = people["alice"]
    pk = alice.made(query={"modality": "MG"})
    alice.ask("PATCH", f"{pk}/", {"query": {"modality": "CT"}})
    kept = Cohort.pgh_event_model.objects.filter(pgh_obj_id=pk).order_by("pgh_id")  # type: ignore[attr-defined]
    assert [row.query for row in kept] == ["modality=MG", "modality=CT"]


def test_composition(people: dict[str, Api], scans: list[Study]) -> None:
    alice = people["alice"]
    found = alice.ask("GET", f"{alice.made()}/").json()
    told = {key: {bar["value"]: bar["count"] for bar in bars} for key, bars in found["composition"].items()}
    assert told == {  # counted by hand from SCANS
        "modality": {"MG": 3, "DX": 2, "CT": 1},
        "part": {"BREAST": 3, "CHEST": 2, "HEAD": 1},
        "sex": {"female": 4, "male": 2},
        "age": {"10–19": 1, "40–49": 1, "60–69": 3, "70–79": 1},
        "machine": {"Zenith Z": 2, "Acme D1": 1, "Acme M1": 1, "Acme M2": 1, "Zenith C": 1},
        "year": {"2024": 4, "2023": 2},
    }


def test_findings_are_for_those_who_do_not_read(people: dict[str, Api], cast: Cast, scans: list[Study]) -> None:
    for scan, score in ((scans[0], 0.9), (scans[1], 0.8), (scans[2], 0.1)):
        run = finished_run(scan, score)
        ImageResult.objects.filter(run=run).update(present={"mass": score > 0.85, "cyst": False})
    older = finished_run(scans[3], 0.9)
    Run.objects.filter(pk=older.pk).update(state="failed")
    pk = people["carol"].made(shared=True)

    def findings(name: str) -> Any:
        return people[name].ask("GET", f"{pk}/").json()["composition"].get("finding")

    assert findings("erin") == [{"value": "malignancy", "count": 2}, {"value": "mass", "count": 1}]
    assert findings("alice") is None  # a reader of the panel
    assert findings("carol") == findings("erin")
    PanelMember.objects.create(
        programme=Programme.objects.get(slug="chest-triage"), user=cast.carol, part="reader", available=False
    )
    assert findings("carol") is None


def test_by_finding_and_by_truth(people: dict[str, Api], cast: Cast, scans: list[Study]) -> None:
    for scan, score, present in (
        (scans[0], 0.9, {"Pleural_Effusion": True, "mass": False}),
        (scans[1], 0.2, {"mass": True}),
        (scans[2], 0.1, {"mass": False}),
    ):
        ImageResult.objects.filter(run=finished_run(scan, score)).update(present=present)
    # an older run said something else: the newest of a function counts
    early = Run.objects.get(study=scans[2])
    Run.objects.filter(pk=early.pk).update(study_revision=0)
    late = finished_run(scans[2], 0.8)
    ImageResult.objects.filter(run=early).update(present={"nodule": True})
    ImageResult.objects.filter(run=late).update(present={"mass": True})
    carol = people["carol"]
    for word, expected in (
        ("mass", {1, 2}), ("pleural effusion", {0}), ("nodule", set()), ("Malignancy", {0, 2}), ("mas", set()),
        (".*", set()), ('"', set()), ("\\", set()),
    ):  # fmt: skip
        pk = carol.made(word, query={"finding": word})
        assert carol.members(pk) == {scans[n].study_uid for n in expected}, word
        assert carol.ask("GET", f"{pk}/").json()["query"] == {"finding": word}
    programme = Programme.objects.get(slug="screening-mammography")
    for number, (scan, positive) in enumerate(((scans[0], True), (scans[1], False), (scans[2], None)), 900):
        case = Case.objects.create(
            organisation=cast.lakeside, programme=programme, protocol=programme.protocols.get(), study=scan,
            number=number, state="settled",
        )  # fmt: skip
        Truth.objects.create(organisation=cast.lakeside, case=case, origin="consensus", positive=positive)
    for value, expected in (("positive", {0}), ("negative", {1}), ("settled", {0, 1, 2}), ("none", {3, 4, 5})):
        pk = carol.made(value, query={"truth": value}, shared=True)
        assert carol.members(pk) == {scans[n].study_uid for n in expected}, value
    both = carol.made("Both", query={"truth": "settled", "finding": "mass", "modality": "MG"}, shared=True)
    assert carol.ask("POST", f"{both}/freeze/").json()["count"] == 2


def test_what_was_said_is_no_filter_for_readers(people: dict[str, Api], cast: Cast, scans: list[Study]) -> None:
    alice, carol = people["alice"], people["carol"]
    for query in ({"finding": "mass"}, {"truth": "positive"}):
        assert alice.ask("POST", "", {"name": "A", "query": query}).status_code == 422
        pk = alice.made("Plain", query={"modality": "MG"})
        assert alice.ask("PATCH", f"{pk}/", {"query": query}).status_code == 422
        alice.ask("DELETE", f"{pk}/")
        shared = carol.made(str(query), query=query, shared=True)
        carol.ask("POST", f"{shared}/freeze/")
        assert people["erin"].ask("GET", f"{shared}/").status_code == 200
        for path in ("", "members/"):
            assert alice.ask("GET", f"{shared}/{path}").status_code == 404
        assert shared not in {one["id"] for one in alice.ask("GET").json()["results"]}
    # the list of scans knows no such filter
    listed = alice.http.get(alice.url.replace("cohorts", "studies"), params={"finding": "mass"}).json()
    assert len(listed["results"]) == len(scans)
    # who comes to read sees none any more, not even their own
    PanelMember.objects.create(
        programme=Programme.objects.get(slug="chest-triage"), user=cast.carol, part="reader", available=False
    )
    assert carol.ask("GET").json()["results"] == []


def test_the_page_offers_them_to_those_who_may(cast: Cast, scans: list[Study]) -> None:
    for name, offered in (("carol", True), ("alice", False)):
        client = Client()
        client.force_login(getattr(cast, name))
        page = client.get("/cohorts/new/").content.decode()
        assert ('name="truth"' in page, 'name="finding"' in page) == (offered, offered)


def test_into_a_programme(people: dict[str, Api], cast: Cast, scans: list[Study]) -> None:
    carol, slug = people["carol"], "screening-mammography"
    pk = carol.made(query={"part": "chest"}, shared=True)
    assert people["alice"].ask("POST", f"{pk}/cases/", {"programme": slug}).status_code == 404
    assert carol.ask("POST", f"{pk}/cases/", {"programme": "nothing"}).status_code == 404
    assert carol.ask("POST", f"{pk}/cases/", {"programme": slug}).json() == {"made": 2, "left": 0}
    assert carol.ask("POST", f"{pk}/cases/", {"programme": slug}).json() == {"made": 0, "left": 0}
    cases = Case.objects.filter(programme__slug=slug)
    assert {case.study_id for case in cases} == {scans[3].pk, scans[4].pk}
    assert Assignment.objects.filter(case__in=cases, state="offered").count() == 2  # no function fits: people read


def test_a_function_over_it(people: dict[str, Api], cast: Cast, scans: list[Study]) -> None:
    erin, version = people["erin"], function_in_service()
    pk = erin.made(shared=True)
    assert people["alice"].ask("POST", f"{pk}/runs/", {"version": version.pk}).status_code == 404
    assert erin.ask("POST", f"{pk}/runs/", {"version": 0}).status_code == 404
    assert erin.ask("POST", f"{pk}/runs/", {"version": version.pk}).json() == {"queued": 3, "passed": 3}
    assert {run.study_id for run in Run.objects.filter(version=version)} == {scan.pk for scan in scans[:3]}
    assert erin.ask("POST", f"{pk}/runs/", {"version": version.pk}).json() == {"queued": 0, "passed": 6}


def test_a_data_set_of_it_trains(
    people: dict[str, Api], cast: Cast, scans: list[Study], tmp_path: Path, live_server: Any
) -> None:
    carol, slug = people["carol"], "screening-mammography"
    carol.ask("POST", f"{carol.made('All', query={'modality': 'MG'})}/cases/", {"programme": slug})
    for n, positive in ((0, True), (1, False), (2, True)):
        case = Case.objects.get(study=scans[n])
        mark = {"box": [4, 5, 12, 15], "sop_uid": scans[n].instances.get().sop_uid, "label": "mass"}
        Truth.objects.create(
            organisation=cast.lakeside, case=case, origin="person", positive=positive, marks=[mark] if n == 0 else []
        )
    pk = carol.made("Acme", query={"machine": "acme"})
    url = f"{live_server.url}/api/v1/programmes/{slug}/data-sets/"
    asked = carol.http.post(url, json={"format": "training", "cohort": pk})
    assert asked.status_code == 202 and asked.json()["cohort_name"] == "Acme"
    assert carol.http.post(url, json={"format": "training", "cohort": 0}).status_code == 404
    row = build_data_set(asked.json()["id"])
    assert row.state == "ready", row.error
    with storage.archive().open(row.name) as file, zipfile.ZipFile(file) as box:
        box.extractall(tmp_path)
        assert json.loads(box.read("manifest.json"))["cohort"] == "Acme"
    config = TrainConfig("heatmap", "table", "", root=str(tmp_path), classes=("positive", "mass"), input_size=(64, 64))
    found = table(config, None)
    assert found.labels.tolist() == [[1, 1], [0, 0]] and found.ages.tolist() == [45, 61]
    assert found.patients.tolist() == [scans[0].patient.pseudonym, scans[1].patient.pseudonym]
    assert found.read(0).shape == (64, 64)
    # a data set of a cohort that went while it waited is none
    late = carol.http.post(url, json={"format": "csv", "cohort": pk}).json()["id"]
    carol.ask("DELETE", f"{pk}/")
    assert build_data_set(late).error == "The cohort was removed."


def test_pages(cast: Cast, scans: list[Study]) -> None:
    carol = Client()
    carol.force_login(cast.carol)
    assert "Filter the scans" in carol.get("/cohorts/").content.decode()
    assert "/cohorts/new/?modality=MG&amp;sex=F" in carol.get("/scans/?modality=MG&sex=F").content.decode()
    form = carol.get("/cohorts/new/?modality=MG&sex=F").content.decode()
    assert '<option value="MG" selected>' in form and '<option value="F" selected>' in form
    assert carol.post("/cohorts/new/", {"name": "", "modality": "MG"}).status_code == 422
    made = carol.post("/cohorts/new/", {"name": "Women", "modality": "MG", "sex": "F", "shared": "on"})
    cohort = Cohort.objects.get()
    assert made.headers["Location"] == f"/cohorts/{cohort.pk}/" and cohort.shared
    page = carol.get(f"/cohorts/{cohort.pk}/").content.decode()
    assert all(scan.study_uid in page for scan in scans[:3]) and scans[3].study_uid not in page
    assert "/scans/?modality=MG&amp;sex=F" in page and "Put into the programme" in page
    table = carol.get(f"/scans/?{cohort.query}").content.decode()
    assert scans[0].study_uid in table and scans[5].study_uid not in table
    rows = carol.get(f"/cohorts/{cohort.pk}/?format=csv").content.decode().splitlines()
    assert len(rows) == 4
    carol.post(f"/cohorts/{cohort.pk}/freeze/")
    page = carol.get(f"/cohorts/{cohort.pk}/").content.decode()
    assert "frozen to 3 scans" in page and "Open in the table" not in page
    assert "its scans and filters stay" in carol.get(f"/cohorts/{cohort.pk}/edit/").content.decode()
    carol.post(f"/cohorts/{cohort.pk}/edit/", {"name": "Women, frozen", "description": "x"})
    assert "Women, frozen" in carol.get("/cohorts/").content.decode()
    carol.post(f"/cohorts/{cohort.pk}/cases/", {"programme": "screening-mammography"})
    assert Case.objects.count() == 3
    erin = Client()
    erin.force_login(cast.erin)
    assert erin.get(f"/cohorts/{cohort.pk}/").status_code == 404  # no longer shared
    carol.post(f"/cohorts/{cohort.pk}/remove/")
    assert not Cohort.objects.exists()
