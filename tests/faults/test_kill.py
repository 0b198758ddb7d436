"""Processes are killed (kill -9) at bad moments: nothing is lost, nothing is doubled, work goes on by itself."""

from __future__ import annotations

import subprocess
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from inference.phantoms import breast_case
from tests.support import Stack, wait_for

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]
ANSWERS = {"recall": False, "malignancy": 3, "birads": "1", "density": "B"}


def send_case(stack: Stack, seed: int, folder: Path) -> None:
    files = breast_case(seed, malignant=False, size=(1024, 832)).write(folder)
    command = ["storescu", "-aet", "DEMO", "-aec", stack.aet, "127.0.0.1", str(stack.dicom_port)]
    subprocess.run([*command, *map(str, files)], check=True, timeout=120)


def new_study(stack: Stack, before: set[int]) -> Callable[[], dict[str, Any] | None]:
    def found() -> dict[str, Any] | None:
        rows = stack.query("SELECT id, study_uid, instance_count FROM archive_study")
        return next((r for r in rows if r["id"] not in before and r["instance_count"] == 4), None)

    return found


def studies(stack: Stack) -> set[int]:
    return {row["id"] for row in stack.query("SELECT id FROM archive_study")}


def test_the_gpu_worker_is_killed_in_mid_run(stack: Stack, tmp_path: Path) -> None:
    before = studies(stack)
    running = "SELECT 1 FROM infer_run WHERE state = 'running'"
    # nothing can be stored while this transaction is open: the worker is caught after the claim, before the result
    with psycopg.connect(stack.home.database_url("owner")) as db:
        db.execute("LOCK TABLE infer_caseresult IN SHARE MODE")
        send_case(stack, 7001, tmp_path)
        study = wait_for(new_study(stack, before), 60, "the study is archived")
        wait_for(lambda: stack.query(running), 60, "the worker is caught at work")
        killed = stack.kill("gpu")
    rows = "SELECT id, state, attempts FROM infer_run WHERE study_id = %s"
    assert [r["state"] for r in stack.query(rows, study["id"])] == ["running"]
    stack.wait_restarted("gpu", killed)
    done = wait_for(
        lambda: [r for r in stack.query(rows, study["id"]) if r["state"] == "done"], 120, "the run is done after all"
    )
    assert len(stack.query(rows, study["id"])) == 1 and done[0]["attempts"] == 2
    images = stack.query("SELECT instance_id FROM infer_imageresult WHERE run_id = %s", done[0]["id"])
    assert len(images) == len({i["instance_id"] for i in images}) == 4
    entries = wait_for(
        lambda: [e for e in stack.ledger() if e["reference"] == str(done[0]["id"])], 30, "the use is booked"
    )
    assert len(entries) == 1


@pytest.mark.parametrize("delay", [0.0, 0.02, 0.06, 0.15])
def test_web_is_killed_in_mid_submit(stack: Stack, tmp_path: Path, delay: float) -> None:
    before = studies(stack)
    send_case(stack, 7100 + int(delay * 1000), tmp_path)
    study = wait_for(new_study(stack, before), 60, "the study is archived")
    rows = """SELECT a.id FROM programmes_assignment a JOIN programmes_case c ON c.id = a.case_id
              WHERE c.study_id = %s AND a.kind = 'first'"""
    assignment = wait_for(lambda: stack.query(rows, study["id"]), 120, "the case is offered")[0]["id"]
    alice = stack.as_("alice")
    uid = alice.get(f"/api/v1/assignments/{assignment}/")["images"][0]["sop_uid"]
    mark = {"id": "m1", "tool": "rectangle", "sop_uid": uid, "frame": 1, "points_px": [[10, 10], [60, 60]]}
    body = {"answers": ANSWERS, "marks": [mark], "active_ms": 5000, "key": str(uuid.uuid4())}
    path = f"/api/v1/assignments/{assignment}/submit/"
    first = threading.Thread(target=_try, args=(lambda: alice.raw("POST", path, body),))
    first.start()
    time.sleep(delay)
    killed = stack.kill("web")
    first.join()
    stack.wait_restarted("web", killed)

    def again() -> dict[str, Any] | None:
        answer = _try(lambda: stack.as_("alice").raw("POST", path, body))
        return answer.json() if answer is not None and answer.status_code == 200 else None

    assert wait_for(again, 90, "the same submission is taken")["state"] == "submitted"
    readings = stack.query("SELECT id, state FROM read_reading WHERE assignment_id = %s", assignment)
    assert [r["state"] for r in readings] == ["submitted"]
    pk = readings[0]["id"]
    assert len(stack.query("SELECT 1 FROM read_mark WHERE reading_id = %s", pk)) == 1
    compared = "SELECT 1 FROM second_read_comparison WHERE reading_id = %s"
    assert len(wait_for(lambda: stack.query(compared, pk), 60, "the reading is compared")) == 1
    booked = "SELECT 1 FROM billing_ledgerentry WHERE kind = 'reading' AND reference = %s"
    assert len(wait_for(lambda: stack.query(booked, str(pk)), 60, "the reading is booked")) == 1


def test_the_broker_loses_its_memory(stack: Stack, tmp_path: Path) -> None:
    """FLUSHALL between sending and working: the outbox's rows are the truth."""
    import redis

    before = studies(stack)
    port = int((stack.home.path / "valkey" / "valkey.conf").read_text().split("\nport ")[1].split("\n")[0])
    client = redis.Redis(port=port, password=stack.home.secrets["valkey"])
    stop = threading.Event()

    def forget() -> None:
        for _ in range(20):
            client.flushall()
            if stop.wait(0.05):
                return

    flusher = threading.Thread(target=forget)
    flusher.start()
    send_case(stack, 7200, tmp_path)
    stop.set()
    flusher.join()
    study = wait_for(new_study(stack, before), 120, "all four instances are archived all the same")
    runs = "SELECT state FROM infer_run WHERE study_id = %s"
    wait_for(lambda: stack.query(runs, study["id"]) == [{"state": "done"}], 180, "the run is done, once")


def test_the_listener_is_killed_while_it_receives(stack: Stack, tmp_path: Path) -> None:
    """What was acknowledged is there; what was not can be sent again without doubling anything."""
    before = studies(stack)
    files = breast_case(7300, malignant=False, size=(1024, 832)).write(tmp_path)
    command = ["storescu", "-aet", "DEMO", "-aec", stack.aet, "127.0.0.1", str(stack.dicom_port), *map(str, files)]
    sender = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(0.15)
    killed = stack.kill("dicom")
    sender.wait(60)
    stack.wait_restarted("dicom", killed)
    wait_for(lambda: subprocess.run(command, capture_output=True, timeout=60).returncode == 0, 60, "it is sent again")
    study = wait_for(new_study(stack, before), 60, "the study is whole")
    rows = stack.query("SELECT sop_uid FROM archive_instance WHERE study_id = %s", study["id"])
    assert len(rows) == len({r["sop_uid"] for r in rows}) == 4


def _try(action: Callable[[], httpx.Response]) -> httpx.Response | None:
    try:
        return action()
    except httpx.HTTPError:
        return None
