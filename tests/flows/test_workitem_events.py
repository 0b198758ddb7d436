"""Subscribers to work items on the real processes: a web socket of their own, what it says, and what outlives it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from inference.phantoms import breast_case
from tests.support import Stack, wait_for

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]
WORKLIST = "1.2.840.10008.5.1.4.34.5"


@pytest.fixture
def open_links() -> Iterator[ExitStack]:
    with ExitStack() as links:
        yield links


def subscribe(stack: Stack, name: str, target: str, title: str) -> httpx.Response:
    return stack.as_(name).http.post(f"/dicomweb/workitems/{target}/subscribers/{title}")


def channel(stack: Stack, url: str, name: str) -> ClientConnection:
    headers = {"Authorization": f"Bearer {stack.user(name)['token']}"}
    return connect(url, additional_headers=headers, proxy=None)


def told(link: ClientConnection, about: str = "", seconds: float = 60) -> Dataset:
    """The next report, or the next one about that work item."""
    while True:
        text = link.recv(timeout=seconds)
        assert isinstance(text, str)  # PS3.18 8.10.5: text frames
        found = Dataset.from_json(json.loads(text))
        if about in {"", found.AffectedSOPInstanceUID}:
            return found


def silent(link: ClientConnection, seconds: float = 3) -> bool:
    try:
        link.recv(timeout=seconds)
    except TimeoutError:
        return True
    return False


def change(stack: Stack, name: str, uid: str, state: str, transaction: str) -> httpx.Response:
    data = {"00741000": {"vr": "CS", "Value": [state]}, "00081195": {"vr": "UI", "Value": [transaction]}}
    return stack.as_(name).raw("PUT", f"/dicomweb/workitems/{uid}/state", [data])


def send_case(stack: Stack, folder: Path, seed: int) -> None:
    files = breast_case(seed, malignant=False, size=(256, 208)).write(folder)
    send = ["storescu", "-aet", "DEMO", "-aec", stack.aet, "127.0.0.1", str(stack.dicom_port)]
    subprocess.run([*send, *map(str, files)], check=True, timeout=120)


def offered(stack: Stack) -> set[str]:
    query = {"WorklistLabel": "Screening mammography", "ProcedureStepState": "SCHEDULED"}
    answer = stack.as_("alice").http.get("/dicomweb/workitems", params=query)
    return {one["00080018"]["Value"][0] for one in answer.json()} if answer.content else set()


def test_events_reach_their_subscribers_and_outlive_a_connection(
    stack: Stack, tmp_path: Path, open_links: ExitStack
) -> None:
    before = offered(stack)
    answers = {name: subscribe(stack, name, WORKLIST, "WATCH") for name in ("alice", "carol", "erin", "mallory")}
    assert {a.status_code for a in answers.values()} == {201}
    url = answers["carol"].headers["Content-Location"]
    assert urlsplit(url).scheme == "ws" and urlsplit(url).netloc == urlsplit(stack.url).netloc
    links = {name: open_links.enter_context(channel(stack, url, name)) for name in answers}
    send_case(stack, tmp_path, 6021)
    uid = wait_for(lambda: next(iter(offered(stack) - before), None), 240, "the case is a work item")
    first = told(links["carol"], uid)
    assert (first.EventTypeID, first.ProcedureStepState, first.InputReadinessState) == (1, "SCHEDULED", "READY")
    assert told(links["alice"], uid).ProcedureStepState == "SCHEDULED"

    # a connection that breaks: what happens meanwhile is told when it comes again
    links["alice"].socket.close()
    mine = generate_uid()
    assert change(stack, "bob", uid, "IN PROGRESS", mine).status_code == 200
    assert told(links["carol"], uid).ProcedureStepState == "IN PROGRESS"
    links["alice"] = open_links.enter_context(channel(stack, url, "alice"))
    assert wait_for(lambda: told(links["alice"], uid).ProcedureStepState == "IN PROGRESS", 60, "alice is told")

    why = [{"00741238": {"vr": "LT", "Value": ["The patient is waiting"]}}]
    asked = stack.as_("carol").raw("POST", f"/dicomweb/workitems/{uid}/cancelrequest", why)
    assert asked.status_code == 202
    assert change(stack, "bob", uid, "CANCELED", mine).status_code == 200
    canceled = told(links["alice"], uid)
    assert (canceled.EventTypeID, canceled.ProcedureStepState) == (1, "CANCELED")  # nothing of the request
    again = told(links["alice"])
    assert again.ProcedureStepState == "SCHEDULED" and again.AffectedSOPInstanceUID != uid

    # who may not see it was told nothing, all the while
    assert silent(links["erin"]) and silent(links["mallory"], 1)
    assert subscribe(stack, "mallory", uid, "WATCH").status_code == 404

    # the newest connection of a subscriber is the one that is served
    newer = open_links.enter_context(channel(stack, url, "carol"))
    with pytest.raises(ConnectionClosed):
        while True:
            links["carol"].recv(timeout=60)
    assert links["carol"].close_code == 4409
    newer.close()
    for name in answers:
        assert stack.as_(name).http.delete(f"/dicomweb/workitems/{WORKLIST}/subscribers/WATCH").status_code == 200


def test_strangers_open_no_channel(stack: Stack) -> None:
    url = subscribe(stack, "carol", WORKLIST, "WATCH").headers["Content-Location"]
    for headers in ({}, {"Authorization": "Bearer nothing"}, {"Origin": "https://elsewhere.example"}):
        with pytest.raises(InvalidStatus) as refused, connect(url, additional_headers=headers, proxy=None):
            pass
        assert refused.value.response.status_code == 403
    assert stack.as_("carol").http.get(urlsplit(url).path).status_code == 426
