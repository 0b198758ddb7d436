"""Malformed input: set aside with a reason, never an error of the server, never a stopped queue."""

from __future__ import annotations

import io
import random
from pathlib import Path
from typing import Any

import pydicom
import pytest
from django.test import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.data import get_testdata_file, get_testdata_files

from portal.accounts.authentication import digest
from portal.accounts.models import ApiToken, Membership, Organisation, User
from portal.core import storage
from portal.core.storage import staged_name
from portal.ingest.actions import receive
from portal.ingest.models import Receipt, Source
from portal.ingest.rules import REASONS
from tests.factories.door import cleaned

CT = Path(get_testdata_file("CT_small.dcm")).read_bytes()
FILES = sorted({Path(p) for p in get_testdata_files() if Path(p).is_file() and Path(p).stat().st_size < 4_000_000})
PIECES = [b"--xyz", b"--", b"\r\n", b"\n", b"Content-Type: application/dicom", b":", b"\0" * 9, b"xyz"]
PIECES += [CT[:3000], CT]
TOKEN = "token-of-dave-that-is-long-enough"


@pytest.fixture
def source(db: Any) -> Source:
    lakeside = Organisation.objects.create(slug="lakeside", name="Lakeside Imaging")
    user = User.objects.create_user("dave", password="a long password")
    Membership.objects.create(user=user, organisation=lakeside, roles=["pacs_admin"])
    ApiToken.objects.create(user=user, organisation=lakeside, name="t", digest=digest(TOKEN), prefix="token")
    return Source.objects.create(organisation=lakeside, kind=Source.Kind.FOLDER, name="folder")


def through(source: Source, data: bytes) -> Receipt:
    """Receive and clean; whatever happens, the receipt says it."""
    receipt = receive(source, io.BytesIO(data))
    if receipt.state == "received":
        receipt = cleaned(receipt.pk)
    assert receipt.state in {"deidentified", "duplicate"} or receipt.reason in REASONS
    return receipt


def test_every_file_of_pydicom_is_taken_or_set_aside(source: Source) -> None:
    assert len(FILES) > 80
    states: dict[str, int] = {}
    for path in FILES:
        data = path.read_bytes()
        receipt = through(source, data)
        states[receipt.state] = states.get(receipt.state, 0) + 1
        if receipt.state != "deidentified":
            continue
        before = pydicom.dcmread(path, force=True)
        with storage.archive().open(staged_name(receipt.pk)) as file:
            raw = file.read()
        after = pydicom.dcmread(io.BytesIO(raw))
        covered = receipt.deidentification.pixels.get("covered")
        same = after.get("PixelData") == before.get("PixelData")
        assert same or covered, path.name
        name = str(before.get("PatientName", ""))
        if len(name) > 6 and name not in str(after.get("PatientName")):
            assert name.encode() not in raw, path.name
    assert states["deidentified"] > 50, states
    assert states["quarantined"] > 5, states


def test_truncation_anywhere(source: Source) -> None:
    for length in range(0, len(CT) - 1, 997):
        assert through(source, CT[:length]).state == "quarantined", length


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32))
def test_flipped_bits(source: Source, seed: int) -> None:
    chance = random.Random(seed)
    data = bytearray(CT)
    for _ in range(chance.randint(1, 40)):
        data[chance.randrange(128, 7000)] ^= 1 << chance.randrange(8)
    through(source, bytes(data))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    body=st.lists(
        st.sampled_from(
            [
                b"--xyz",
                b"--",
                b"\r\n",
                b"\n",
                b"Content-Type: application/dicom",
                b":",
                b"\0" * 9,
                b"xyz",
                CT[:3000],
                CT,
            ]
        ),
        max_size=12,
    ),
    boundary=st.sampled_from(["xyz", '"xyz"', "", "x" * 300, "xyz; type=", "\xe4"]),
)
def test_fuzzed_multipart_is_never_an_error_of_the_server(source: Source, body: list[bytes], boundary: str) -> None:
    kind = f'multipart/related; type="application/dicom"; boundary={boundary}'
    client = Client(HTTP_AUTHORIZATION=f"Bearer {TOKEN}")
    answer = client.generic("POST", "/dicomweb/studies", b"".join(body), content_type=kind)
    assert answer.status_code in {200, 202, 400, 409, 413, 415}


def test_a_deeply_nested_header_does_not_end_the_process(source: Source) -> None:
    item = b"".join(b"\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff" for _ in range(20_000))
    head = CT[:132] + CT[132:].split(b"\x08\x00\x05\x00")[0]
    receipt = through(source, head + item)
    assert receipt.state == "quarantined"
