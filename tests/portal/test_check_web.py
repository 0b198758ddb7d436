"""Pages and API of the input check: lists, decisions one by one and together, scores, who may."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client

from portal.accounts.models import Organisation
from portal.archive.queries import category
from portal.check.models import SeriesCheck, StudyCheck
from portal.infer.models import Run
from tests.factories import archive as make
from tests.factories.archive import plain_static
from tests.factories.checking import DX, arrived, phantom

__all__ = ["plain_static"]
pytestmark = pytest.mark.django_db(transaction=True)
API = "/api/v1/input-alerts/"


@pytest.fixture
def lakeside() -> Organisation:
    call_command("concord_register_packages")
    return make.organisation()


@pytest.fixture
def held(lakeside: Organisation) -> SeriesCheck:
    """A mammogram whose header says chest."""
    study = arrived([phantom("breast", **DX)], lakeside)
    return SeriesCheck.objects.select_related("study", "series").get(study=study)


def as_(name: str, organisation: Organisation, *roles: str) -> Client:
    client = Client()
    client.force_login(make.user(name, organisation, *roles))
    return client


@pytest.fixture
def dave(lakeside: Organisation) -> Client:
    return as_("dave", lakeside, "pacs_admin")


def page(client: Client, address: str) -> str:
    answer = client.get(address)
    assert answer.status_code == 200, address
    return str(answer.content.decode())


def decide(client: Client, row: SeriesCheck, **body: Any) -> Any:
    return client.post(f"{API}{row.pk}/decide/", body, content_type="application/json")


def test_an_alert_is_listed_filtered_and_told_on_the_scans_page(held: SeriesCheck, dave: Client) -> None:
    words = "the picture looks like a mammogram"
    assert words in page(dave, "/input-alerts/") and f"/input-alerts/{held.pk}/" in page(dave, "/input-alerts/")
    for query in ("state=held", "found=mammogram", "what=category", f"source={held.source_id}", "q=Chest"):
        assert words in page(dave, f"/input-alerts/?{query}"), query
    for query in ("state=kept", "found=ct", "what=inverted", "q=Knee"):
        assert "No alert fits" in page(dave, f"/input-alerts/?{query}"), query
    assert dave.get("/input-alerts/?format=csv").content.decode().count("DX CHEST PA") == 1
    scan = page(dave, f"/scans/{held.study.study_uid}/input-check/")
    assert words in scan and f'href="/input-alerts/{held.pk}/"' in scan
    output = page(dave, f"/scans/{held.study.study_uid}/output/")
    assert words in output and "It waits for a decision" in output
    assert "1 scan waits for a decision" in page(dave, "/")


def test_a_decision_on_the_page_leads_to_the_next_one(held: SeriesCheck, dave: Client, lakeside: Organisation) -> None:
    other = arrived([phantom("chest", Modality="MG", BodyPartExamined="BREAST")], lakeside)
    second = SeriesCheck.objects.get(study=other)
    address = f"/input-alerts/{held.pk}/"
    shown = page(dave, address)
    assert "1 more waits for a decision" in shown and shown.count('data-key="') == 7
    answer = dave.post(address, {"decision": "correct:mammogram", "note": "by eye"})
    assert answer.headers["Location"] == f"/input-alerts/{second.pk}/"
    assert category(held.study) == (["MG"], "BREAST")
    shown = page(dave, address)
    assert "by eye" in shown and "dave" in shown
    answer = dave.post(f"/input-alerts/{second.pk}/", {"decision": "keep"})
    assert answer.headers["Location"] == "/input-alerts/"
    answer = dave.post(address, {"decision": "correct:hand"}, follow=True)
    assert "Nothing was changed" in answer.content.decode()


def test_several_are_decided_together(held: SeriesCheck, dave: Client, lakeside: Organisation) -> None:
    other = arrived([phantom("chest", Modality="MG", BodyPartExamined="BREAST")], lakeside)
    keys = list(SeriesCheck.objects.order_by("pk").values_list("pk", flat=True))
    answer = dave.post("/input-alerts/decide/", {"row": keys, "do": "correct"}, follow=True)
    assert "2 scans corrected." in answer.content.decode()
    assert list(SeriesCheck.objects.order_by("pk").values_list("state", "category")) == [
        ("corrected", "mammogram"), ("corrected", "chest_frontal"),
    ]  # fmt: skip
    assert (category(held.study)[0], category(other)[0]) == (["MG"], ["DX"])
    dave.post("/input-alerts/decide/", {"row": keys, "do": "discard"})
    assert set(SeriesCheck.objects.values_list("state", flat=True)) == {"discarded"}
    assert dave.post("/input-alerts/decide/", {"row": keys, "do": "burn"}).status_code == 404


def test_the_api_lists_and_decides(held: SeriesCheck, lakeside: Organisation) -> None:
    carol = as_("carol", lakeside, "coordinator")
    [row] = carol.get(API).json()["results"]
    assert (row["id"], row["state"], row["found"], row["claim_words"]) == (held.pk, "held", "mammogram", "DX CHEST PA")
    assert sum(row["probabilities"].values()) == pytest.approx(1, abs=1e-3) and len(row["weights_sha256"]) == 64
    assert carol.get(f"{API}?state=kept").json()["results"] == []
    assert carol.get(f"{API}{held.pk}/").json() == row
    assert carol.get(f"/api/v1/studies/{held.study.study_uid}/input-check/").json() == [row]
    assert decide(carol, held, decision="correct").status_code == 422
    assert decide(carol, held, decision="burn").status_code == 400
    done = decide(carol, held, decision="correct", category="mammogram", note="seen").json()
    assert (done["state"], done["category"], done["decided_by"], done["note"]) == (
        "corrected", "mammogram", "carol", "seen",
    )  # fmt: skip
    again = decide(carol, held, decision="correct", category="mammogram").json()
    assert again["decided_at"] == done["decided_at"]


def test_asking_for_runs_does_not_get_round_a_hold(held: SeriesCheck, lakeside: Organisation) -> None:
    erin = as_("erin", lakeside, "engineer")
    address = f"/api/v1/studies/{held.study.study_uid}/runs/"
    assert erin.post(address).json() == {"queued": [], "held": [], "fitting": 1}
    assert [run["state"] for run in erin.get(address).json()] == ["held"]
    assert Run.objects.get().state == "held"


def test_who_may(held: SeriesCheck, lakeside: Organisation) -> None:
    harbour = make.organisation("harbour")
    everything = ("coordinator", "engineer", "pacs_admin", "reader")
    people = {
        "erin": (as_("erin", lakeside, "engineer"), 200, 404),
        "alice": (as_("alice", lakeside, "reader"), 404, 404),
        "mallory": (as_("mallory", harbour, *everything), 404, 404),
    }
    for name, (client, look, change) in people.items():
        assert client.get(f"/input-alerts/{held.pk}/").status_code == look, name
        assert client.get(f"{API}{held.pk}/").status_code == look, name
        assert client.post(f"/input-alerts/{held.pk}/", {"decision": "keep"}).status_code == change, name
        assert decide(client, held, decision="keep").status_code == change, name
        assert client.post("/input-alerts/decide/", {"row": held.pk, "do": "keep"}).status_code == change, name
    assert people["mallory"][0].get(API).json()["results"] == []
    alice = page(people["alice"][0], f"/scans/{held.study.study_uid}/input-check/")
    assert "looks like a mammogram" in alice and "/input-alerts/" not in alice
    held.refresh_from_db()
    assert held.state == "held"


def test_scores_stand_where_they_are_looked_for(held: SeriesCheck, dave: Client) -> None:
    address = f"/ingest/sources/{held.source_id}/"
    assert f'hx-get="{address}score/"' in page(dave, address)
    assert "nothing decided yet" in page(dave, f"{address}score/")
    decide(dave, held, decision="correct", category="mammogram")
    score = page(dave, f"{address}score/")
    # Wilson's interval of 0 of 1: from 0 to z²/(1 + z²) = 0.7935
    assert "0 of 1; 95 % interval 0.0 % to 79.3 %" in score
    about = page(dave, "/input-check/")
    assert "100.0 %" in about and "1 of 1; 95 % interval 20.7 % to 100.0 %" in about
    assert "input-check" in about and "Not fit for care." in about


def test_that_the_check_is_off_is_said(held: SeriesCheck, dave: Client, settings: Any) -> None:
    assert dave.get("/readyz").json()["input_check"] == "on"
    settings.INPUT_CHECK = "gone"
    words = "there is no package gone in CONCORD_PACKAGES"
    assert words in dave.get("/readyz").json()["input_check"]
    for address in ("/", "/input-alerts/", "/input-check/"):
        assert words in page(dave, address), address
    StudyCheck.objects.update(state="skipped", words="The input check is off: there is no package gone.")
    assert "no package gone" in page(dave, f"/scans/{held.study.study_uid}/input-check/")


def test_the_policy_is_set_on_the_source(held: SeriesCheck, dave: Client) -> None:
    address = f"/ingest/sources/{held.source_id}/"
    assert "When picture and header disagree" in page(dave, address)
    body = {
        "kind": "dimse",
        "name": "CT 1",
        "ae_title": "CT1",
        "privacy": "full",
        "on_mismatch": "note",
        "active": "on",
    }
    assert dave.post(address, body).status_code == 302
    held.source.refresh_from_db()  # type: ignore[union-attr]
    assert held.source.on_mismatch == "note"  # type: ignore[union-attr]
