"""The report of a settled case as others take it: HL7 v2 ORU^R01, FHIR R4 DiagnosticReport."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

LOINC = "18748-4"  # Diagnostic imaging study
LOINC_WORDS = "Diagnostic imaging study"


@dataclass(frozen=True)
class Told:
    """What a report says, and of whom.

    id          names the report for ever; a corrected one keeps it
    patient_*   as DICOM has them: ID, its issuer, name (PN), birth date (DA), sex (CS); pseudonymous or not
    study_*     UID, date (DA), time (TM), accession number, description
    form, answers  the protocol's questions and the settled answers
    corrected   an earlier version was sent
    """

    id: str
    patient_id: str
    patient_issuer: str
    patient_name: str
    patient_birth: str
    patient_sex: str
    study_uid: str
    study_date: str
    study_time: str
    accession: str
    description: str
    text: str
    form: Sequence[Mapping[str, Any]]
    answers: Mapping[str, Any]
    at: datetime
    corrected: bool
    organisation: str


def answered(told: Told) -> list[tuple[Mapping[str, Any], Any]]:
    """(question, answer) in the form's order; free text and several answers one by one are left as they are."""
    return [(q, told.answers[q["key"]]) for q in told.form if told.answers.get(q["key"]) not in (None, "", [])]


def words_of(question: Mapping[str, Any], value: Any) -> str:
    """The label of a choice."""
    return next((str(c["label"]) for c in question.get("choices", ()) if c["value"] == value), str(value))
