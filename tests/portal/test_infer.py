"""Runs: planned once, executed once though workers die, results whole, seen by those who may."""

from __future__ import annotations

import gzip
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
from django.core.management import call_command
from django.test import Client
from pydicom.uid import generate_uid

from deploy.embedded.config import StartError
from deploy.embedded.supervisor import gpu_workers
from inference.package.errors import WrongHash
from portal.accounts.models import Organisation
from portal.archive.models import Instance, Study
from portal.core import blinding, storage
from portal.core.models import OutboxEvent
from portal.functions.models import FunctionVersion
from portal.infer import actions, execute, queries, serving, tasks
from portal.infer.models import CaseResult, ImageResult, Matrix, Run
from portal.pipeline import FOLLOWS
from tests.factories import archive as make
from tests.factories.archive import plain_static  # noqa: F401

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def lakeside() -> Organisation:
    call_command("concord_register_packages")
    return make.organisation()


@pytest.fixture
def mammography(lakeside: Organisation) -> Study:
    return make.settled(make.case_of_four(Rows=160, Columns=128), lakeside)


@pytest.fixture
def chest(lakeside: Organisation) -> Study:
    return make.settled([make.image("DX", BodyPartExamined="CHEST", Rows=160, Columns=128)], lakeside)


def planned(study: Study) -> Run:
    [run] = actions.plan_runs(study.pk)
    return run


def counts() -> tuple[int, int, int]:
    return CaseResult.objects.count(), ImageResult.objects.count(), Matrix.objects.count()


def test_one_run_of_each_fitting_function_and_revision(mammography: Study, lakeside: Organisation) -> None:
    for _ in range(2):
        tasks.plan_runs(str(mammography.pk))
    [run] = Run.objects.all()
    assert run.version.function.slug == "malignancy-mammo-phantom" and run.study_revision == 4
    assert OutboxEvent.objects.filter(topic="infer.run_planned").count() == 1

    make.stored(make.image("MG", study=mammography.study_uid, Rows=160, Columns=128), lakeside)
    [later] = actions.plan_runs(mammography.pk)
    run.refresh_from_db()
    assert (later.study_revision, run.state) == (5, Run.State.CANCELLED)
    assert execute.execute_run(run.pk).state == Run.State.CANCELLED


def test_a_scan_that_no_function_fits_gets_no_run(lakeside: Organisation) -> None:
    study = make.settled([make.image("CT")], lakeside)
    assert actions.plan_runs(study.pk) == []


def test_a_case_is_scored_with_its_provenance(mammography: Study) -> None:
    run = planned(mammography)
    for _ in range(2):
        tasks.execute_run(str(run.pk))
    run.refresh_from_db()
    assert (run.state, run.attempts, run.progress, run.error) == (Run.State.DONE, 1, 1.0, "")
    result = run.result
    assert set(result.sides) == {"L", "R"} and set(result.views) == {"L-CC", "L-MLO", "R-CC", "R-MLO"}
    assert result.call == (result.score > result.threshold)
    assert result.score == pytest.approx(max(result.sides.values()))
    assert result.call or not result.lesions
    assert counts()[:2] == (1, 4)
    inputs = {entry["sop_uid"]: entry["sha256"] for entry in run.provenance["inputs"]}
    assert inputs == dict(Instance.objects.values_list("sop_uid", "sha256"))
    assert run.provenance["weights_sha256"] == run.version.weights_sha256
    assert run.provenance["code_version"] and run.provenance["device"] and run.provenance["parameters"]
    assert OutboxEvent.objects.filter(topic="infer.run_finished").values("task").distinct().count() == \
        OutboxEvent.objects.filter(topic="infer.run_finished").count()  # fmt: skip


def test_heat_maps_reach_the_browser_in_one_small_request(chest: Study, lakeside: Organisation, client: Client) -> None:
    run = execute.execute_run(planned(chest).pk)
    image = run.images.get()
    assert sorted(image.matrices.values_list("row", flat=True)) == [8, 16, 32, 64]
    assert len(image.classes) == 14 == len(image.global_probabilities)
    assert set(image.thresholds) == {*image.classes, "any"}
    client.force_login(make.user("erin", lakeside, "engineer"))
    [summary] = client.get(f"/api/v1/studies/{chest.study_uid}/runs/").json()
    assert summary["state"] == "done" and summary["images"][0]["rows"] == [8, 16, 32, 64]
    answer = client.get(summary["images"][0]["matrix"] + "?row=64", headers={"Accept-Encoding": "gzip"})
    assert answer.headers["X-Shape"] == "14,64,64" and answer.headers["Content-Encoding"] == "gzip"
    assert len(answer.content) < 64 * 1024
    matrix = np.frombuffer(gzip.decompress(answer.content), np.uint8).reshape(14, 64, 64)
    assert matrix.max() > 0
    plain = client.get(summary["images"][0]["matrix"] + "?row=8")
    assert len(plain.content) == 14 * 8 * 8
    again = client.get(summary["images"][0]["matrix"], headers={"If-None-Match": answer.headers["ETag"]})
    assert again.status_code == 304
    for row in ("7", "x", "64444444444444444444"):
        assert client.get(summary["images"][0]["matrix"] + f"?row={row}").status_code == 404


def test_a_run_whose_worker_died_is_started_over_and_nothing_is_doubled(mammography: Study) -> None:
    run = planned(mammography)
    with mock.patch.object(execute, "_announce_end", side_effect=KeyboardInterrupt), pytest.raises(KeyboardInterrupt):
        execute.execute_run(run.pk)  # dies in the transaction that stores
    run.refresh_from_db()
    assert run.state == Run.State.RUNNING and counts() == (0, 0, 0)
    execute.execute_run(run.pk)
    run.refresh_from_db()
    assert (run.state, run.attempts) == (Run.State.DONE, 2)
    assert counts()[:2] == (1, 4)


def test_a_scan_that_kills_every_worker_is_given_up(mammography: Study) -> None:
    run = planned(mammography)
    with mock.patch.object(execute, "_submit", side_effect=KeyboardInterrupt):
        for _ in range(execute.MAX_ATTEMPTS):
            with pytest.raises(KeyboardInterrupt):
                execute.execute_run(run.pk)
    assert execute.execute_run(run.pk).error_code == "worker_died"


def test_unforeseen_errors_are_tried_again_a_few_times(mammography: Study) -> None:
    run = planned(mammography)
    with mock.patch.object(execute, "_submit", side_effect=ZeroDivisionError("odd")):
        for _ in range(execute.MAX_ATTEMPTS - 1):
            with pytest.raises(ZeroDivisionError):
                execute.execute_run(run.pk)
        done = execute.execute_run(run.pk)
    assert (done.state, done.error_code, done.error) == (Run.State.FAILED, "unexpected", "odd")


def test_a_slow_worker_that_lost_its_run_stores_nothing(mammography: Study, chest: Study) -> None:
    lost, kept = planned(mammography), planned(chest)
    store = execute._store

    def slow(found: Any) -> None:
        with mock.patch.object(execute, "_store", store):
            execute.execute_run(lost.pk)  # the slow worker's lease ran out, another one did it
        store(found)

    with mock.patch.object(execute, "_store", side_effect=slow) as stores:
        execute.execute_runs([lost.pk, kept.pk])
    assert stores.called
    assert {run.state for run in Run.objects.all()} == {Run.State.DONE}
    followers = len(FOLLOWS["infer.run_finished"])
    assert counts()[:2] == (2, 5) and OutboxEvent.objects.filter(topic="infer.run_finished").count() == 2 * followers
    lost.refresh_from_db()
    assert lost.attempts == 2


@pytest.mark.parametrize(
    ("spoil", "code", "says"),
    [
        ("missing", "missing_image", "not in the archive"),
        ("pixels", "unreadable_image", "decoded"),
        ("weights", "wrong_hash", "weights"),
        ("package", "missing_package", "not a folder"),
    ],
)
def test_what_cannot_be_run_fails_by_name(chest: Study, spoil: str, code: str, says: str, tmp_path: Path) -> None:
    run = planned(chest)
    serving.packages.cache_clear()
    path = Path(storage.archive().path(Instance.objects.get().name))
    if spoil == "missing":
        path.unlink()
    elif spoil == "pixels":
        path.write_bytes(path.read_bytes()[:1200])
    elif spoil == "weights":
        FunctionVersion.objects.update(weights_sha256="f" * 64)
    else:
        FunctionVersion.objects.filter(pk=run.version_id).update(package="gone")
    failed = execute.execute_run(run.pk)
    assert (failed.state, failed.error_code) == (Run.State.FAILED, code), failed.error
    assert says in failed.error and str(path.parent) not in failed.error and "/" not in failed.error
    assert OutboxEvent.objects.filter(topic="infer.run_finished").exists()


def test_a_failed_run_can_be_tried_again_by_those_who_may(chest: Study, lakeside: Organisation, client: Client) -> None:
    run = planned(chest)
    with mock.patch.object(execute, "package_for", side_effect=WrongHash("weights.safetensors is another")):
        execute.execute_run(run.pk)
    address = f"/api/v1/runs/{run.pk}/retry/"
    client.force_login(make.user("alice", lakeside, "reader"))
    assert client.post(address).status_code == 404
    client.force_login(make.user("erin", lakeside, "engineer"))
    assert client.post(address).status_code == 202
    assert client.post(address).json()["error"]["code"] == "wrong_state"
    assert execute.execute_run(run.pk).state == Run.State.DONE


def test_a_run_is_cancelled_while_it_waits_and_while_it_runs(
    chest: Study, lakeside: Organisation, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = planned(chest)
    address = f"/api/v1/runs/{run.pk}/cancel/"
    client.force_login(make.user("alice", lakeside, "reader"))
    assert client.post(address).status_code == 404
    client.force_login(make.user("erin", lakeside, "engineer"))
    assert client.post(address).json()["state"] == "cancelled"
    assert client.post(address).json()["error"]["code"] == "wrong_state"
    assert execute.execute_run(run.pk).state == Run.State.CANCELLED and not CaseResult.objects.exists()

    Study.objects.filter(pk=chest.pk).update(revision=chest.revision + 1)
    chest.refresh_from_db()
    run = planned(chest)
    package = serving.package_for(run.version)
    real = package.predict

    def slow(batch: Any) -> Any:
        time.sleep(1.5)
        return real(batch)

    monkeypatch.setattr(package, "predict", slow)
    monkeypatch.setattr(execute, "LOOK_SECONDS", 0.0)
    looks = execute._Watch.__call__

    def look(watch: Any, waiting: Any) -> None:
        assert client.post(f"/api/v1/runs/{run.pk}/cancel/").status_code in {200, 409}
        looks(watch, waiting)

    monkeypatch.setattr(execute._Watch, "__call__", look)
    assert execute.execute_run(run.pk).state == Run.State.CANCELLED and not CaseResult.objects.exists()


def test_who_sees_output(chest: Study, lakeside: Organisation, client: Client) -> None:
    run = execute.execute_run(planned(chest).pk)
    sop = Instance.objects.get().sop_uid
    addresses = [
        f"/api/v1/studies/{chest.study_uid}/runs/",
        f"/api/v1/runs/{run.pk}/",
        f"/api/v1/runs/{run.pk}/matrix/{sop}/",
    ]
    harbour = make.organisation("harbour")
    people = {
        "erin": (make.user("erin", lakeside, "engineer"), [200, 200, 200]),
        "carol": (make.user("carol", lakeside, "coordinator"), [200, 200, 200]),
        "alice": (make.user("alice", lakeside, "reader"), [200, 200, 200]),
        "grace": (make.user("grace", lakeside, "account_admin"), [404, 404, 404]),
        "mallory": (make.user("mallory", harbour, "engineer", "coordinator", "pacs_admin"), [404, 404, 404]),
    }
    assert [client.get(a).status_code for a in addresses] == [401, 401, 401]
    for name, (person, wanted) in people.items():
        client.force_login(person)
        assert [client.get(a).status_code for a in addresses] == wanted, name
    mine = Run.objects.filter(study=chest).values("study")
    rule = lambda user: mine if user.username == "alice" else mine.none()  # noqa: E731
    with mock.patch.dict(blinding._rules, {rule: "true"}):
        client.force_login(people["alice"][0])
        assert client.get(addresses[0]).json() == []
        assert [client.get(a).status_code for a in addresses[1:]] == [404, 404]
        assert b"hidden from you" in client.get(f"/scans/{chest.study_uid}/output/").content
        assert queries.visible_runs(people["carol"][0], chest)


def test_the_scan_page_shows_call_bars_and_provenance(mammography: Study, chest: Study, client: Client,
                                                      lakeside: Organisation) -> None:  # fmt: skip
    client.force_login(make.user("carol", lakeside, "coordinator"))
    page = client.get(f"/scans/{chest.study_uid}/")
    assert page.status_code == 200 and b"Open in viewer" in page.content
    assert b"No function has run" in client.get(f"/scans/{chest.study_uid}/output/").content
    assert b"Waiting for a worker" in client.post(f"/scans/{chest.study_uid}/output/").content
    for study in (mammography, chest):
        actions.plan_runs(study.pk)
    for run in Run.objects.all():
        execute.execute_run(run.pk)
    assert b"alled malignant" in client.get(f"/scans/{mammography.study_uid}/output/").content
    shown = client.get(f"/scans/{chest.study_uid}/output/").content.decode()
    assert "more classes" in shown and Run.objects.get(study=chest).version.weights_sha256 in shown
    assert client.get(f"/api/v1/studies/{generate_uid()}/runs/").status_code == 404


def test_one_gpu_worker_a_device() -> None:
    [alone] = gpu_workers("")
    assert (alone.name, dict(alone.env)) == ("gpu", {"OMP_WAIT_POLICY": "PASSIVE"})
    several = gpu_workers("cuda:0, cuda:1,cpu")
    assert [(p.name, p.env["CONCORD_DEVICE"]) for p in several] == [
        ("gpu-0", "cuda:0"), ("gpu-1", "cuda:1"), ("gpu-2", "cpu"),
    ]  # fmt: skip
    for process in (alone, *several):
        text = " ".join(process.command)
        assert f"-n {process.name}@concord -Q gpu " in text and "--pool threads" in text
    for wrong in ("gpu", "cuda:0,cuda:0", "cuda:x"):
        with pytest.raises(StartError, match="CONCORD_DEVICES"):
            gpu_workers(wrong)


@pytest.mark.parametrize(
    ("options", "says"),
    [(["-Q", "gpu", "--concurrency", "2"], "one process a device"),
     (["-Q", "gpu,default", "--concurrency", "2", "--pool", "threads"], "no other queue")],
)  # fmt: skip
def test_a_gpu_worker_set_up_wrongly_does_not_start(options: list[str], says: str) -> None:
    command = [sys.executable, "-m", "celery", "-A", "portal.celery", "worker", *options]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    lines = [line for line in ended.stderr.splitlines() if line.startswith("concord:")]
    assert ended.returncode == 78 and len(lines) == 1 and says in lines[0], ended.stderr[-2000:]


def test_a_gpu_worker_needs_the_device_that_was_asked_for(settings: Any, capsys: pytest.CaptureFixture[str]) -> None:
    settings.INFERENCE_DEVICE = "cuda:97"
    with pytest.raises(SystemExit) as ended:
        serving.check_gpu_worker(["gpu"], "threads", 4)
    assert ended.value.code == 78 and "cuda:97" in capsys.readouterr().err
