"""A UPS-RS client for each of the cast, over HTTP."""

from __future__ import annotations

import json
from typing import Any

import pytest
import requests
from pydicom.dataset import Dataset

from portal.accounts.actions import create_token
from portal.accounts.models import User
from portal.programmes.models import Assignment, Case
from tests.factories.reading import Cast, open_case

STATE, TRANSACTION, PRIORITY = "00741000", "00081195", "00741200"


class Ups:
    """One person's UPS-RS client."""

    def __init__(self, url: str, cast: Cast, name: str) -> None:
        user: User = getattr(cast, name)
        self.root = f"{url}/dicomweb/workitems"
        self.http = requests.Session()
        self.http.trust_env = False
        text = create_token(user, user.memberships.get().organisation, "ups")[1]
        self.http.headers.update({"Authorization": f"Bearer {text}", "Accept": "application/dicom+json"})

    def search(self, **query: Any) -> list[Dataset]:
        answer = self.http.get(self.root, params=query)
        assert answer.status_code in {200, 204, 206}, answer.text
        return [Dataset.from_json(one) for one in answer.json()] if answer.status_code != 204 else []

    def one(self, uid: str) -> Dataset:
        answer = self.http.get(f"{self.root}/{uid}")
        assert answer.status_code == 200, answer.text
        [found] = answer.json()
        return Dataset.from_json(found)

    def change(self, uid: str, state: str, transaction: str = "", **more: Any) -> requests.Response:
        data = {STATE: {"vr": "CS", "Value": [state]}, **more}
        if transaction:
            data[TRANSACTION] = {"vr": "UI", "Value": [transaction]}
        return self.send("PUT", f"/{uid}/state", [data])

    def send(self, method: str, path: str, data: Any) -> requests.Response:
        headers = {"Content-Type": "application/dicom+json"}
        return self.http.request(method, self.root + path, data=json.dumps(data), headers=headers)


@pytest.fixture
def people(live_server: Any, cast: Cast) -> dict[str, Ups]:
    return {name: Ups(live_server.url, cast, name) for name in ("alice", "bob", "carol", "erin", "mallory")}


@pytest.fixture
def case(cast: Cast) -> Case:
    return open_case(cast, 0.9)


def said(answer: requests.Response) -> str:
    """The Warning header."""
    return answer.headers.get("Warning", "")


def first_of(case: Case) -> Assignment:
    return case.assignments.get(kind="first")
