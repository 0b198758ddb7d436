"""Searches for work items, bodies and media types, and what is refused (PS3.18 8.3.4, 11.4, 11.7, 11.9)."""

from __future__ import annotations

from email import message_from_bytes
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from pydicom.uid import generate_uid

from portal.programmes.models import Case
from tests.factories.archive import plain_static
from tests.factories.reading import Cast, cast, open_case
from tests.factories.workitems import PRIORITY, Ups, case, first_of, people, said

__all__ = ["case", "cast", "people", "plain_static"]
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize(
    ("state", "transaction", "status", "words"),
    [
        ("IN PROGRESS", "", 400, "The Transaction UID is missing."),
        ("IN PROGRESS", "1.2.", 400, "The Transaction UID is incorrect."),
        ("IN PROGRESS", "1." * 40 + "1", 400, "The Transaction UID is incorrect."),
        ("COMPLETED", "1.2.3", 409, "inconsistent with the state of the UPS Instance."),
        ("CANCELED", "1.2.3", 409, "inconsistent with the state of the UPS Instance."),
        ("SCHEDULED", "1.2.3", 400, "IN PROGRESS, COMPLETED or CANCELED"),
        ("", "1.2.3", 400, "IN PROGRESS, COMPLETED or CANCELED"),
    ],
)
def test_refused_changes_of_a_scheduled_item(
    people: dict[str, Ups], case: Case, state: str, transaction: str, status: int, words: str
) -> None:
    uid = people["alice"].search()[0].SOPInstanceUID
    answer = people["alice"].change(uid, state, transaction)
    assert answer.status_code == status and words in said(answer)
    assert first_of(case).state == "offered"


def test_bodies_that_are_none(people: dict[str, Ups], case: Case) -> None:
    alice = people["alice"]
    url = f"{alice.root}/{alice.search()[0].SOPInstanceUID}/state"

    def put(data: bytes, kind: str = "application/dicom+json") -> int:
        return alice.http.put(url, data=data, headers={"Content-Type": kind}).status_code

    for data in (b"", b"{", b"[]", b"[1]", b"3", b'{"00741000": 3}', b'{"00741000": {"vr": "CS", "Value": "x"}}',
                 b'[{"00741000": {"Value": [{"a": 1}]}}]', b"[" * 100_000,
                 b'{"00081195": {"Value": ["\\u0000"]}}'):  # fmt: skip
        assert put(data) == 400, data[:40]
    assert put(b"{}", "image/png") == 415
    assert put(b" " * 300_000) == 413
    assert put(b"<x/>", "application/dicom+xml") == 400
    assert first_of(case).state == "offered"


def test_native_xml_both_ways(people: dict[str, Ups], case: Case) -> None:
    alice = people["alice"]
    uid = alice.search()[0].SOPInstanceUID
    text = f"""<NativeDicomModel xmlns="http://dicom.nema.org/PS3.19/models/NativeDICOM">
      <DicomAttribute tag="00741000" vr="CS"><Value number="1">IN PROGRESS</Value></DicomAttribute>
      <DicomAttribute tag="00081195" vr="UI"><Value number="1">{generate_uid()}</Value></DicomAttribute>
    </NativeDicomModel>"""
    answer = alice.http.put(f"{alice.root}/{uid}/state", data=text, headers={"Content-Type": "application/dicom+xml"})
    assert answer.status_code == 200
    got = alice.http.get(f"{alice.root}/{uid}", headers={"Accept": "application/dicom+xml"})
    assert got.headers["Content-Type"] == "application/dicom+xml"
    space = "{http://dicom.nema.org/PS3.19/models/NativeDICOM}"
    [state] = ET.fromstring(got.content).findall(f"{space}DicomAttribute[@tag='00741000']")
    assert state.findtext(f"{space}Value") == "IN PROGRESS" and state.get("keyword") == "ProcedureStepState"
    several = alice.http.get(alice.root, headers={"Accept": 'multipart/related; type="application/dicom+xml"'})
    message = message_from_bytes(
        b"Content-Type: " + several.headers["Content-Type"].encode() + b"\n\n" + several.content
    )
    assert [part.get_content_type() for part in message.get_payload()] == ["application/dicom+xml"]  # type: ignore[union-attr]
    assert alice.http.get(alice.root, headers={"Accept": "image/png"}).status_code == 406


@pytest.fixture
def several(cast: Cast) -> list[Case]:
    """Three cases of priority 0, 3 and 8, in this order of arrival."""
    cases = [open_case(cast) for _ in range(3)]
    for one, priority in zip(cases, (0, 3, 8), strict=True):
        one.assignments.update(priority=priority)
    return cases


def test_matching(people: dict[str, Ups], several: list[Case]) -> None:
    alice = people["alice"]
    every = {i.SOPInstanceUID: i for i in alice.search()}
    words = [i.ScheduledProcedureStepPriority for i in every.values()]
    assert words == ["HIGH", "MEDIUM", "LOW"]  # in the order in which to read
    high, medium, low = every
    study = every[low].StudyInstanceUID
    start = str(every[low].ScheduledProcedureStepStartDateTime)
    day = start[:8]

    def found(**query: Any) -> set[str]:
        return {i.SOPInstanceUID for i in alice.search(**query)}

    assert found(ScheduledProcedureStepPriority="HIGH") == {high}
    assert found(**{PRIORITY: "HIGH,LOW"}) == {high, low}
    assert found(ScheduledProcedureStepPriority="*") == set(every)
    assert found(SOPInstanceUID=f"{low},{medium}") == {low, medium} and found(SOPInstanceUID="1.2.3") == set()
    assert found(StudyInstanceUID=study) == {low}
    assert found(**{"InputInformationSequence.StudyInstanceUID": study}) == {low}
    assert found(**{"00404021.0020000D": study}) == {low}
    assert found(PatientID="P-0001") == set(every) and found(PatientID="P-*2") == set()
    assert found(InputReadinessState="READY") == set(every) and found(InputReadinessState="INCOMPLETE") == set()
    assert found(**{"ScheduledWorkitemCodeSequence.CodeValue": "110005"}) == set(every)
    assert found(**{"ScheduledWorkitemCodeSequence.CodeValue": "110001"}) == set()
    assert found(ProcedureStepLabel="Arbitration") == set()
    assert found(ProcedureStepState="IN PROGRESS") == found(ProcedureStepState="COMPLETED") == set()
    assert found(ScheduledProcedureStepStartDateTime=start) == {low}
    assert found(ScheduledProcedureStepStartDateTime=f"{day}-{day}") == set(every)
    assert found(ScheduledProcedureStepStartDateTime=f"-{int(day[:4]) - 1}") == set()
    assert found(ProcedureStepState="SCHEDULED", ScheduledProcedureStepPriority="LOW", limit=5) == {low}


def test_pages(people: dict[str, Ups], several: list[Case]) -> None:
    alice = people["alice"]
    every = [i.SOPInstanceUID for i in alice.search()]
    url, pages = f"{alice.root}?limit=2", []
    while url:
        answer = alice.http.get(url)
        pages.append([i["00080018"]["Value"][0] for i in answer.json()])
        assert answer.status_code == (206 if "next" in answer.links else 200)
        url = answer.links.get("next", {}).get("url", "")
    assert pages == [every[:2], every[2:]]
    assert alice.http.get(alice.root, params={"offset": 3}).status_code == 204


@pytest.mark.parametrize(
    "query",
    [
        {"Nonsense": "1"}, {"Modality": "MG"}, {"limit": "x"}, {"offset": "99999"}, {"includefield": "Nonsense"},
        {"ScheduledProcedureStepStartDateTime": "2026-02"}, {"ScheduledProcedureStepStartDateTime": "20260231"},
        {"ScheduledProcedureStepStartDateTime": "-"}, {"PatientID": "*a" * 20},
    ],
)  # fmt: skip
def test_searches_that_make_no_sense(people: dict[str, Ups], query: dict[str, str]) -> None:
    answer = people["alice"].http.get(people["alice"].root, params=query)
    assert answer.status_code == 400 and said(answer).startswith("299 ")
