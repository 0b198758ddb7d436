"""The main journey over HTTP with the named cast, on the real processes: a mammogram arrives by C-STORE, is
de-identified and analysed; Alice reads blinded and disagrees with the model; Bob gets the second reading; the
two differ, Carol arbitrates; truth, scores and ledger rows follow.
"""

from __future__ import annotations

import subprocess
import uuid
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import pydicom
import pytest
from dicomweb_client.api import DICOMwebClient

from inference.phantoms import breast_case
from tests.support import Client, Stack, wait_for

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]
SEED = 4711


def answers(recall: bool, malignancy: int) -> dict[str, Any]:
    birads = "5" if recall else "1"
    return {"recall": recall, "malignancy": malignancy, "birads": birads, "density": "B", "comment": ""}


def claim_study(client: Client, study_uid: str) -> str:
    """Claim the assignment of one study and return its id."""
    for item in client.get("/api/v1/worklist/")["items"]:
        bundle = client.get(f"/api/v1/assignments/{item['id']}/")
        if any(i["study_uid"] == study_uid for i in bundle["images"]):
            return str(bundle["id"])
    raise AssertionError("the case is not in the worklist")


def submit(client: Client, assignment: str, what: dict[str, Any], **extra: Any) -> dict[str, Any]:
    body = {"answers": what, "marks": [], "active_ms": 41_000, "key": str(uuid.uuid4()), **extra}
    return client.post(f"/api/v1/assignments/{assignment}/submit/", body)


@pytest.fixture(scope="module")
def sent(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The files of a malignant four-view case."""
    folder: Path = tmp_path_factory.mktemp("case")
    return breast_case(SEED, malignant=True, size=(1024, 832)).write(folder)


@pytest.fixture(scope="module")
def arrived(stack: Stack, sent: list[Path]) -> str:
    """The case, sent by dcmtk's storescu; returns its pseudonymous study UID."""
    files = sent
    assert len(files) == 4
    before = {s["id"] for s in stack.as_("erin").get("/api/v1/studies/")["results"]}
    command = ["storescu", "-aet", "DEMO", "-aec", stack.aet, "127.0.0.1", str(stack.dicom_port)]
    subprocess.run([*command, *map(str, files)], check=True, timeout=120)

    def new_study() -> str | None:
        for study in stack.as_("erin").get("/api/v1/studies/")["results"]:
            if study["id"] not in before and study["instance_count"] == 4:
                return str(study["study_uid"])
        return None

    return wait_for(new_study, 60, "the study is in the archive")


def finished_run(client: Client, study_uid: str) -> dict[str, Any]:
    def done() -> dict[str, Any] | None:
        runs = client.get(f"/api/v1/studies/{study_uid}/runs/")
        return next((r for r in runs if r["state"] in {"done", "failed"}), None)

    return wait_for(done, 180, "the run is finished")


def test_the_output_is_stored_with_its_provenance(stack: Stack, arrived: str) -> None:
    run = finished_run(stack.as_("erin"), arrived)
    assert run["state"] == "done"
    assert {i["sop_uid"] for i in run["images"]} and len(run["images"]) == 4
    case = run["case"]
    assert set(case["sides"]) == {"L", "R"}
    # seed 000: the case's output is the larger of the sides, each the mean of its views
    assert case["score"] == pytest.approx(max(case["sides"].values()))
    assert case["call"] == (case["score"] > case["threshold"])
    if not case["call"]:
        assert case["lesions"] == []
    for key in ("weights_sha256", "code_version", "inputs", "parameters"):
        assert run["provenance"][key]


IDENTIFYING = {
    "PatientID", "PatientBirthDate", "AccessionNumber", "InstitutionName", "InstitutionAddress", "StudyInstanceUID",
    "SeriesInstanceUID", "SOPInstanceUID", "StudyDate", "PatientAddress", "StudyID",
}  # fmt: skip  # StationName stays: Retain Device Identity Option, PS3.15 table E.1-1


def planted(source: Path | BytesIO) -> dict[str, set[str]]:
    """Identifying values of a file by keyword, at every depth, and all private text (under its tag)."""
    found: dict[str, set[str]] = {}

    def collect(dataset: Any, element: Any) -> None:
        named = element.VR == "PN" or element.keyword in IDENTIFYING
        if named or (element.tag.is_private and isinstance(element.value, str)):
            values = [element.value] if element.VM < 2 else element.value
            key = element.keyword or str(element.tag)
            found.setdefault(key, set()).update(str(v) for v in values if len(str(v)) > 3)

    pydicom.dcmread(source).walk(collect)
    return found


def test_nothing_of_the_identity_left_the_door(stack: Stack, arrived: str, sent: list[Path]) -> None:
    before = [planted(path) for path in sent]
    keywords = set().union(*before)
    token = stack.user("dave")["token"]
    dave = DICOMwebClient(f"{stack.url}/dicomweb", headers={"Authorization": f"Bearer {token}"})
    metadata = str(stack.as_("dave").get(f"/dicomweb/studies/{arrived}/metadata"))
    buffers = []
    for instance in dave.iter_study(arrived):
        buffers.append(BytesIO())
        instance.save_as(buffers[-1])
        buffers[-1].seek(0)
    assert len(buffers) == len(sent)
    after = [planted(buffer) for buffer in buffers]
    # the same attribute never keeps its value: this is what shows for dates and bare numbers
    for keyword in keywords:
        was, now = (set().union(*(found.get(keyword, set()) for found in side)) for side in (before, after))
        assert not was & now, keyword
    # and text is nowhere at all; digits alone stand in keys, UIDs and shifted dates by chance
    identities = {v for found in before for values in found.values() for v in values if not v.isdigit()}
    assert len(identities) >= 6
    for identity in identities:
        assert identity not in metadata
        assert not any(identity.encode() in buffer.getvalue() for buffer in buffers)
    for table in ("archive_instance", "archive_study", "archive_patient", "ingest_receipt", "core_outboxevent"):
        rows = str(stack.query(f"SELECT to_jsonb(t)::text FROM {table} t"))
        assert not [identity for identity in identities if len(identity) >= 6 and identity in rows], table


def test_another_organisation_sees_nothing(stack: Stack, arrived: str) -> None:
    mallory = stack.as_("mallory")
    for path in (
        f"/api/v1/studies/{arrived}/runs/",
        f"/dicomweb/studies/{arrived}/metadata",
        f"/api/v1/studies/{arrived}/bundle/",
    ):
        assert mallory.raw("GET", path).status_code == 404, path


def test_a_disagreement_goes_to_a_second_reader_and_to_the_arbiter(stack: Stack, arrived: str) -> None:
    erin, alice, bob, carol = (stack.as_(n) for n in ("erin", "alice", "bob", "carol"))
    run = finished_run(erin, arrived)
    model_calls = run["case"]["call"]

    first = wait_for(lambda: _try(claim_study, alice, arrived), 60, "the case is offered to Alice")
    bundle = alice.get(f"/api/v1/assignments/{first}/")
    assert bundle["model"]["visible"] is False and bundle["model"]["runs"] == []
    # blinded: the output does not leave the server by another way either
    hidden = alice.raw("GET", f"/api/v1/studies/{arrived}/runs/")
    assert hidden.status_code == 404 or hidden.json() == []

    saved = alice.put(
        f"/api/v1/assignments/{first}/draft/",
        {"revision": 0, "answers": {"comment": "first look"}, "marks": [], "active_ms": 900, "client": "tab-1"},
    )
    assert alice.get(f"/api/v1/assignments/{first}/")["draft"]["answers"] == {"comment": "first look"}
    assert saved["revision"] == 1
    incomplete = alice.raw(
        "POST",
        f"/api/v1/assignments/{first}/submit/",
        {"answers": {}, "marks": [], "active_ms": 1, "key": str(uuid.uuid4()), "revision": 1},
    )
    assert incomplete.status_code == 422 and "recall" in incomplete.json()["fields"]

    contrary = answers(recall=not model_calls, malignancy=5 if model_calls else 95)
    key = str(uuid.uuid4())
    done = submit(alice, first, contrary, key=key, revision=1)
    assert submit(alice, first, contrary, key=key, revision=1)["state"] == done["state"] == "submitted"

    second = wait_for(lambda: _try(claim_study, bob, arrived), 20, "the second reading is offered to Bob")
    assert bob.get(f"/api/v1/assignments/{second}/")["kind"] == "second"
    assert alice.raw("GET", f"/api/v1/assignments/{second}/").status_code == 404
    submit(bob, second, answers(recall=model_calls, malignancy=95 if model_calls else 5))

    third = wait_for(lambda: _try(claim_study, carol, arrived), 30, "the arbitration is offered to Carol")
    bundle = carol.get(f"/api/v1/assignments/{third}/")
    assert bundle["kind"] == "arbitration"
    assert [p["label"] for p in bundle["previous"]] == ["Reader A", "Reader B"]
    assert "alice" not in str(bundle["previous"]).lower()
    submit(carol, third, answers(recall=model_calls, malignancy=80 if model_calls else 10))

    def settled() -> dict[str, Any] | None:
        why = carol.get(f"/api/v1/assignments/{third}/case/")
        return why if why["state"] == "settled" and why["scores"] else None

    why = wait_for(settled, 60, "truth and scores are there")
    assert why["truth"]["origin"] == "arbitration" and why["truth"]["positive"] == model_calls
    comparison = why["comparisons"][0]
    assert comparison["action"] == "second_reading"
    assert comparison["similarity"] < comparison["threshold"] and comparison["sentence"]
    by_reader = {s["reader"]: s["accuracy"] for s in why["scores"]}
    assert by_reader["bob"] > by_reader["alice"]


def test_use_and_credits_are_in_the_ledger_once(stack: Stack, arrived: str) -> None:
    ledger = wait_for(lambda: [r for r in stack.ledger() if r["kind"] == "credit"], 30, "credits are in the ledger")
    assert ledger
    keys = [r["key"] for r in stack.ledger()]
    assert len(keys) == len(set(keys))
    kinds = [r["kind"] for r in stack.ledger()]
    assert kinds.count("reading") >= 3 and kinds.count("run") >= 1


def test_all_processes_are_counted_on_one_page(stack: Stack, arrived: str) -> None:
    finished_run(stack.as_("erin"), arrived)
    lines = httpx.get(f"{stack.url}/metrics").text.splitlines()
    values = {name: float(value) for name, _, value in (x.rpartition(" ") for x in lines if not x.startswith("#"))}
    assert values['concord_task_seconds_count{how="done",task="execute_run"}'] >= 1  # the gpu worker's
    assert values["concord_inference_batch_images_count"] >= 1
    assert values["concord_inference_loaded_bytes"] > 100_000
    assert values['concord_task_seconds_count{how="done",task="deidentify_receipt"}'] >= 4  # the identities worker's
    pages = [name for name in values if name.startswith("concord_http_seconds_count")]
    assert any('route="api/v1/studies/<str:study_uid>/runs/"' in name for name in pages)  # the web's
    assert arrived not in "".join(lines)


def _try(action: Any, *args: Any) -> Any:
    try:
        return action(*args)
    except (AssertionError, httpx.HTTPError):
        return None
