"""A browser's own requests: session, CSRF token, and a form with files."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from tests.factories.archive import encoded, image, plain_static
from tests.factories.reading import PASSWORD, Cast, cast

__all__ = ["cast", "plain_static"]
pytestmark = pytest.mark.django_db(transaction=True)


def browser(name: str) -> Client:
    client = Client(enforce_csrf_checks=True)
    assert client.login(username=name, password=PASSWORD)
    client.get("/ingest/upload/")  # sets the cookie
    return client


def send(client: Client, **headers: Any) -> Any:
    file = SimpleUploadedFile("a.dcm", encoded(image("CT")), "application/dicom")
    return client.post("/ingest/upload/", {"files": [file]}, headers=headers)


def test_a_form_with_files_and_the_token_in_the_header_is_taken(cast: Cast) -> None:
    client = browser("dave")
    answer = send(client, X_CSRFToken=client.cookies["csrftoken"].value)
    assert answer.status_code == 200
    assert [r["state"] for r in answer.json()["results"]] == ["received"]


def test_without_the_token_nothing_is_taken(cast: Cast) -> None:
    answer = send(browser("dave"))
    assert answer.status_code == 403 and answer.json()["error"]["code"] == "csrf"
    assert send(Client(enforce_csrf_checks=True)).status_code == 401
